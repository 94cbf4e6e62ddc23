"""What Postgres knows to be open is compared with what the streams hold: no loss needs a sign to be found."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from adapters.postgres.bus import days, journal, places, workers
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams, stream_key
from daemon.bus import comparison, recovery
from daemon.bus import journal as bus_journal
from daemon.bus.comparison import Comparison
from daemon.bus.recovery import Recovery
from daemon.contacts import sync
from schemas.envelope import Event, from_fields
from schemas.partitions import partition_of
from tests.support.toy import TOPIC, make_event, make_events
from tests.support.until import until

INSTALLED = (bus_journal.WORKER, sync.WORKER)
PARTITIONS = 2
FIELDS = "type, source, subject, time, data, traceparent, causationid, schemaversion"


class Intake:
    """Held back by recovery, and let go."""

    def hold(self) -> None:
        """See recovery.Held."""

    def release(self) -> None:
        """See recovery.Held."""


@pytest.fixture
async def streams(db: Pool, redis: Redis) -> Streams:
    """The streams of an installation with the registry's workers and their groups."""
    await days.ensure_days(db)
    await workers.register(db, [worker.entry for worker in INSTALLED], [])
    return Streams(redis, PARTITIONS, recovers=True)


@pytest.fixture
async def watched(db: Pool, streams: Streams, monkeypatch: pytest.MonkeyPatch) -> Recovery:
    """The recovery of a process that has looked once."""
    monkeypatch.setattr(recovery, "SETTLE_S", 0.01)
    monkeypatch.setattr(recovery, "COMPARE_EVERY", 1)
    monkeypatch.setattr(places, "GRACE_S", 0.0)
    watching = Recovery(db, streams, Intake(), days=30)
    await watching.begin()
    return watching


async def accepted(db: Pool, streams: Streams, events: Sequence[Event]) -> None:
    """Put *events* on their streams and into the journal, as a daemon does."""
    ids = await streams.restore(events)
    async with db.acquire() as conn:
        await journal.append(conn, [Journaled(event, id) for event, id in zip(events, ids, strict=True)])
    await ended(db, events, worker="journal")


async def ended(db: Pool, events: Sequence[Event], *, worker: str = "contact-sync") -> None:
    await db.executemany(
        "INSERT INTO inbox (worker, event_id, outcome, data_hash) VALUES ($1, $2, 'done', '')",
        [(worker, event.id) for event in events],
    )


async def mark_of(db: Pool) -> str:
    return str(await db.fetchval("SELECT value FROM ferryman_meta WHERE key = 'mark'"))


async def on_streams(redis: Redis) -> list[bytes]:
    return sorted([id for p in range(PARTITIONS) for id in await on_stream(redis, stream_key(TOPIC, p))])


async def on_stream(redis: Redis, key: str) -> list[bytes]:
    """The ids of the events on one stream, in its order."""
    entries: Any = await redis.xrange(key)
    return [fields[b"id"] for _, fields in entries if b"id" in fields]


def ids(events: Sequence[Event]) -> list[bytes]:
    return sorted(event.id.encode() for event in events)


async def test_a_single_entry_that_is_gone_is_published_again_without_any_other_sign(
    db: Pool, redis: Redis, streams: Streams, watched: Recovery
) -> None:
    events = make_events(6, 1)
    await accepted(db, streams, events)
    await watched.check()
    assert await on_streams(redis) == ids(events)
    key = stream_key(TOPIC, partition_of(events[2].subject, PARTITIONS))
    entry_id = await db.fetchval("SELECT entry_id FROM event_journal WHERE id = $1", events[2].id)
    await redis.xdel(key, entry_id)
    await watched.check()
    assert set(await on_streams(redis)) == set(ids(events))
    before = await on_streams(redis)
    for _ in range(3):
        await watched.check()  # it has its new place, and is not published on and on
    assert await on_streams(redis) == before


@pytest.mark.parametrize("instead", [False, True])
async def test_a_stream_that_is_deleted_comes_back_with_all_that_is_open(
    db: Pool, redis: Redis, streams: Streams, watched: Recovery, instead: bool
) -> None:
    """*instead*: a stranger's entry stands in its place."""
    done, events = make_events(3, 1), [make_event("key-9", n) for n in range(3)]
    await accepted(db, streams, [*done, *events])
    await ended(db, done)
    key = stream_key(TOPIC, partition_of("key-9", PARTITIONS))
    await redis.delete(key)
    if instead:
        await redis.xadd(key, {"no": "event"})
    await watched.check()
    entries = await on_stream(redis, key)
    assert [id for id in entries if id in ids(events)] == [event.id.encode() for event in events], "and in their order"
    assert not set(entries) & set(ids(done)), "nothing that has ended"


async def test_a_loss_while_no_process_ran_is_found_at_the_start(
    db: Pool, redis: Redis, streams: Streams, watched: Recovery
) -> None:
    older, lost = make_events(4, 1)[:2], make_events(4, 1)[2:]
    await accepted(db, streams, older)
    for _ in range(recovery.CHECKPOINT_EVERY):
        await watched.check()
    await accepted(db, streams, lost)
    for event in lost:  # the tail that a server has lost, shorter than its beat
        entry_id = await db.fetchval("SELECT entry_id FROM event_journal WHERE id = $1", event.id)
        await redis.xdel(stream_key(TOPIC, partition_of(event.subject, PARTITIONS)), entry_id)
    await Recovery(db, Streams(redis, PARTITIONS, recovers=True), Intake(), days=30).begin()
    assert set(await on_streams(redis)) == set(ids([*older, *lost]))


async def test_a_look_at_the_start_compares_all_that_is_open(
    db: Pool, redis: Redis, streams: Streams, watched: Recovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "ROUND", 2)
    monkeypatch.setattr(comparison, "HELD", 2)
    monkeypatch.setattr(places, "STRETCH", 3)
    monkeypatch.setattr(places, "GRACE_S", 60.0)  # no other process runs that might commit a smaller number late
    events = make_events(10, 1)
    await accepted(db, streams, events)
    entry_id = await db.fetchval("SELECT entry_id FROM event_journal WHERE id = $1", events[-1].id)
    await redis.xdel(stream_key(TOPIC, partition_of(events[-1].subject, PARTITIONS)), entry_id)
    await Recovery(db, Streams(redis, PARTITIONS, recovers=True), Intake(), days=30).begin()
    assert set(await on_streams(redis)) == set(ids(events))


async def test_an_entry_of_another_event_at_an_open_events_place_is_not_taken_for_it(
    db: Pool, redis: Redis, streams: Streams, watched: Recovery
) -> None:
    key, events = stream_key(TOPIC, partition_of("key-9", PARTITIONS)), [make_event("key-9", n) for n in range(3)]
    await accepted(db, streams, events)
    entries: Any = await redis.xrange(key)
    groups: Any = await redis.xinfo_groups(key)
    await redis.delete(key)
    for entry_id, _ in entries:
        await redis.xadd(key, {"no": "event"}, id=entry_id)
    for group in groups:
        await redis.xgroup_create(key, group["name"], "0")
    await watched.check()
    assert [id for id in await on_stream(redis, key) if id in ids(events)] == [e.id.encode() for e in events]


async def test_what_was_accepted_a_moment_before_its_stream_was_deleted_is_published_again_by_each_process(
    db: Pool, redis: Redis, streams: Streams, watched: Recovery
) -> None:
    """No journal has it yet. The process that sees the stream gone is not the one that took it in."""
    other = Recovery(db, Streams(redis, PARTITIONS, recovers=True), Intake(), days=30)
    await other.begin()
    before, events = await mark_of(db), [make_event("key-9", n) for n in range(3)]
    key = stream_key(TOPIC, partition_of("key-9", PARTITIONS))
    await streams.append(events)
    await redis.delete(key)
    await redis.xadd(key, {"no": "event"})
    stop = asyncio.Event()
    seeing = asyncio.create_task(other.run(stop))  # a reader of it was told NOGROUP
    other.suspect()
    try:

        async def mended() -> bool:
            return await mark_of(db) != before

        await until(mended, "another mark")
        await watched.check()
    finally:
        stop.set()
        await seeing
    assert [id for id in await on_stream(redis, key) if id in ids(events)] == [e.id.encode() for e in events]


async def test_newer_entries_of_a_recovered_events_key_go_behind_it_whenever_they_came(
    db: Pool, redis: Redis, streams: Streams, watched: Recovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.bus.losses.PAGE", 2)
    key = stream_key(TOPIC, partition_of("key-9", PARTITIONS))
    now = datetime.now(UTC)
    events = [make_event("key-9", n)._replace(time=now + timedelta(milliseconds=n)) for n in range(7)]
    others = [make_event(f"key-{n}")._replace(time=now) for n in range(8)]
    await accepted(db, streams, [*events, *others])
    for group in ("contact-sync", "journal"):
        await redis.xreadgroup(group, "owner", {key: ">"}, count=100)  # they are pending
    for _ in range(2):
        await watched.check()  # beats that came after them
    first: Any = await redis.xrange(key, count=1)
    await redis.xdel(key, first[0][0])
    await watched.check()
    found = await on_stream(redis, key)
    assert [id for id in found if id in ids(events)] == [e.id.encode() for e in events]
    pending: Any = await redis.xpending(key, "contact-sync")
    assert pending["pending"] == 1, "the one that was deleted; what was moved is pending no more"


async def test_a_retry_and_a_replay_of_a_recovered_event_stay_beside_it(
    db: Pool, redis: Redis, streams: Streams, watched: Recovery
) -> None:
    event = make_event("key-9")._replace(time=datetime.now(UTC))
    await accepted(db, streams, [event])
    key = stream_key(TOPIC, partition_of("key-9", PARTITIONS))
    others = [event._replace(target="contact-sync"), event._replace(replayid="r", target="contact-sync")]
    await streams.restore(others)
    first: Any = await redis.xrange(key, count=1)
    await redis.xdel(key, first[0][0])
    await watched.check()
    entries: Any = await redis.xrange(key)
    found = [from_fields(fields) for _, fields in entries]
    assert {(one.replayid, one.target) for one in found} == {("", ""), ("", "contact-sync"), ("r", "contact-sync")}
    place = await db.fetchval("SELECT entry_id FROM event_journal WHERE id = $1", event.id)
    (original,) = [id.decode() for (id, _), one in zip(entries, found, strict=True) if not one.target]
    assert place == original


async def test_a_process_that_starts_as_another_has_mended_finds_no_loss(
    db: Pool, redis: Redis, streams: Streams, watched: Recovery
) -> None:
    for _ in range(2 * recovery.CHECKPOINT_EVERY):
        await watched.check()  # far ahead of the beats of an empty server
    await redis.flushall()
    await watched.check()
    with capture_logs() as lines:
        await Recovery(db, Streams(redis, PARTITIONS, recovers=True), Intake(), days=30).begin()
    assert not [line for line in lines if line["event"] == "redis.lost_data"]


async def test_what_is_too_old_to_be_published_again_is_not_found_absent_round_for_round(
    db: Pool, redis: Redis, streams: Streams, watched: Recovery
) -> None:
    old, young = make_events(2, 1)
    await accepted(db, Streams(redis, PARTITIONS), [old, young])  # long ago: the watching process no longer knows them
    await db.execute("UPDATE event_journal SET recorded_at = now() - interval '31 days' WHERE id = $1", old.id)
    await redis.delete(*[stream_key(TOPIC, p) for p in range(PARTITIONS)])
    with capture_logs() as lines:
        for _ in range(4):
            await watched.check()
    assert await on_streams(redis) == ids([young])
    assert [line["event"] for line in lines].count("redis.lost_data") == 1


async def test_a_number_of_the_journal_that_is_committed_late_is_not_passed_over(
    db: Pool, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "GRACE_S", 1.0)
    late, early = make_events(2, 1)
    comparing = Comparison(db, streams, 30)
    async with db.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(late, "1-1")])
        await accepted(db, streams, [early])
        await comparing.lost()
    while await db.fetchval("SELECT max(recorded_at) > now() - interval '1 s' FROM event_journal"):
        await asyncio.sleep(0.05)
    assert await comparing.lost() == 1, "the one whose place is on no stream"


async def test_what_has_ended_or_waits_for_an_operator_is_not_looked_for(
    db: Pool, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "GRACE_S", 0.0)
    done, dead, old, open_one = make_events(4, 1)
    await accepted(db, streams, [done, dead, open_one])
    async with db.acquire() as conn:
        await journal.append(conn, [Journaled(old, "")])  # journaled by an earlier version
    await ended(db, [done])
    await db.execute(
        f"INSERT INTO dead_letters (worker, event_id, {FIELDS}, error_class, error_text, attempts)"
        f" SELECT 'contact-sync', id, {FIELDS}, 'X', '', 1 FROM event_journal WHERE id = $1",
        dead.id,
    )
    await streams.redis.flushall()
    assert await Comparison(db, streams, 30).lost() == 1
    del open_one


async def test_open_events_take_turns_and_the_journal_is_followed_stretch_by_stretch(
    db: Pool, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "ROUND", 3)
    monkeypatch.setattr(places, "GRACE_S", 0.0)
    monkeypatch.setattr(comparison, "STRETCHES", 1)
    monkeypatch.setattr(places, "STRETCH", 4)
    events = make_events(10, 1)
    await accepted(db, streams, events)
    comparing = Comparison(db, streams, 30)
    assert [await comparing.lost() for _ in range(6)] == [0] * 6
    await comparing.checkpoint()
    assert await db.fetchval("SELECT value::int FROM ferryman_meta WHERE key = 'compared'") == await db.fetchval(
        "SELECT min(seq) - 1 FROM event_journal"
    )
    await streams.redis.flushall()
    assert sum([await comparing.lost() for _ in range(4)]) >= 10
    await ended(db, events)
    for _ in range(4):
        assert await comparing.lost() == 0
    await comparing.checkpoint()
    assert await db.fetchval("SELECT value::int FROM ferryman_meta WHERE key = 'compared'") == await db.fetchval(
        "SELECT max(seq) FROM event_journal"
    )
