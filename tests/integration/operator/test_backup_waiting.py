"""The events that only the streams have, in a backup and after a restore."""

from __future__ import annotations

from redis.asyncio import Redis

from adapters.postgres.bus import journal, spool
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.bus.payloads import LARGE_BYTES
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams, stream_keys
from daemon.bus.publisher import publish
from daemon.operator.backup.waiting import Count, lines, put_back
from schemas.envelope import TOPICS, Event
from tests.support.toy import make_event

PARTITIONS = 4
KEYS = stream_keys(sorted(TOPICS), range(PARTITIONS))


async def kept(bus: Streams) -> tuple[list[bytes], Count]:
    count = Count()
    return [chunk async for chunk in lines(bus, count)], count


async def in_order(db: Pool) -> list[Event]:
    return [event for _, event in await spool.oldest(db, 10_000)]


async def test_what_the_journal_has_not_acknowledged_is_kept_in_order_and_the_rest_is_not(
    redis: Redis, db: Pool
) -> None:
    bus = Streams(redis, PARTITIONS)
    await bus.ensure_groups("journal", KEYS)
    events = [make_event("+972505550001", n) for n in range(6)]
    await publish(db, bus, events)
    (key,) = [key for key in KEYS if await redis.exists(key) and await redis.xlen(key)]
    read = await bus.read("journal", {key: ">"}, count=4, epochs={})
    await bus.ack("journal", [(one.key, one.id) for one in (read[0], read[2])])
    chunks, count = await kept(bus)
    assert (count.events, count.unread) == (5, 0)  # from the oldest pending one on: 1, 3 and with them 2, then 4 and 5
    async with db.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(events[n], "") for n in (0, 2)])
    assert (await put_back(db, chunks)).events == 4
    assert await in_order(db) == [events[n] for n in (1, 3, 4, 5)]
    assert (await put_back(db, chunks)).events == 0, "what is in the spool is there already"


async def test_a_large_payload_comes_back_whole_and_one_that_is_nowhere_is_counted(redis: Redis, db: Pool) -> None:
    bus = Streams(redis, PARTITIONS)
    large, lost = (make_event("+972505550001", n, text="x" * LARGE_BYTES) for n in (1, 2))
    await publish(db, bus, [large, lost])
    await db.execute("DELETE FROM payloads WHERE event_id = $1", lost.id)
    chunks, count = await kept(bus)
    assert count.events == 2, "without the journal's group all that is there is kept"
    done = await put_back(db, [b"".join(chunks)[:1000], b"".join(chunks)[1000:]])
    assert (done.events, done.unread) == (1, 1)
    assert await in_order(db) == [large]


async def test_copies_for_one_worker_stay_out_and_foreign_entries_are_counted(redis: Redis, db: Pool) -> None:
    bus = Streams(redis, PARTITIONS)
    event = make_event("+972505550001")
    await bus.append([event, event._replace(target="contact-sync"), event._replace(replayid="r1")])
    await redis.xadd(KEYS[0], {"foreign": "entry"})
    await redis.xadd(KEYS[0], {**dict.fromkeys(("id", "type", "source", "subject"), "x"), "data": b"\xff"})
    chunks, count = await kept(bus)
    assert (count.events, count.unread) == (1, 2)
    await put_back(db, chunks)
    assert await in_order(db) == [event]
