"""What the bus costs, on one core: `python -m tests.bench.bus [--json]` (40 s).

The full path without an outside call: append, read, lane, a handler that does nothing, one commit per batch (inbox row
and an upsert of every event by the worker's `record`), acknowledge. The limit, measured in the same run, is a minimal
loop by hand: the same appends, XREADGROUP of 500, one upsert by unnest, XACK. Events of 600 bytes, each of a key of its
own, 16 partitions. Best of three, the two taking turns. Bar: 0.7 of the loop by hand.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Final, cast

from redis.asyncio import Redis

from adapters.postgres.bus import epochs as leases
from adapters.postgres.pool import Connection, Pool, connect
from adapters.redis import streams
from adapters.redis.streams import Streams, stream_key
from daemon.bus.consumer import Consumer
from daemon.bus.outcome import Done, Outcome, Row, Turn
from daemon.bus.worker import Worker
from daemon.process import settle_memory
from schemas.envelope import Event, event_id, to_fields
from schemas.partitions import partition_of
from tests.bench.rig import Cores, Figure, Took, clocked, main, stores
from tests.support.bus import FixedLeases, make_shared

EVENTS: Final = 10_000
TIMES: Final = 3
APPEND: Final = 200
PARTITIONS: Final = 16
KEYS: Final = [stream_key("orders", p) for p in range(PARTITIONS)]

_UPSERT: Final = """
INSERT INTO bench_results (id, subject, data) SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
ON CONFLICT (id) DO UPDATE SET data = excluded.data
"""


async def upsert(conn: Connection | Pool, events: Sequence[Event]) -> None:
    """The one statement that both sides write their results by."""
    events = sorted(events, key=lambda event: event.id)
    await conn.execute(_UPSERT, [e.id for e in events], [e.subject for e in events], [e.data.decode() for e in events])


async def record(conn: Connection, rows: Sequence[Row]) -> None:
    """As a worker does it."""
    await upsert(conn, cast("Sequence[Event]", rows))


async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
    """Nothing to do."""
    return Done(rows=(event,))


WORKER: Final = Worker(name="toy", reads=("orders",), types=frozenset({"order.received"}), handle=handle, record=record)


def events(turn: int) -> list[Event]:
    """EVENTS events that are new to the inbox."""
    now, text = datetime.now(UTC), "x" * 560
    return [
        Event(
            id=event_id("bench", str(turn), str(n)),
            type="order.received",
            source="bench",
            subject=f"key-{turn}-{n}",
            time=now,
            data=json.dumps({"n": n, "text": text}).encode(),
        )
        for n in range(EVENTS)
    ]


async def by_hand(redis: Redis, pool: Pool, batch: list[Event]) -> None:
    """The limit."""
    for start in range(0, len(batch), APPEND):
        pipe = redis.pipeline(transaction=False)
        for event in batch[start : start + APPEND]:
            key = stream_key("orders", partition_of(event.subject, PARTITIONS))
            pipe.execute_command("XADD", key, "*", *to_fields(event))
        await pipe.execute()
    left = len(batch)
    while left:
        answer: Any = await redis.xreadgroup("hand", "owner", dict.fromkeys(KEYS, ">"), count=500 // PARTITIONS)
        found = [fields for _, entries in answer.items() for _, fields in entries]
        await pool.execute(
            _UPSERT,
            [fields[b"id"].decode() for fields in found],
            [fields[b"subject"].decode() for fields in found],
            [fields[b"data"].decode() for fields in found],
        )
        pipe = redis.pipeline(transaction=False)
        for key, entries in answer.items():
            pipe.xack(key, "hand", *(entry_id for entry_id, _ in entries))
        await pipe.execute()
        left -= len(found)


async def by_ferryman(redis_url: str, bus: Streams, pool: Pool, batch: list[Event], took: list[Took]) -> None:
    """The real thing. Its end, after the last read has waited in vain, is not counted."""
    async with AsyncExitStack() as stack:
        clock = await stack.enter_async_context(AsyncExitStack())
        await clock.enter_async_context(clocked(took))
        for start in range(0, len(batch), APPEND):
            await bus.append(batch[start : start + APPEND])
        reads = streams.client(redis_url, timeout_s=6.0, connections=1)
        stack.push_async_callback(reads.aclose)
        owned = FixedLeases(await leases.take(pool, "toy", range(PARTITIONS), "bench"))
        consumer = Consumer(WORKER, None, make_shared(pool, bus, owned), Streams(reads, PARTITIONS))
        running = asyncio.create_task(consumer.run())
        while await bus.lag("toy", KEYS) != (0, 0):
            if running.done():
                break
            await asyncio.sleep(0.02)
        await clock.aclose()
        consumer.stop()
        await running


async def measure() -> list[Figure]:
    cores = Cores()
    cores.helpers()
    took: dict[str, list[Took]] = {"by hand": [], "ferryman": []}
    async with stores() as addresses, connect(addresses.database_url) as pool:
        cores.measured()
        redis = streams.client(addresses.redis_url, timeout_s=5.0, connections=16)
        bus = Streams(redis, PARTITIONS)
        await pool.execute("CREATE TABLE bench_results (id text PRIMARY KEY, subject text, data text)")
        settle_memory()  # as the daemon does at its start; for both alike
        for turn in range(TIMES):
            for kind, group in (("by hand", "hand"), ("ferryman", "toy")):
                await redis.flushall()
                await pool.execute("TRUNCATE bench_results, inbox")
                await bus.ensure_groups(group, KEYS)
                batch = events(turn)
                if kind == "ferryman":
                    await by_ferryman(addresses.redis_url, bus, pool, batch, took[kind])
                else:
                    async with clocked(took[kind]):
                        await by_hand(redis, pool, batch)
                assert await pool.fetchval("SELECT count(*) FROM bench_results") == EVENTS
        await redis.aclose()
    best = {kind: min(many, key=lambda one: one.seconds) for kind, many in took.items()}
    figures = [
        Figure(f"bus: {kind}", EVENTS / one.seconds, "events/s", note=f"{1e6 * one.cpu / EVENTS:.0f} us CPU")
        for kind, one in best.items()
    ]
    hand, ours = best["by hand"], best["ferryman"]
    ratio = hand.seconds / ours.seconds
    return [*figures, Figure("bus: ferryman / by hand", ratio, at_least=0.7, note=f"by CPU {hand.cpu / ours.cpu:.2f}")]


if __name__ == "__main__":
    main(measure, __doc__)
