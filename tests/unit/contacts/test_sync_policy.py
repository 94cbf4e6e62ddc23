"""The contact sync: which orders it is for, which it leaves to the next one, and how it checks what it wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from adapters.postgres.order_marks import Coalesced, NotMeant, Syncing
from adapters.postgres.orders import OrderRow
from daemon.bus.outcome import Done, Later, Turn
from daemon.contacts.fields import ENRICHED, fields_of
from daemon.contacts.sync import NOT_SYNCED, handle
from daemon.sandbox.orders import make_order
from schemas.contacts import FieldValue
from schemas.envelope import Event
from schemas.errors import Transient
from schemas.orders import order_from
from schemas.phone import Phone
from tests.unit.contacts.test_sync import NOW, PHONE, SOUND, Directory, World, received

DELAY_MS = 2000


class Forgetful(Directory):
    """Says done, and keeps one field as it was."""

    async def update(self, contact_id: str, fields: Mapping[str, FieldValue]) -> None:
        await super().update(contact_id, {name: value for name, value in fields.items() if name != "visa_type"})


async def second_step(world: World, event: Event, *behind: Event) -> Done | Later:
    """The handling of *event* when its delay is over, while *behind* wait in its lane."""
    first = await handle(event, world.deps, Turn(now=NOW))
    assert isinstance(first, Later)
    turn = Turn(now=max(NOW, first.at), step=first.step, memo=first.memo, behind=lambda: behind)
    return await handle(event, world.deps, turn)


def another(after_ms: float = 500, **changed: Any) -> Event:
    return received(time=NOW + timedelta(milliseconds=after_ms))._replace(**({"id": "later"} | changed))


@pytest.mark.parametrize("branches", [("se",), ("se", "ru")])
async def test_an_order_of_another_branch_is_kept_without_a_call_and_without_a_status(branches: Sequence[str]) -> None:
    world = World(cgb_sync_branches=branches)
    done, rows = await world.run(received())
    assert done.skipped == "other branch"
    assert world.directory.calls == []
    assert [type(row) for row in rows] == [OrderRow, NotMeant]
    assert rows[1] == NotMeant(SOUND["order"]["id"], NOT_SYNCED, "e")
    assert world.counts == {}


async def test_an_order_of_a_named_branch_is_synced() -> None:
    world = World(cgb_sync_branches=("il", "se"))
    done, _ = await world.run(received())
    assert done.skipped is None


async def test_an_order_is_left_to_the_next_one_that_came_within_the_delay() -> None:
    world = World(cgb_sync_coalesce=True, cgb_sync_delay_ms=DELAY_MS)
    outcome = await second_step(world, received(), another())
    assert outcome == Done(
        rows=(Syncing(SOUND["order"]["id"], NOW + timedelta(milliseconds=DELAY_MS), None, "e"),), skipped="coalesced"
    )
    assert world.directory.calls == []


@pytest.mark.parametrize(
    "behind",
    [
        [],
        [another(DELAY_MS + 1)],
        [another(type="order.moved")],
        [another(replayid="contact-sync:r")],
        [another(data=b'{"order": {"id": "IL1-TEST"}}')],
    ],
)
async def test_an_order_is_not_left_to_what_may_write_nothing(behind: list[Event]) -> None:
    world = World(cgb_sync_coalesce=True, cgb_sync_delay_ms=DELAY_MS)
    assert isinstance(await second_step(world, received(), *behind), Later)
    assert world.directory.calls[:1] == ["find"]


async def test_orders_are_left_to_each_other_only_where_that_is_asked_for_and_never_when_delivered_again() -> None:
    assert isinstance(await second_step(World(cgb_sync_delay_ms=DELAY_MS), received(), another()), Later)
    again = received()._replace(replayid="contact-sync:r")
    world = World(cgb_sync_coalesce=True, cgb_sync_delay_ms=DELAY_MS)
    assert isinstance(await second_step(world, again, another()), Later)


async def test_the_order_that_was_waited_for_ends_those_that_were_left_to_it() -> None:
    _, rows = await World(cgb_sync_coalesce=True).run(received())
    assert [row for row in rows if isinstance(row, Coalesced)] == [
        Coalesced(PHONE, SOUND["order"]["id"], NOW, "972505550142")
    ]
    _, rows = await World().run(received())
    assert not any(isinstance(row, Coalesced) for row in rows)


async def test_a_write_is_read_back_now_and_then_and_what_is_lacking_is_an_error() -> None:
    held = {"OrderNumber": "IL0", "visa_type": "visa"}
    world = World(Forgetful(contacts={"972505550142": dict(held)}))
    await world.run(received())  # not sampled: CGB is believed
    world = World(Forgetful(contacts={"972505550142": dict(held)}))
    world.sampled = True
    with pytest.raises(Transient, match=r"does not hold visa_type$") as caught:
        await world.run(received())
    assert (caught.value.answered, caught.value.code) == (True, "not-written")
    assert world.counts["cgb_sync_failures"] == 1
    assert "cgb_sync_success" not in world.counts


async def test_a_write_that_is_kept_passes_the_read_back() -> None:
    world = World()
    world.sampled = True
    done, _ = await world.run(received())
    assert done.emit[0].json()["action"] == "created"
    assert world.directory.calls.count("find") == 2


def test_a_contact_is_enriched_with_what_the_account_has_a_field_for() -> None:
    body = make_order(Random(1), 7, branch="il", amount=1)
    body["form"]["updated_at"] = "2021-02-14T09:00:00.000Z"
    order = order_from(json.dumps(body).encode(), NOW)
    phone = Phone(PHONE)
    assert fields_of(order, phone, 3, frozenset({"OrderNumber"}) | ENRICHED) == {
        "OrderNumber": order.order_id,
        "country": "IL",
        "time_zone": "Asia/Jerusalem",
        "language": "he",
        "orders_count": 3,
        "last_order": datetime(2021, 2, 14, 9, tzinfo=UTC),
    }
    assert set(fields_of(order, phone, 3, frozenset({"country"}))) == {"country"}
    assert not ENRICHED & set(fields_of(order, phone, 3, None))


@pytest.mark.parametrize(
    ("e164", "country", "zone"),
    [
        ("+14155550132", "US", "America/Los_Angeles"),
        ("+447700900123", None, None),
        ("+8835100012345", None, None),
        ("+79001234567", "RU", None),
    ],
)
def test_what_a_number_does_not_tell_is_left_out(e164: str, country: str | None, zone: str | None) -> None:
    order = order_from(json.dumps(make_order(Random(1), 7, branch="co")).encode(), NOW)
    found = fields_of(order, Phone(e164), 1, frozenset({"country", "time_zone"}))
    assert (found.get("country"), found.get("time_zone")) == (country, zone)
