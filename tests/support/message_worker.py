"""The worker of messages on real stores, without the rest of a daemon: what it is given, and messages for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID, uuid4

from adapters.channel import Channels
from adapters.http import open_session
from adapters.postgres import messages
from adapters.postgres.bus import days, epochs
from adapters.postgres.messages import Request
from adapters.postgres.pool import Pool
from adapters.redis import streams
from adapters.redis.streams import Streams, stream_key
from daemon.app import declared
from daemon.bus.consumer import Consumer
from daemon.bus.worker import Outside, utc_now
from daemon.messages.content import kind_of, to_json
from daemon.messages.outbound import WORKER
from daemon.messages.requests import event_id_of, event_of
from daemon.messages.wiring import CHANNELS, MESSAGES
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from daemon.workers import WORKERS
from schemas.messages import Content
from tests.support.bus import FixedLeases, make_shared, run

PARTITIONS: Final = 16


@dataclass(frozen=True, slots=True)
class MessageWorker:
    """The stores, and what the worker is given."""

    pool: Pool
    bus: Streams
    redis_url: str
    outside: Outside

    @property
    def keys(self) -> list[str]:
        """The streams that it reads."""
        return [stream_key("messages", p) for p in range(PARTITIONS)]

    async def ask(self, provider: str, phones: Sequence[str], content: Callable[[int], Content]) -> list[UUID]:
        """Ask for a message to each of *phones*, by their places, and hand all to the worker."""
        made = [_request(provider, phone, content(place)) for place, phone in enumerate(phones)]
        async with self.pool.acquire() as conn, conn.transaction():
            for request in made:
                await messages.request(conn, request)
        await self.bus.append([event_of(request, utc_now()) for request in made])
        return [request.id for request in made]

    @asynccontextmanager
    async def working(self, *, lanes: int = 50) -> AsyncIterator[Consumer]:
        """The worker at work, under new leases of all partitions."""
        owned = FixedLeases(await epochs.take(self.pool, WORKER.name, range(PARTITIONS), "test"))
        reads = streams.client(self.redis_url, timeout_s=6.0, connections=1)
        try:
            async with MESSAGES.opened(self.outside) as deps:
                channels, settings = self.outside.channels, self.outside.settings
                shared = make_shared(self.pool, self.bus, owned, settings=settings, channels=channels)
                shared = replace(shared, metrics=self.outside.metrics)
                worker = replace(WORKER, lanes=lambda _: lanes)
                consumer = Consumer(worker, deps, shared, Streams(reads, PARTITIONS))
                async with run(consumer, self.bus.redis):
                    yield consumer
        finally:
            await reads.aclose()

    async def settled(self) -> bool:
        """Whether nothing is left on the streams."""
        return await self.bus.lag(WORKER.name, self.keys) == (0, 0)

    async def duties(self) -> None:
        """Do once what the domain does by the clock."""
        async with MESSAGES.opened(self.outside) as deps:
            for duty in MESSAGES.duties(self.outside, deps):
                await duty.act()


@asynccontextmanager
async def message_worker(redis_url: str, pool: Pool, settings: Settings) -> AsyncIterator[MessageWorker]:
    """The worker's surroundings on these stores. Secrets are those of *settings*."""
    redis = streams.client(redis_url, timeout_s=2.0, connections=64)
    names = list(CHANNELS)
    try:
        async with open_session() as session:
            outside = Outside(
                settings=settings,
                secret=lambda name: getattr(settings, name).get_secret_value(),
                pool=pool,
                redis=redis,
                session=session,
                channels=Channels(names),
                metrics=Metrics(declared(WORKERS), workers=[WORKER.name], sources=names, providers=names),
                now=utc_now,
            )
            made = MessageWorker(pool, Streams(redis, PARTITIONS), redis_url, outside)
            await days.ensure_days(pool)
            await made.bus.ensure_groups(WORKER.name, made.keys)
            yield made
    finally:
        await asyncio.shield(redis.aclose())


def _request(provider: str, phone: str, content: Content) -> Request:
    id = uuid4()
    return Request(
        id=id,
        provider=provider,
        account="default",
        phone=phone,
        kind=kind_of(content),
        content=to_json(content),
        purpose="test",
        event_id=event_id_of(id),
    )
