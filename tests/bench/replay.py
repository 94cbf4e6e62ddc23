"""What the journal and a replay cost: `python -m tests.bench.replay [--json]` (100 s).

100,000 events of 600 bytes wait on the stream. First the real journal worker copies them to `event_journal`; then the
real replay, its plan included, publishes them from there once more, while a daemon on the same core, whose one worker
does nothing with them, keeps up. The limits, measured in the same run, are loops by hand: XREADGROUP of 500, COPY into
`event_journal`, XACK; and SELECT of 500 rows, pipelined XADD. Best of three, the kinds taking turns.
Bar, for each and for both together: half of the loop by hand, or 5,000 events/s where that is less.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from adapters.postgres.bus import epochs as leases
from adapters.postgres.bus.days import ensure_days
from adapters.postgres.bus.events import COLUMNS
from adapters.postgres.operator.replay import ReplayFilter
from adapters.postgres.pool import Pool, connect
from adapters.redis import streams
from adapters.redis.streams import Streams, stream_key
from daemon.bus.consumer import Consumer
from daemon.bus.journal import WORKER as JOURNAL
from daemon.operator.replay import make_plan, perform
from schemas.envelope import TOPICS, Event
from schemas.partitions import partition_of
from tests.bench import toy
from tests.bench.rig import Cores, Figure, Took, clocked, main, stores
from tests.support.bus import FixedLeases, make_shared
from tests.support.until import until

EVENTS: Final = 100_000
TIMES: Final = 3
APPEND: Final = 200
PAGE: Final = 500
KEYS: Final = [stream_key(topic, p) for topic in TOPICS for p in range(toy.PARTITIONS)]
NAMES: Final = COLUMNS.split(", ")
FLOOR: Final = 5_000.0

_PAGE: Final = f"SELECT seq, {COLUMNS} FROM event_journal WHERE seq > $1 ORDER BY seq LIMIT {PAGE}"


def _row(fields: dict[bytes, bytes]) -> tuple[Any, ...]:
    """A stream entry in the order of COLUMNS."""
    return (
        fields[b"id"].decode(),
        fields[b"type"].decode(),
        fields[b"source"].decode(),
        fields[b"subject"].decode(),
        datetime.fromisoformat(fields[b"time"].decode()),
        fields[b"data"].decode(),
        fields.get(b"traceparent", b"").decode(),
        fields.get(b"causationid", b"").decode(),
        int(fields[b"schemaversion"]),
    )


class Rig:
    """What both sides use."""

    def __init__(self, redis_url: str, redis: Redis, pool: Pool) -> None:
        self._redis_url = redis_url
        self.redis = redis
        self.pool = pool
        self.bus = Streams(redis, toy.PARTITIONS)

    async def emptied(self, *groups: str) -> None:
        """An empty bus with *groups*, empty tables."""
        await self.redis.flushall()
        await self.pool.execute("TRUNCATE event_journal, inbox, replays, bench_ends")
        await self.pool.execute("DELETE FROM ferryman_meta")  # else a process would mend what we have taken away
        for group in groups:
            await self.bus.ensure_groups(group, KEYS)

    async def publish(self, batch: Sequence[Event]) -> None:
        """Have *batch* wait on the stream."""
        for start in range(0, len(batch), APPEND):
            await self.bus.append(batch[start : start + APPEND])

    async def journal_by_hand(self) -> None:
        """The limit of the journal."""
        left = EVENTS
        while left:
            answer: Any = await self.redis.xreadgroup("hand", "owner", dict.fromkeys(KEYS, ">"), count=PAGE // 16)
            rows = [_row(fields) for entries in answer.values() for _, fields in entries]
            async with self.pool.acquire() as conn:
                await conn.copy_records_to_table("event_journal", records=rows, columns=NAMES)
            pipe = self.redis.pipeline(transaction=False)
            for key, entries in answer.items():
                pipe.xack(key, "hand", *(entry_id for entry_id, _ in entries))
            await pipe.execute()
            left -= len(rows)

    async def journal_by_ferryman(self, took: list[Took]) -> None:
        """The real worker. Its end, after the last read has waited in vain, is not counted."""
        owned = FixedLeases(await leases.take(self.pool, JOURNAL.name, range(toy.PARTITIONS), "bench"))
        reads = streams.client(self._redis_url, timeout_s=6.0, connections=1)
        shared = make_shared(self.pool, self.bus, owned)
        consumer = Consumer(JOURNAL, None, shared, Streams(reads, toy.PARTITIONS))
        async with clocked(took):
            running = asyncio.create_task(consumer.run())
            while not running.done() and await self.bus.lag(JOURNAL.name, KEYS) != (0, 0):
                await asyncio.sleep(0.02)
        consumer.stop()
        await running
        await reads.aclose()

    async def replay_by_hand(self) -> None:
        """The limit of the replay."""
        after = 0
        while rows := await self.pool.fetch(_PAGE, after):
            pipe = self.redis.pipeline(transaction=False)
            for row in rows:
                fields: dict[Any, Any] = {name: row[name] for name in NAMES} | {"replayid": "hand:1"}
                key = stream_key("orders", partition_of(row["subject"], toy.PARTITIONS))
                pipe.xadd(key, fields | {"time": row["time"].isoformat()})
            await pipe.execute()
            after = rows[-1]["seq"]

    async def replay_by_ferryman(self, took: list[Took]) -> None:
        """The real replay."""
        worker = toy.worker()
        async with clocked(took):
            plan = await make_plan(self.pool, worker, ReplayFilter())
            assert await perform(self.pool, self.bus, worker, plan, lambda published, total: None) == EVENTS

    async def count(self, table: str) -> int:
        """How many rows *table* has."""
        return int(await self.pool.fetchval(f"SELECT count(*) FROM {table}"))

    async def ended(self) -> bool:
        """Whether the other process has ended with everything."""
        return await self.count("bench_ends") >= EVENTS


async def measure() -> list[Figure]:
    cores = Cores()
    cores.helpers()
    parts = "journal", "replay"
    took: dict[tuple[str, str], list[Took]] = {(part, kind): [] for part in parts for kind in ("by hand", "ferryman")}
    handled: list[float] = []
    async with AsyncExitStack() as stack:
        addresses = await stack.enter_async_context(stores())
        pool = await stack.enter_async_context(connect(addresses.database_url))
        cwd = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ferryman-bench-")))
        redis = streams.client(addresses.redis_url, timeout_s=5.0, connections=16)
        stack.push_async_callback(redis.aclose)
        rig = Rig(addresses.redis_url, redis, pool)
        await ensure_days(pool)
        await toy.make_table(pool)
        cores.measured()
        for turn in range(TIMES):
            await rig.emptied("hand", JOURNAL.name)
            await rig.publish(list(toy.events(str(turn), EVENTS)))
            async with clocked(took["journal", "by hand"]):
                await rig.journal_by_hand()
            assert await rig.count("event_journal") == EVENTS
            await pool.execute("TRUNCATE event_journal")
            await rig.journal_by_ferryman(took["journal", "ferryman"])
            assert await rig.count("event_journal") == EVENTS
            await redis.flushall()
            async with clocked(took["replay", "by hand"]):
                await rig.replay_by_hand()
            await redis.flushall()
            async with toy.process(cwd, addresses, BENCH_ALONE=1) as process:
                began = time.perf_counter()
                await rig.replay_by_ferryman(took["replay", "ferryman"])
                await until(rig.ended, "the end of what is replayed", 120)
                handled.append(time.perf_counter() - began)
                assert await process.end() == 0
    return figures(took, min(handled))


def figures(took: dict[tuple[str, str], list[Took]], handled: float) -> list[Figure]:
    """The best of each, against its bar."""
    best = {which: min(many, key=lambda one: one.seconds) for which, many in took.items()}
    for kind in ("by hand", "ferryman"):
        journal, replay = best["journal", kind], best["replay", kind]
        best["both", kind] = Took(journal.seconds + replay.seconds, journal.cpu + replay.cpu)
    found = []
    for part in ("journal", "replay", "both"):
        hand, ours = best[part, "by hand"], best[part, "ferryman"]
        rates = {kind: EVENTS / one.seconds for kind, one in (("by hand", hand), ("ferryman", ours))}
        ratio = f"{hand.seconds / ours.seconds:.2f} of it, by CPU {hand.cpu / ours.cpu:.2f}"
        bar = min(FLOOR, rates["by hand"] / 2)
        cpu = {kind: f"{1e6 * one.cpu / EVENTS:.0f} us CPU" for kind, one in (("by hand", hand), ("ferryman", ours))}
        found += [
            Figure(f"{part}: by hand", rates["by hand"], "events/s", note=cpu["by hand"]),
            Figure(
                f"{part}: ferryman", rates["ferryman"], "events/s", at_least=bar, note=f"{ratio}, {cpu['ferryman']}"
            ),
        ]
    return [*found, Figure("replay: until the worker has ended", EVENTS / handled, "events/s")]


if __name__ == "__main__":
    main(measure, __doc__)
