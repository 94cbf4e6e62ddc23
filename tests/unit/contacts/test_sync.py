"""The contact-sync worker with a directory in memory: which calls it makes, which rows it leaves."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapters.postgres.contacts import Buyer, Doubt
from adapters.postgres.order_marks import Syncing, SyncResult
from adapters.postgres.orders import OrderRow
from adapters.postgres.person_orders import Asked, PersonOrders
from daemon.bus.outcome import Done, Later, Outcome, Turn
from daemon.contacts.field_policy import FieldPolicy
from daemon.contacts.sync import NO_PHONE, WORKER, buried, handle
from daemon.contacts.wiring import ContactDeps
from daemon.sandbox import orders as maker
from schemas.contacts import ContactDraft, DirectoryContact, FieldValue, ToldField
from schemas.envelope import Event
from schemas.errors import (
    ChannelClosed,
    ChannelDown,
    FerrymanError,
    LeaseLost,
    Malformed,
    Permanent,
    Refused,
    StoreAway,
    Transient,
    Uncertain,
)
from schemas.phone import Phone

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
SOUND = maker.make_order(Random(1), 142, country="uk", branch="il", name="Noa", email="noa@example.com")
PHONE = "+972505550142"


@dataclass
class Directory:
    """CGB as a dict of contacts by phone digits; *fail* holds the errors of the next calls by method name."""

    contacts: dict[str, dict[str, str]] = field(default_factory=dict)
    known: frozenset[str] | None = None
    fail: dict[str, BaseException] = field(default_factory=dict)
    late: int = 0  # finds that do not show a contact yet
    calls: list[str] = field(default_factory=list)

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fail:
            raise self.fail.pop(name)

    async def find(self, phone: Phone) -> DirectoryContact | None:
        self._called("find")
        if self.late:
            self.late -= 1
            return None
        held = self.contacts.get(phone.digits)
        return None if held is None else DirectoryContact(id=phone.digits, fields=held)

    async def create(self, draft: ContactDraft) -> str:
        doubt = self.fail.pop("create", None) if isinstance(self.fail.get("create"), Uncertain) else None
        self._called("create")
        if draft.phone.digits in self.contacts:
            raise Refused("it exists")
        self.contacts[draft.phone.digits] = {name: _encoded(value) for name, value in draft.fields.items()}
        if doubt:
            raise doubt
        return draft.phone.digits

    async def update(self, contact_id: str, fields: Mapping[str, FieldValue]) -> None:
        self._called("update")
        self.contacts[contact_id] |= {name: _encoded(value) for name, value in fields.items()}

    async def field_names(self) -> frozenset[str] | None:
        return self.known


def _encoded(value: FieldValue) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


NEWEST = FieldPolicy(newest=frozenset({"Email", "customer_name"}))


class World:
    """A worker's surroundings: the directory, the settings, the metrics, and what the tables say of the person's
    orders: *state*, the event of the order's row; *newest*, the body of the order to show, None: the one that asks;
    *tried*: its sync has begun to write before; *written*, the digest of what the contact was given; *notations*, under
    which the directory may have the person."""

    def __init__(self, directory: Directory | None = None, policy: FieldPolicy = NEWEST, **settings: Any) -> None:
        self.directory = directory or Directory()
        self.counts: Counter[str] = Counter()
        self.durations: list[float] = []
        self.state: str | None = None
        self.tried = False
        self.newest: bytes | None = None
        self.written: bytes | None = None
        self.notations: tuple[str, ...] = (PHONE,)
        self.told: dict[str, ToldField] = {}
        self.follows = False
        chosen = {
            "cgb_sync_enabled": True,
            "cgb_sync_dry_run": False,
            "cgb_sync_delay_ms": 0,
            "cgb_sync_branches": (),
            "cgb_sync_coalesce": False,
        } | settings
        self.sampled = False
        metrics = SimpleNamespace(
            inc=lambda name, labels=None, n=1: self.counts.update({name: n}),
            observe=lambda name, value, labels=None: self.durations.append(value),
        )
        stand_in = SimpleNamespace(
            settings=SimpleNamespace(**chosen),
            directory=self.directory,
            metrics=metrics,
            orders_of=self._orders_of,
            sampled=lambda: self.sampled,
            policy=policy,
        )
        self.deps = cast(ContactDeps, stand_in)

    async def _orders_of(self, asked: Asked) -> PersonOrders:
        assert asked.phone == PHONE
        newest_id = json.loads(self.newest)["order"]["id"] if self.newest else asked.order_id or None
        body = None if self.newest is None else self.newest.decode()
        return PersonOrders(
            self.state,
            self.tried,
            newest_id,
            body,
            NOW,
            PHONE[1:],
            self.written,
            1,
            self.notations,
            self.told,
            follows=self.follows,
        )

    async def run(self, event: Event, **turn: Any) -> tuple[Done, list[object]]:
        """Follow the steps to the end, as the bus would; the rows of all of them."""
        rows: list[object] = []
        outcome: Outcome = await handle(event, self.deps, Turn(now=NOW, **turn))
        while isinstance(outcome, Later):
            rows += outcome.rows
            now = max(NOW, outcome.at)
            outcome = await handle(event, self.deps, Turn(now=now, step=outcome.step, memo=outcome.memo))
        return outcome, rows + list(outcome.rows)


def asked_too_often() -> Transient:
    """The refusal of a call by CGB itself."""
    refusal = Transient("429", limited=True)
    refusal.channel = "cgb"
    return refusal


def received(body: object = SOUND, time: datetime = NOW) -> Event:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Event(id="e", type="order.received", source="vizi", subject=PHONE, time=time, data=data)


def results(rows: list[object]) -> list[SyncResult]:
    return [row for row in rows if isinstance(row, SyncResult)]


async def test_a_new_buyer_is_created_once_and_announced() -> None:
    world = World()
    done, rows = await world.run(received())
    assert world.directory.calls == ["find", "create"]
    assert Syncing(SOUND["order"]["id"], NOW, False, "e") in rows
    (result,) = results(rows)
    assert (result.status, result.contact_id, result.contact_exists) == ("synced", "972505550142", False)
    assert result.error is None
    (buyer,) = [row for row in rows if isinstance(row, Buyer)]
    assert (buyer.phone.e164, buyer.email, buyer.cgb_id) == (PHONE, "noa@example.com", "972505550142")
    assert (buyer.language, buyer.order_id) == ("he", SOUND["order"]["id"])
    (event,) = done.emit
    assert (event.type, event.subject) == ("contact.synced", PHONE)
    assert event.json() == {
        "order_id": SOUND["order"]["id"],
        "contact_id": "972505550142",
        "action": "created",
    }
    assert world.counts == {"cgb_sync_total": 1, "cgb_sync_success": 1, "cgb_contacts_created": 1}
    assert len(world.durations) == 1


async def test_an_existing_contact_gets_only_the_fields_that_differ() -> None:
    world = World()
    await world.run(received())
    world.directory.contacts["972505550142"] |= {"visa_country": "india", "own": "kept"}
    done, rows = await world.run(received())
    assert world.directory.calls[2:] == ["find", "update"]
    assert world.directory.contacts["972505550142"]["visa_country"] == "uk"
    assert world.directory.contacts["972505550142"]["own"] == "kept"
    assert results(rows)[0].contact_exists is True
    assert done.emit[0].json()["action"] == "updated"
    assert world.counts["cgb_contacts_updated"] == 1


async def test_a_contact_that_the_directory_has_by_another_notation_is_updated_there() -> None:
    other = "+525555550142"
    world = World()
    world.notations = (PHONE, other)
    world.directory.contacts[other[1:]] = {}
    done, rows = await world.run(received())
    assert world.directory.calls == ["find", "find", "update"]
    assert list(world.directory.contacts) == [other[1:]]
    assert results(rows)[0].contact_id == other[1:]
    assert results(rows)[0].contact_exists is True
    assert done.emit[0].json()["action"] == "updated"


async def test_a_person_whom_the_directory_has_by_no_notation_is_made_with_the_phone_of_the_order() -> None:
    world = World()
    world.notations = ("+525555550142", PHONE)
    await world.run(received())
    assert world.directory.calls == ["find", "find", "create"]
    assert list(world.directory.contacts) == [PHONE[1:]]


async def test_a_contact_that_has_every_field_already_is_not_written() -> None:
    world = World()
    await world.run(received())
    done, rows = await world.run(received())
    assert world.directory.calls.count("create") + world.directory.calls.count("update") == 1
    assert done.emit[0].json()["action"] == "unchanged"
    assert results(rows)[0].status == "synced"


async def test_an_order_older_than_the_newest_writes_no_field() -> None:
    world = World()
    newest = maker.make_order(Random(2), 142, country="india", branch="il", order_id="IL9", name="Noa B.")
    world.newest = json.dumps(newest).encode()
    await world.run(received())
    assert world.directory.contacts["972505550142"]["OrderNumber"] == "IL9"
    written = len(world.directory.calls)
    done, rows = await world.run(received())
    assert "update" not in world.directory.calls[written:]
    (result,) = results(rows)
    assert (result.order_id, result.status) == (SOUND["order"]["id"], "synced")
    assert (result.contact_id, result.contact_exists) == ("972505550142", True)
    (buyer,) = [row for row in rows if isinstance(row, Buyer)]
    assert (buyer.order_id, buyer.asker, buyer.chosen) == ("IL9", SOUND["order"]["id"], True)
    assert done.emit[0].json()["action"] == "skipped"


async def test_what_the_contact_was_given_already_costs_no_request() -> None:
    world = World()
    _, rows = await world.run(received())
    (buyer,) = [row for row in rows if isinstance(row, Buyer)]
    world.written = buyer.written
    world.directory.calls.clear()
    done, rows = await world.run(received(SOUND | {"note": "another text of the same order"}))
    assert world.directory.calls == []
    assert results(rows)[0].status == "synced"
    assert done.emit[0].json()["action"] == "unchanged"


async def test_a_state_that_is_not_the_order_s_newest_writes_nothing_and_leaves_a_doubt() -> None:
    """It may have been written, half or in doubt, before the newer one came: what follows has to look."""
    world = World()
    world.state = "another event"
    done, rows = await world.run(received())
    assert (done.skipped, world.directory.calls) == ("superseded", [])
    assert Doubt(PHONE) in rows
    assert not results(rows)


def moved() -> Event:
    return Event(
        id="m",
        type="order.moved",
        source="ferryman",
        subject=PHONE,
        time=NOW,
        data=json.dumps({"order_id": "IL9", "phone": PHONE}).encode(),
    )


async def test_a_person_whose_order_went_to_another_one_shows_the_newest_that_is_left() -> None:
    world = World(Directory(contacts={"972505550142": {"OrderNumber": "IL9", "visa_type": "visa"}}))
    world.newest = json.dumps(SOUND).encode()
    done, rows = await world.run(moved())
    assert world.directory.contacts["972505550142"]["OrderNumber"] == SOUND["order"]["id"]
    (buyer,) = [row for row in rows if isinstance(row, Buyer)]
    assert (buyer.order_id, buyer.asker, buyer.chosen) == (SOUND["order"]["id"], None, True)
    assert not results(rows)
    assert done.emit[0].json()["action"] == "updated"


async def test_a_person_whose_only_order_went_to_another_one_shows_none() -> None:
    world = World(Directory(contacts={"972505550142": {"OrderNumber": "IL9", "customer_name": "Noa"}}))
    done, rows = await world.run(moved())
    assert world.directory.contacts["972505550142"] == {"OrderNumber": "", "customer_name": "Noa"}
    assert rows == [Doubt(PHONE)]
    done, rows = await World().run(moved())
    assert (done.skipped, done.emit) == ("no contact", ())


async def test_the_sync_waits_for_its_delay_with_the_order_kept() -> None:
    world = World(cgb_sync_delay_ms=2000)
    outcome = await handle(received(), world.deps, Turn(now=NOW))
    assert isinstance(outcome, Later)
    assert (outcome.at, outcome.step) == (NOW + timedelta(seconds=2), "sync")
    assert [type(row) for row in outcome.rows] == [OrderRow]
    assert world.directory.calls == []
    _, rows = await world.run(received())
    assert results(rows)[0].status == "synced"


async def test_the_contact_s_former_absence_is_recorded_before_the_write() -> None:
    world = World()
    kept = await handle(received(), world.deps, Turn(now=NOW))
    assert isinstance(kept, Later)
    outcome = await handle(received(), world.deps, Turn(now=NOW, step=kept.step, memo=kept.memo))
    assert isinstance(outcome, Later)
    assert outcome.step == "write"
    assert Syncing(SOUND["order"]["id"], NOW, False, "e") in outcome.rows
    assert world.directory.contacts == {}


async def test_a_create_in_doubt_is_not_repeated() -> None:
    world = World(Directory(fail={"create": Uncertain("no answer")}))
    with pytest.raises(Uncertain):
        await world.run(received())
    assert world.counts["cgb_sync_failures"] == 1
    done, _ = await world.run(received(), attempt=2)
    assert world.directory.calls.count("create") == 1
    assert done.emit[0].json()["contact_id"] == "972505550142"
    assert world.counts["cgb_sync_total"] == 2


async def test_a_contact_that_appears_between_look_and_write_is_updated() -> None:
    world = World(Directory(contacts={"972505550142": {"visa_country": "india"}}, late=1))
    done, rows = await world.run(received())
    assert world.directory.calls == ["find", "create", "find", "update"]
    assert (results(rows)[0].contact_exists, results(rows)[0].told_so) == (True, True)
    assert done.emit[0].json()["action"] == "updated"


async def test_a_contact_that_may_be_of_an_earlier_attempt_is_not_said_to_have_been_there() -> None:
    world = World(Directory(contacts={"972505550142": {"visa_country": "india"}}, late=1))
    world.tried = True
    _, rows = await world.run(received())
    assert results(rows)[0].told_so is False


async def test_a_refused_draft_stays_refused() -> None:
    world = World(Directory(fail={"create": Refused("bad e-mail")}))
    with pytest.raises(Refused):
        await world.run(received())


@pytest.mark.parametrize("error", [Transient("503"), ChannelDown("token", channel="cgb"), Permanent("400")])
@pytest.mark.parametrize("call", ["find", "create"])
async def test_what_the_directory_raises_reaches_the_bus(error: FerrymanError, call: str) -> None:
    world = World(Directory(fail={call: error}))
    with pytest.raises(type(error)):
        await world.run(received())
    assert world.counts["cgb_sync_failures"] == 1
    assert world.counts["cgb_sync_success"] == 0


@pytest.mark.parametrize("call", ["find", "create"])
@pytest.mark.parametrize(
    ("end", "failures"),
    [
        (ChannelClosed("the breaker is open", channel="cgb"), 0),
        (LeaseLost("run out"), 0),
        (StoreAway("away"), 0),
        (Transient("our own rate limit is used up", limited=True), 0),
        (asked_too_often(), 1),
        (Transient("503"), 1),
        (Uncertain("no answer"), 1),
        (asyncio.CancelledError(), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
async def test_an_attempt_counts_once_when_it_ends_and_waiting_is_no_failure(
    call: str, end: BaseException, failures: int
) -> None:
    """Promise: the total is the sum of successes and failures, whatever the attempts met and however they were cut."""
    world = World(Directory(fail={call: end}))
    with pytest.raises(type(end)):
        await world.run(received())
    assert world.counts["cgb_sync_failures"] == failures
    await world.run(received(), attempt=1 + failures)
    assert world.counts["cgb_sync_success"] == 1
    assert world.counts["cgb_sync_total"] == failures + 1
    assert len(world.durations) == failures + 1


async def test_fields_that_the_account_has_not_are_not_sent() -> None:
    world = World(Directory(known=frozenset({"OrderNumber", "visa_flag"})))
    await world.run(received())
    assert world.directory.contacts["972505550142"] == {
        "OrderNumber": SOUND["order"]["id"],
        "visa_flag": "🇬🇧",
    }


async def test_an_order_without_a_phone_fails_without_a_call() -> None:
    world = World(cgb_sync_delay_ms=2000)
    done, rows = await world.run(received(maker.make_order(Random(1), 1, phone=None)))
    assert done.skipped == "no phone"
    (result,) = results(rows)
    assert (result.status, result.error, result.at) == ("failed", NO_PHONE, NOW)
    assert not [row for row in rows if isinstance(row, Buyer)]
    assert world.directory.calls == []


async def test_a_test_order_leaves_no_row_even_without_a_form() -> None:
    world = World()
    done, rows = await world.run(received(maker.vizi_test(Random(1), 1)))
    assert (done.skipped, rows, world.directory.calls) == ("test order", [], [])


async def test_a_sync_switched_off_keeps_the_order_pending() -> None:
    world = World(cgb_sync_enabled=False)
    done, rows = await world.run(received())
    assert done.skipped == "sync disabled"
    assert [type(row) for row in rows] == [OrderRow]
    assert world.directory.calls == []


@pytest.mark.parametrize("held", [None, {}, {"visa_country": "india"}])
async def test_a_dry_run_makes_no_call(held: dict[str, str] | None) -> None:
    contacts = {} if held is None else {"972505550142": held}
    world = World(Directory(contacts=contacts), cgb_sync_dry_run=True)
    done, rows = await world.run(received())
    assert done.skipped == "dry run"
    assert [type(row) for row in rows] == [OrderRow]
    assert world.directory.calls == []
    assert done.emit == ()


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", {"form": {"client": 1}, "order": {"id": "IL1"}}, {"order": {"id": "x"}}]
)
async def test_a_payload_with_parts_of_the_wrong_kind_is_malformed(body: object) -> None:
    with pytest.raises(Malformed):
        await World().run(received(body))
    assert buried(received(body), Malformed("x"), Turn(now=NOW)) == ()


def test_a_dead_letter_leaves_the_order_failed_with_its_reason() -> None:
    order, result, doubt = buried(received(), Transient("the service is away"), Turn(now=NOW))
    assert doubt == Doubt(PHONE)
    assert isinstance(order, OrderRow)
    assert isinstance(result, SyncResult)
    assert (result.status, result.error) == ("failed", "the service is away")


async def test_the_same_handling_emits_the_same_event() -> None:
    first, _ = await World().run(received())
    second, _ = await World().run(received())
    assert [event.id for event in first.emit] == [event.id for event in second.emit]


def test_the_worker_reads_orders_and_retries_what_is_in_doubt() -> None:
    assert (WORKER.name, WORKER.reads) == ("contact-sync", ("orders",))
    assert WORKER.types == {"order.received", "order.moved", "contact.diverged"}
    assert (WORKER.channels, WORKER.on_uncertain) == (("cgb",), "retry")
