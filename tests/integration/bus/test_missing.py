"""What the journal has and some worker has not ended with, looked for stretch by stretch; and what a process knows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from adapters.postgres.bus import days, journal
from adapters.postgres.bus import missing as queries
from adapters.postgres.bus import workers as workers_table
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.bus.workers import Registered
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.bus.journal import WORKER as JOURNAL
from daemon.bus.losses import Losses
from daemon.bus.worker import Worker
from schemas.envelope import Event
from tests.support.toy import TOPIC, TOY, TYPE, make_events, succeed

DAYS = 30
_END = (
    "INSERT INTO inbox (worker, event_id, replay_id, outcome, data_hash, at)"
    " SELECT $1, id, $3, 'done', '', now() - $4 * interval '1 day' FROM unnest($2::text[]) AS id"
)


async def journaled(db: Pool, events: Sequence[Event]) -> None:
    async with db.acquire() as conn:
        await journal.append(conn, [Journaled(event, "") for event in events])


async def ended(
    db: Pool, events: Sequence[Event], *, worker: str = TOY, replay_id: str = "", days_ago: int = 0
) -> None:
    await db.execute(_END, worker, [event.id for event in events], replay_id, days_ago)


async def missing(
    db: Pool, workers: Sequence[str] = (TOY,), *, types: Sequence[str] = (TYPE,), limit: int = 2
) -> list[str]:
    """The ids, over all pages."""
    found: list[str] = []
    after = 0
    wanted = [Registered(name=worker, topics=(TOPIC,), types=types) for worker in workers]
    while page := await queries.events(db, wanted, after, days=DAYS, limit=limit):
        assert len(page) <= limit
        assert page == sorted(page, key=lambda numbered: numbered[0])
        after = page[-1][0]
        found += [event.id for _, event in page]
    return found


@pytest.fixture(autouse=True)
async def short_stretches(db: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    await days.ensure_days(db)
    monkeypatch.setattr(queries, "STRETCH", 4)


async def test_what_is_open_is_found_behind_stretches_of_what_has_ended(db: Pool) -> None:
    events = make_events(30, 1)
    await journaled(db, events)
    open_ones = [*events[13:17], events[29]]
    await ended(db, [event for event in events if event not in open_ones])
    assert await missing(db) == [event.id for event in open_ones]
    await ended(db, open_ones)
    assert await missing(db) == []


async def test_an_end_counts_whatever_its_day_and_a_replays_does_not(db: Pool) -> None:
    late, replayed, foreign = make_events(3, 1)
    await journaled(db, [late, replayed, foreign])
    await ended(db, [late], days_ago=20)
    await ended(db, [replayed], replay_id=f"{TOY}:1")
    await ended(db, [foreign], worker="other")
    assert await missing(db) == [replayed.id, foreign.id]


async def test_an_event_is_named_once_however_many_workers_lack_it(db: Pool) -> None:
    first, second = make_events(2, 1)
    await journaled(db, [first, second])
    await ended(db, [second], worker="other")
    assert await missing(db, [TOY, "other"]) == [first.id, second.id]
    assert await missing(db, ["other"]) == [first.id]
    assert await missing(db, types=["contact.synced"]) == []


async def test_days_that_are_over_are_not_looked_at(db: Pool) -> None:
    old, new = make_events(2, 1)
    await journaled(db, [old, new])
    await db.execute("UPDATE event_journal SET recorded_at = now() - interval '31 days' WHERE id = $1", old.id)
    assert await missing(db) == [new.id]


async def test_what_a_process_published_is_known_to_it_until_every_worker_has_ended_with_it(
    db: Pool, redis: Redis
) -> None:
    """Promise: an event that comes to the journal while losses are looked for is not left to a process that has looked
    before."""
    toy = Worker(name=TOY, reads=("orders",), types=frozenset({TYPE}), begins="everything", handle=succeed)
    await workers_table.register(db, [JOURNAL.entry, toy.entry], [TOY])
    bus = Streams(redis, 1)
    losses = Losses(db, bus, DAYS)
    events = make_events(4, 1)
    by_journal_alone, by_toy_alone, by_both, by_nobody = events
    await bus.append(events)
    await ended(db, [by_journal_alone, by_both], worker=JOURNAL.name)
    await ended(db, [by_toy_alone, by_both])
    assert await losses.unknown(set()) == [by_journal_alone, by_toy_alone, by_nobody]
    assert await losses.unknown({by_journal_alone.id}) == [by_toy_alone, by_nobody]
