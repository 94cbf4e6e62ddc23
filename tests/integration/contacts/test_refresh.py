"""The refresh: whose contact it looks at, how many, and what it makes of what it finds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, cast

import pytest

from adapters import permit
from adapters.channel import Channels
from adapters.postgres import refreshed
from adapters.postgres.bus import members, outbox
from adapters.postgres.contacts import Buyer, forget_written
from adapters.postgres.order_marks import Syncing, SyncResult
from adapters.postgres.orders import row_of
from adapters.postgres.person_orders import Asked, of_persons
from adapters.postgres.pool import Pool
from daemon.bus.worker import Outside, utc_now
from daemon.contacts import refresh
from daemon.contacts.field_policy import FieldPolicy
from daemon.contacts.fields import digest_of
from daemon.contacts.recording import record
from daemon.contacts.refresh import Refresh, duties
from daemon.contacts.told import wanted
from daemon.contacts.wiring import METRICS
from daemon.sandbox.orders import make_order
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from schemas.contact_changes import change_from
from schemas.contacts import ContactDraft, DirectoryContact, FieldValue
from schemas.envelope import Event
from schemas.errors import ChannelDown, FerrymanError, Transient
from schemas.orders import order_from
from schemas.phone import Phone, line

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
KNOWN = frozenset({"Email", "customer_name", "OrderNumber", "visa_country", "visa_type"})
NEWEST = FieldPolicy(newest=frozenset({"Email", "customer_name", "language"}))


class Cgb:
    """A directory that only shows: what *contacts* has by phone digits."""

    def __init__(self) -> None:
        self.contacts: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self.priorities: set[str] = set()
        self.error: FerrymanError | None = None
        self.known = KNOWN

    async def find(self, phone: Phone) -> DirectoryContact | None:
        self.asked.append(phone.e164)
        self.priorities.add(permit.priority())
        if self.error is not None:
            raise self.error
        held = self.contacts.get(phone.digits)
        return None if held is None else DirectoryContact(id=phone.digits, fields=held)

    async def field_names(self) -> frozenset[str]:
        return self.known

    async def create(self, draft: ContactDraft) -> str:
        raise AssertionError("a refresh writes nothing")

    async def update(self, contact_id: str, fields: Mapping[str, FieldValue]) -> None:
        raise AssertionError("a refresh writes nothing")


@dataclass
class World:
    """People in the tables, and what CGB has of them."""

    db: Pool
    cgb: Cgb
    metrics: Metrics

    def refresh(self, **settings: Any) -> Refresh:
        outside = Outside(
            settings=Settings(cgb_api_key="k" * 20, **settings),
            secret=lambda _: "",
            pool=self.db,
            redis=cast(Any, None),
            session=cast(Any, None),
            channels=Channels(),
            metrics=self.metrics,
            now=utc_now,
        )
        return Refresh(outside, lambda: self.cgb)

    async def synced(self, n: int, *, seen_min: int = 120, **overrides: Any) -> str:
        """A person whose order was synced, and whose contact was looked at *seen_min* minutes ago."""
        phone = Phone(overrides.pop("e164", f"+97250555{n:04d}"))
        told = {"phone": {"code": "972", "number": f"50555{n:04d}"}, "country": "uk", "name": f"Buyer {n}"} | overrides
        order = order_from(json.dumps(make_order(Random(n), n, branch="il", **told)).encode(), NOW)
        async with self.db.acquire() as conn, conn.transaction():
            await record(conn, [row_of(order, f"e{n}"), Syncing(order.order_id, NOW, False, f"e{n}")])
        (stand,) = await of_persons(self.db, [Asked(phone.e164, whole=True)])
        said, fields = wanted(order, phone, stand, KNOWN, NEWEST)
        buyer = Buyer(
            phone=phone,
            age=order.age,
            synced_at=NOW,
            name=said.name,
            email=said.email,
            cgb_id=phone.digits,
            written=digest_of(line(phone.e164), fields),
        )
        result = SyncResult(order_id=order.order_id, status="synced", at=NOW, contact_id=phone.digits, event_id=f"e{n}")
        async with self.db.acquire() as conn, conn.transaction():
            await record(conn, [buyer, result])
        await self.looked(phone.e164, seen_min)
        self.cgb.contacts[phone.digits] = {name: str(value) for name, value in fields.items()}
        return phone.e164

    async def looked(self, phone: str, minutes: int) -> None:
        await self.db.execute(
            "UPDATE contact_identities SET cgb_seen_at = now() - make_interval(mins => $2) WHERE value = $1",
            phone,
            minutes,
        )

    async def told(self) -> list[Event]:
        return [event for _, event in await outbox.left(self.db, older_than_s=-1, limit=100)]


@pytest.fixture
async def world(db: Pool) -> World:
    return World(db, Cgb(), Metrics(METRICS, workers=[], sources=[], providers=[]))


async def test_what_was_changed_in_cgb_is_told_as_a_flow_would_tell_it(world: World) -> None:
    phone = await world.synced(1)
    world.cgb.contacts[phone[1:]] |= {
        "Email": "changed@example.com",
        "visa_country": "",
        "customer_name": " ",
        "own": "x",
    }
    before = utc_now()
    await world.refresh().turn()
    (event,) = await world.told()
    assert (event.type, event.subject, event.source) == ("contact.changed", phone, "cgb")
    change = change_from(event)
    assert change.fields == {"Email": "changed@example.com", "visa_country": ""}, "a blank name says nothing"
    assert (change.phone, change.contact_id) == (Phone(phone), phone[1:])
    assert before <= change.at <= utc_now()
    assert world.cgb.priorities == {"bulk"}


async def test_what_is_as_it_was_given_tells_nothing_and_counts_as_looked_at(world: World) -> None:
    phone = await world.synced(1)
    for _ in range(2):
        await world.refresh().turn()
    assert (world.cgb.asked, await world.told()) == ([phone], [])
    assert b"\nferryman_contacts_refreshed_total 1\n" in world.metrics.render()[0]


@pytest.mark.parametrize(("seen_min", "asked"), [(59, 0), (61, 1)])
async def test_a_contact_that_was_looked_at_a_short_time_ago_is_left_alone(
    world: World, seen_min: int, asked: int
) -> None:
    await world.synced(1, seen_min=seen_min)
    await world.refresh(cgb_refresh_minutes=60).turn()
    assert len(world.cgb.asked) == asked


@pytest.mark.parametrize(("received_min", "told"), [(59, 0), (61, 1)])
async def test_a_contact_that_is_to_be_given_more_since_its_last_sync_is_given_it(
    world: World, received_min: int, told: int
) -> None:
    """The account has got another field, or a rule names another owner. Else nothing would look at the contact again,
    until its person orders."""
    phone = await world.synced(1)
    age = timedelta(minutes=received_min)
    await world.db.execute("UPDATE orders SET webhook_received_at = $1", utc_now() - age)
    world.cgb.known = KNOWN | {"visa_flag"}
    for _ in range(2):
        await world.refresh().turn()
        await world.looked(phone, 120)
    events = await world.told()
    assert ({event.type for event in events}, len({event.id for event in events})) == (
        {"contact.diverged"} if told else set(),
        told,
    )
    assert world.cgb.asked == [], "the sync looks"


async def test_a_contact_that_was_deleted_in_cgb_is_not_taken_for_one_that_has_all(world: World) -> None:
    """Else `ferryman sync order` would find that nothing is to be written, and nothing would make the contact again."""
    phone = await world.synced(1)
    del world.cgb.contacts[phone[1:]]
    for _ in range(2):
        await world.refresh().turn()
    (stand,) = await of_persons(world.db, [Asked(phone)])
    assert (stand.written, world.cgb.asked, await world.told()) == (None, [phone], [])


async def test_a_contact_that_has_the_other_notation_of_the_line_is_looked_at_there(world: World) -> None:
    phone = await world.synced(1, phone={"code": "52", "number": "5555550142"}, e164="+525555550142")
    world.cgb.contacts = {"5215555550142": world.cgb.contacts[phone[1:]] | {"Email": "changed@example.com"}}
    await world.db.execute("UPDATE contact_identities SET cgb_contact_id = '5215555550142' WHERE kind = 'phone'")
    await world.refresh().turn()
    (event,) = await world.told()
    assert (change_from(event).phone, change_from(event).contact_id) == (Phone(phone), "5215555550142")


async def test_people_who_have_not_ordered_lately_are_left_alone(world: World) -> None:
    await world.synced(1)
    await world.db.execute("UPDATE orders SET created_at = now() - interval '8 days'")
    await world.refresh(cgb_refresh_days=7).turn()
    assert world.cgb.asked == []


async def test_a_contact_that_a_sync_is_to_look_at_is_left_to_it(world: World) -> None:
    forgotten, newer = await world.synced(1), await world.synced(2)
    async with world.db.acquire() as conn, conn.transaction():
        await forget_written(conn, [forgotten])
    body = json.dumps(make_order(Random(3), 3, order_id="ILNEW", phone={"code": "972", "number": newer[4:]})).encode()
    async with world.db.acquire() as conn, conn.transaction():
        order = order_from(body, NOW + timedelta(days=1))
        await record(conn, [row_of(order, "new"), Syncing("ILNEW", NOW, True, "new")])
    world.cgb.contacts = {phone[1:]: {"Email": "changed@example.com"} for phone in (forgotten, newer)}
    await world.refresh().turn()
    assert (world.cgb.asked, await world.told()) == ([], [])


async def turns(refreshing: Refresh, count: int) -> None:
    for _ in range(count):
        await refreshing.turn()


async def test_a_turn_looks_at_one_contact_and_all_have_theirs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "PAGE", 4)
    phones = {await world.synced(n) for n in range(10)}
    refreshing = world.refresh()
    for count in range(1, 5):
        await refreshing.turn()
        assert len(world.cgb.asked) <= count
    await turns(refreshing, 16)
    assert (len(world.cgb.asked), set(world.cgb.asked)) == (10, phones)


@pytest.mark.parametrize(("per_minute", "every_s"), [(90, 60 / 22), (3, 60), (100_000, 1)])
async def test_the_turns_take_a_quarter_of_the_limit(world: World, per_minute: int, every_s: float) -> None:
    outside = cast(Any, world.refresh())._outside
    given = Settings(cgb_api_key="k" * 20, cgb_rate_per_minute=per_minute)
    (duty,) = duties(cast(Any, type("Given", (), {"settings": given, "rules": outside.rules})), lambda: world.cgb)
    assert duty.every_s == every_s


async def test_the_processes_share_that_quarter(world: World) -> None:
    for n in range(20):
        await world.synced(n)
    for id in ("one", "two"):
        await members.tell(world.db, id, "{}")
    await asyncio.gather(*(turns(world.refresh(), 8) for _ in range(2)))
    assert len(world.cgb.asked) == 8


async def test_processes_that_refresh_at_once_look_at_each_contact_once(world: World) -> None:
    phones = [await world.synced(n) for n in range(12)]
    await asyncio.gather(*(turns(world.refresh(), 12) for _ in range(4)))
    assert sorted(world.cgb.asked) == sorted(phones)


@pytest.mark.parametrize(
    "error",
    [
        lambda: Transient("CGB: 429", limited=True),
        lambda: Transient("CGB: no answer"),
        lambda: ChannelDown("CGB: the key is refused", channel="cgb"),
    ],
)
async def test_an_outage_costs_a_contact_its_turn_and_no_other(
    world: World, error: Callable[[], FerrymanError]
) -> None:
    for n in range(3):
        await world.synced(n)
    world.cgb.error = error()
    await world.refresh().turn()
    assert (len(world.cgb.asked), await world.told()) == (1, [])
    world.cgb.error = None
    await turns(world.refresh(), 3)
    assert len(world.cgb.asked) == 3


@pytest.mark.parametrize(
    ("settings", "there"),
    [
        ({}, True),
        ({"cgb_refresh_minutes": 0}, False),
        ({"cgb_sync_enabled": False}, False),
        ({"cgb_sync_dry_run": True}, False),
        ({"cgb_api_key": None}, False),
    ],
)
async def test_there_is_no_refresh_where_cgb_is_not_to_be_asked(
    world: World, settings: dict[str, Any], there: bool
) -> None:
    outside = cast(Any, world.refresh())._outside
    given = Settings(**({"cgb_api_key": "k" * 20} | settings))
    found = duties(cast(Any, type("Given", (), {"settings": given, "rules": outside.rules})), lambda: world.cgb)
    assert bool(found) is there


async def test_a_page_is_read_by_index_however_many_orders_there_are(db: Pool) -> None:
    await db.execute(
        "INSERT INTO orders (order_id, client_phone_e164, ordered_at, webhook_received_at, raw_body, created_at)"
        " SELECT 'IL' || n, '+97250' || lpad(n::text, 7, '0'), now(), now(), '{}', now() - make_interval(secs => n)"
        " FROM generate_series(1, 20000) n"
    )
    await db.execute("ANALYZE orders")
    first = await refreshed.ordered_lately(db, 7, datetime.max.replace(tzinfo=UTC), 100)
    assert (len(first.phones), first.phones[0]) == (100, "+972500000001")
    assert first.until is not None
    second = await refreshed.ordered_lately(db, 7, first.until, 100)
    assert second.phones[0] == "+972500000101"
    plan = await db.fetch(f"EXPLAIN {refreshed._PAGE}".replace("$1", "7").replace("$2", "now()").replace("$3", "100"))
    assert "idx_orders_created_at" in "\n".join(row[0] for row in plan)
