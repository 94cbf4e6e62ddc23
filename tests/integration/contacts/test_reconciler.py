"""The reconciler: which orders it sends again, and which it leaves alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from adapters.postgres import reconciled
from adapters.postgres.bus import inbox, journal, outbox
from adapters.postgres.bus.inbox import InboxRow
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.order_marks import Syncing, SyncResult
from adapters.postgres.orders import row_of
from adapters.postgres.pool import Pool
from daemon.contacts.reconciler import CONTACT_SYNC, MOST_RUNS, Found, reconcile
from daemon.contacts.recording import record
from daemon.contacts.states import state_from
from daemon.sandbox.orders import make_order
from schemas.envelope import Event

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
MINUTE_S = 60.0


async def stored(db: Pool, id: str, *, journaled: bool = True, known: bool = True, age_s: float = 3600) -> Event:
    """An order without an end, *age_s* seconds untouched. *journaled*: the bus has had it. *known*: its row names its
    event."""
    text = json.dumps(make_order(Random(1), 1, order_id=id, branch="il"))
    order, event = state_from(text, NOW)
    async with db.acquire() as conn, conn.transaction():
        await record(conn, [row_of(order, event.id)])
        if journaled:
            await journal.append(conn, [Journaled(event, "")])
        await conn.execute(
            "UPDATE orders SET updated_at = now() - make_interval(secs => $2),"
            " event_id = CASE WHEN $3 THEN event_id END WHERE order_id = $1",
            id,
            age_s,
            known,
        )
    return event


async def finished(db: Pool, event: Event, replay_id: str = "") -> None:
    """contact-sync has ended with it, and the row has no end."""
    async with db.acquire() as conn, conn.transaction():
        row = InboxRow(event.id, replay_id, "skipped", "dry run", 1, b"")
        await inbox.insert(conn, CONTACT_SYNC, [row])


async def sent(db: Pool) -> list[Event]:
    return [event for _, event in await outbox.left(db, older_than_s=-1, limit=100)]


async def round_of(db: Pool, **given: Any) -> Found:
    found = await reconcile(db, 10 * MINUTE_S, **given)
    assert found is not None
    return found


async def test_an_order_whose_sync_ended_without_an_end_is_sent_again_to_the_contact_sync_alone(db: Pool) -> None:
    event = await stored(db, "IL1")
    await finished(db, event)
    assert (await round_of(db)).again == 1
    (again,) = await sent(db)
    assert again._replace(replayid="") == event
    assert again.is_for(CONTACT_SYNC, NOW)
    assert not again.is_for("journal", NOW)


async def test_an_order_that_the_bus_has_never_had_is_sent_also_without_the_name_of_its_event(db: Pool) -> None:
    await stored(db, "IL1", journaled=False)
    await stored(db, "IL2", journaled=False, known=False)
    assert (await round_of(db)).again == 2
    assert {event.json()["order"]["id"] for event in await sent(db)} == {"IL1", "IL2"}


async def test_an_order_that_is_open_on_the_bus_or_was_touched_or_has_ended_is_left_alone(db: Pool) -> None:
    await stored(db, "IL1")
    await finished(db, await stored(db, "IL2", age_s=60))
    synced = await stored(db, "IL3")
    async with db.acquire() as conn, conn.transaction():
        await record(conn, [Syncing("IL3", NOW, True), SyncResult(order_id="IL3", status="synced", at=NOW)])
        await conn.execute("UPDATE orders SET updated_at = now() - interval '1 hour'")
    await finished(db, synced)
    await db.execute("UPDATE orders SET updated_at = now() WHERE order_id = 'IL2'")
    found = await round_of(db)
    assert (found.again, found.open, found.left) == (0, 1, 0)
    assert await sent(db) == []


async def test_an_order_that_was_sent_is_not_sent_anew_before_that_has_ended_and_not_for_ever(db: Pool) -> None:
    event = await stored(db, "IL1")
    await finished(db, event)
    for turn in range(MOST_RUNS):
        assert (await round_of(db)).again == 1
        assert (await round_of(db)).open == 1
        replays = [one.replayid for one in await sent(db)]
        assert len(replays) == turn + 1
        await finished(db, event, replays[-1])
    found = await round_of(db)
    assert (found.again, found.left) == (0, 1)


async def test_a_newer_state_of_such_an_order_is_sent_again(db: Pool) -> None:
    event = await stored(db, "IL1")
    await finished(db, event)
    await db.execute(
        "INSERT INTO reconciled_orders (order_id, event_id, replay_id, runs) VALUES ('IL1', 'older', 'r', $1)",
        MOST_RUNS,
    )
    assert (await round_of(db)).again == 1
    assert await db.fetchval("SELECT runs FROM reconciled_orders") == 1


async def test_an_order_without_its_text_is_told_and_left(db: Pool) -> None:
    event = await stored(db, "IL1")
    await finished(db, event)
    await db.execute("UPDATE orders SET raw_body = ''")
    assert (await round_of(db)).left == 1
    assert await sent(db) == []


async def test_a_dry_run_counts_and_does_nothing(db: Pool) -> None:
    await finished(db, await stored(db, "IL1"))
    assert (await round_of(db, dry_run=True)).again == 1
    assert await sent(db) == []
    assert (await round_of(db)).again == 1


async def test_two_processes_do_not_do_it_at_once(db: Pool) -> None:
    await finished(db, await stored(db, "IL1"))
    async with db.acquire() as conn, conn.transaction():
        assert await reconciled.take_turn(conn)
        assert await reconcile(db, 10 * MINUTE_S) is None
    assert (await round_of(db)).again == 1


async def test_a_round_has_an_end_and_the_next_one_goes_on(db: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.contacts.reconciler.PAGE", 2)
    monkeypatch.setattr("daemon.contacts.reconciler.MOST", 4)
    for n in range(5):
        await finished(db, await stored(db, f"IL{n}"))
    first = await round_of(db)
    assert (first.again, first.until) == (4, "IL3")
    second = await round_of(db, after=first.until)
    assert (second.again, second.until) == (1, "")


async def test_the_time_without_a_try_begins_with_the_first_order_after_the_last_try(db: Pool) -> None:
    assert await reconciled.untried_s(db) == 0.0
    await stored(db, "IL1")
    await db.execute("UPDATE orders SET created_at = now() - interval '50 minutes'")
    assert await reconciled.untried_s(db) == pytest.approx(3000, abs=30)
    await db.execute("UPDATE orders SET cgb_sync_attempted_at = now() - interval '40 minutes'")
    assert await reconciled.untried_s(db) == 0.0
    await stored(db, "IL2")
    await db.execute("UPDATE orders SET created_at = now() - interval '20 minutes' WHERE order_id = 'IL2'")
    assert await reconciled.untried_s(db) == pytest.approx(1200, abs=30)
