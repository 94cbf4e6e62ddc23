"""The worker of dialogs on real stores, without the rest of a daemon: several of it side by side, one after the other,
and the clock of their domain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

from adapters.channel import Channels
from adapters.http import open_session
from adapters.postgres.bus import days, epochs
from adapters.postgres.pool import Pool
from adapters.redis import streams
from adapters.redis.streams import Streams, stream_key
from daemon.accounts import OPENAI
from daemon.app import declared
from daemon.bus.consumer import Consumer
from daemon.bus.publisher import hurry
from daemon.bus.worker import Outside, utc_now
from daemon.conversations.clarification.clarification import WORKER
from daemon.conversations.clarification.wiring import DIALOGS_DOMAIN
from daemon.messages.wiring import CHANNELS
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from daemon.workers import WORKERS
from schemas.envelope import Event
from tests.support.bus import FixedLeases, make_shared, run

PARTITIONS: Final = 8


@dataclass(frozen=True, slots=True)
class DialogWorkers:
    """The stores, and what the workers are given."""

    pool: Pool
    bus: Streams
    redis_url: str
    outside: Outside

    @property
    def keys(self) -> list[str]:
        """The streams that they read."""
        return [stream_key(topic, p) for topic in WORKER.reads for p in range(PARTITIONS)]

    async def tell(self, events: Sequence[Event]) -> None:
        """Hand *events* to the workers."""
        await self.bus.append(list(events))

    @asynccontextmanager
    async def working(self, partitions: Sequence[int] = range(PARTITIONS)) -> AsyncIterator[None]:
        """A worker at work on *partitions*, under new leases of them; with its clock."""
        owned = FixedLeases(await epochs.take(self.pool, WORKER.name, list(partitions), "test"))
        reads = streams.client(self.redis_url, timeout_s=6.0, connections=1)
        try:
            async with DIALOGS_DOMAIN.opened(self.outside) as deps:
                shared = make_shared(self.pool, self.bus, owned, settings=self.outside.settings)
                shared = replace(shared, metrics=self.outside.metrics)
                consumer = Consumer(WORKER, deps, shared, Streams(reads, PARTITIONS))
                async with run(consumer, self.bus.redis), _clock(self.outside, deps):
                    yield
        finally:
            await reads.aclose()

    async def settled(self) -> bool:
        """Whether nothing is left on the streams, and nothing waits to be understood."""
        waiting = await self.pool.fetchval("SELECT count(*) FROM buffered_messages WHERE understood_at IS NULL")
        return not waiting and await self.bus.lag(WORKER.name, self.keys) == (0, 0)


@asynccontextmanager
async def _clock(outside: Outside, deps: object) -> AsyncIterator[None]:
    """What the domain does by the clock, again and again."""

    async def tick() -> None:
        while True:
            for duty in DIALOGS_DOMAIN.duties(outside, deps):  # type: ignore[arg-type]
                await duty.act()
            await asyncio.sleep(0.05)

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def dialog_workers(redis_url: str, pool: Pool, settings: Settings) -> AsyncIterator[DialogWorkers]:
    """The workers' surroundings on these stores."""
    redis = streams.client(redis_url, timeout_s=2.0, connections=64)
    names = [*CHANNELS, OPENAI]
    try:
        async with open_session() as session:
            bus = Streams(redis, PARTITIONS)

            async def publish(events: Sequence[Event], seqs: Sequence[int]) -> None:
                await hurry(pool, bus, events, seqs)

            outside = Outside(
                settings=settings,
                secret=lambda name: getattr(settings, name).get_secret_value(),
                pool=pool,
                redis=redis,
                session=session,
                channels=Channels(names),
                metrics=Metrics(declared(WORKERS), workers=[WORKER.name], sources=names, providers=names),
                now=utc_now,
                hurry=publish,
            )
            made = DialogWorkers(pool, bus, redis_url, outside)
            await days.ensure_days(pool)
            await bus.ensure_groups(WORKER.name, made.keys)
            yield made
    finally:
        await asyncio.shield(redis.aclose())
