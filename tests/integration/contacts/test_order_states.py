"""An order that comes again changed: its row is its newest state, whatever the order of arrival."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import permutations
from random import Random
from typing import Any

import asyncpg
import pytest

from adapters.postgres.order_marks import Syncing, SyncResult
from adapters.postgres.orders import row_of
from adapters.postgres.person_orders import Asked, PersonOrders, of_persons
from adapters.postgres.pool import Pool
from daemon.contacts.recording import record
from daemon.sandbox.orders import make_order
from schemas.envelope import Event
from schemas.orders import Order, order_from

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ONE, TWO = ({"code": "972", "number": f"50555{n:04d}"} for n in (1, 2))


def state(
    n: int,
    *,
    id: str = "IL1",
    at: datetime = NOW,
    changed: datetime | None = None,
    status: str = "active",
    **overrides: Any,
) -> tuple[Order, str]:
    """The *n*-th state of an order, arrived at *at*, and its event's id."""
    body = make_order(Random(1), 1, order_id=id, branch="il", **({"phone": ONE} | overrides))
    del body["form"]["created_at"]
    body["form"]["updated_at"] = (changed or NOW - HOUR).isoformat()
    body["order"]["status"] = status
    body["form"]["meta"]["revision"] = n
    return order_from(json.dumps(body).encode(), at), f"{id}-{n}"


async def stored(db: Pool, *states: tuple[Order, str], mended: bool = False) -> list[Event]:
    async with db.acquire() as conn, conn.transaction():
        return list(await record(conn, [row_of(order, event, mended=mended) for order, event in states]))


async def row(db: Pool, id: str = "IL1") -> asyncpg.Record:
    found = await db.fetchrow("SELECT * FROM orders WHERE order_id = $1", id)
    assert found is not None
    return found


async def finish(db: Pool, id: str, event: str, **more: Any) -> None:
    async with db.acquire() as conn, conn.transaction():
        await record(conn, [SyncResult(order_id=id, status="synced", at=NOW, event_id=event, **more)])


async def asked(db: Pool, *questions: Asked) -> list[PersonOrders]:
    return await of_persons(db, questions)


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize("together", [True, False])
async def test_the_newest_state_stays_whatever_the_order_of_arrival(
    db: Pool, order: tuple[int, ...], together: bool
) -> None:
    """By the form's time of change first, then by its revision, then by arrival."""
    states = [
        state(7, changed=NOW - 3 * HOUR, name="first"),
        state(1, changed=NOW - 2 * HOUR, name="second"),
        state(2, changed=NOW - 2 * HOUR, name="third"),
    ]
    if together:
        await stored(db, *(states[n] for n in order))
    else:
        for n in order:
            await stored(db, states[n])
    found = await row(db)
    assert (found["client_name"], found["event_id"], found["form_revision"]) == ("third", "IL1-2", 2)
    assert await db.fetchval("SELECT count(*) FROM orders") == 1


async def test_of_states_that_nothing_else_tells_apart_the_later_arrival_is_the_newer(db: Pool) -> None:
    await stored(db, state(1, at=NOW + HOUR, name="late"))
    await stored(db, state(1, name="early"))
    assert (await row(db))["client_name"] == "late"


async def test_a_changed_order_is_pending_again_and_the_log_names_what_changed_without_values(db: Pool) -> None:
    await stored(db, state(1, email="old@example.com", name="One"))
    await finish(db, "IL1", "IL1-1", contact_id="c", contact_exists=False)
    await stored(db, state(2, changed=NOW, email="new@example.com", name="Other"))
    found = await row(db)
    assert (found["cgb_sync_status"], found["cgb_contact_id"], found["cgb_contact_exists"]) == ("pending", "c", False)
    (logged,) = await db.fetch("SELECT actor, action, subject, detail FROM audit_log")
    assert tuple(logged)[:3] == ("ferryman", "order.updated", "order:IL1")
    detail = json.loads(logged["detail"])
    assert detail == {"event_id": "IL1-2", "fields": ["client_name", "client_email"]}
    assert "new@example.com" not in logged["detail"]


async def test_a_state_that_differs_only_in_how_it_was_sent_leaves_the_sync_as_it_stands(db: Pool) -> None:
    await stored(db, state(1))
    await finish(db, "IL1", "IL1-1")
    assert await stored(db, state(2, changed=NOW)) == []
    found = await row(db)
    assert (found["cgb_sync_status"], found["event_id"]) == ("synced", "IL1-2")
    assert await db.fetchval("SELECT count(*) FROM audit_log") == 0


async def test_a_corrected_phone_takes_the_order_to_the_other_person_and_tells_the_former_one(db: Pool) -> None:
    await stored(db, state(1))
    await finish(db, "IL1", "IL1-1", contact_id="c", contact_exists=True)
    await db.execute("UPDATE orders SET cgb_has_whatsapp = true")
    (moved,) = await stored(db, state(2, changed=NOW, phone=TWO))
    assert (moved.type, moved.subject) == ("order.moved", "+972505550001")
    assert moved.json() == {"order_id": "IL1", "phone": "+972505550001"}
    assert moved.topic == "orders"
    found = await row(db)
    assert (found["client_phone_e164"], found["cgb_sync_status"]) == ("+972505550002", "pending")
    assert (found["cgb_contact_id"], found["cgb_contact_exists"], found["cgb_has_whatsapp"]) == (None, None, None)
    assert await stored(db, state(2, changed=NOW, phone=TWO)) == []  # the same commit again


async def test_a_phone_that_is_not_usable_any_more_tells_the_former_person_too(db: Pool) -> None:
    await stored(db, state(1))
    (moved,) = await stored(db, state(2, changed=NOW, phone=None))
    assert moved.subject == "+972505550001"
    assert (await row(db))["client_phone_e164"] is None


async def test_what_becomes_of_a_replaced_state_changes_nothing(db: Pool) -> None:
    """Promise: a sync that was under way when the order changed says nothing about the newer state."""
    await stored(db, state(1))
    await stored(db, state(2, changed=NOW, phone=TWO))
    async with db.acquire() as conn, conn.transaction():
        await record(conn, [Syncing("IL1", NOW, True, "IL1-1")])
    await finish(db, "IL1", "IL1-1", contact_id="c")
    found = await row(db)
    assert (found["cgb_sync_status"], found["cgb_contact_id"]) == ("pending", None)
    await finish(db, "IL1", "IL1-2", contact_id="d")
    assert (await row(db))["cgb_sync_status"] == "synced"


async def test_a_text_that_an_operator_has_mended_replaces_its_state_and_a_replay_of_the_old_one_does_not(
    db: Pool,
) -> None:
    (wrong, event), (mended, _) = state(1, name="wrong"), state(1, name="right", phone=TWO)
    await stored(db, (wrong, event))
    (moved,) = await stored(db, (mended, event), mended=True)
    assert moved.subject == "+972505550001"
    assert await stored(db, (wrong, event)) == []
    found = await row(db)
    assert (found["client_name"], found["client_phone_e164"]) == ("right", "+972505550002")


async def test_a_contact_shows_the_newest_order_whose_sync_has_begun_or_that_asks(db: Pool) -> None:
    for n, age in enumerate((5, 4, 3), 1):
        await stored(db, state(1, id=f"IL{n}", changed=NOW - age * HOUR))
    question = Asked("+972505550001", "IL1")
    assert (await asked(db, question))[0].newest_id == "IL1"
    await finish(db, "IL2", "IL2-1")
    (found,) = await asked(db, question)
    assert (found.newest_id, found.event_id, found.received_at) == ("IL2", "IL1-1", NOW)
    assert found.newest_body is not None
    assert json.loads(found.newest_body)["order"]["id"] == "IL2"
    assert (await asked(db, Asked("+972505550001", "IL3")))[0].newest_body is None
    assert (await asked(db, Asked("+972505550001", "IL3", whole=True)))[0].newest_body is not None
    assert [one.newest_id for one in await asked(db, Asked("+972505550001"), Asked("+972505550009"))] == ["IL2", None]
    assert await asked(db) == []


async def test_a_canceled_order_is_shown_only_where_no_other_one_stands(db: Pool) -> None:
    await stored(
        db, state(1, id="IL1", changed=NOW - 5 * HOUR), state(1, id="IL2", changed=NOW - HOUR, status="Canceled")
    )
    await finish(db, "IL1", "IL1-1")
    await finish(db, "IL2", "IL2-1")
    assert (await asked(db, Asked("+972505550001", "IL2")))[0].newest_id == "IL1"
    await stored(db, state(2, id="IL1", changed=NOW, status="canceled"))
    await finish(db, "IL1", "IL1-2")
    assert (await asked(db, Asked("+972505550001")))[0].newest_id == "IL1"
