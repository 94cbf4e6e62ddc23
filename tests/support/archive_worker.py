"""The workers of the archive on real stores, without the rest of a daemon: what they are given, and messages for
them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from multidict import CIMultiDict

from adapters.channel import Channels
from adapters.chatwoot.source import SOURCE
from adapters.http import open_session
from adapters.ports import Webhook
from adapters.postgres.bus import days, epochs
from adapters.postgres.pool import Pool, Record
from adapters.redis import streams
from adapters.redis.streams import Streams, stream_key
from daemon.app import declared
from daemon.bus.consumer import Consumer
from daemon.bus.worker import AnyWorker, Outside, utc_now
from daemon.conversations.archive import archive, attachments
from daemon.conversations.archive.fetching import FILE_CHANNELS
from daemon.conversations.archive.names import bucket_name
from daemon.conversations.archive.wiring import ARCHIVE, STORAGE, ArchiveDeps, open_store
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from daemon.workers import WORKERS
from schemas.envelope import TYPES, Event, from_fields
from tests.support.bus import FixedLeases, make_shared, run
from tests.support.until import until

PARTITIONS: Final = 16
BOTH: Final[tuple[AnyWorker, ...]] = (archive.WORKER, attachments.WORKER)
ACCOUNT: Final = bucket_name("pacelane-whatsapp", "account_3")
"""The bucket of what nobody is known for."""

OGG: Final = b"OggS\x00\x02" + b"\x00" * 22 + b"OpusHead" + b"\x01" * 300
AT: Final = datetime(2031, 2, 14, 9, 15, tzinfo=UTC)


def incoming(
    id: int,
    *,
    text: str | None = "Write a short post on tidal power",
    phone: str | None = "+12025550143",
    contact: int = 905,
    account: int = 3,
    conversation: int = 481,
    channel: str | None = "Channel::Whatsapp",
    files: Sequence[Mapping[str, Any]] = (),
    **others: Any,
) -> dict[str, Any]:
    """A message of a person as Chatwoot posts it."""
    sender = {"id": contact, "name": "Noor Baak", "phone_number": phone, "email": None, "identifier": None}
    return {
        "event": "message_created",
        "id": id,
        "message_type": "incoming",
        "content": text,
        "content_type": "text",
        "content_attributes": {},
        "private": False,
        "created_at": "2031-02-14T09:14:02.731Z",
        "account": {"id": account, "name": "Veerboot Demo"},
        "inbox": {"id": 12, "name": "WA"},
        "sender": {"account": {"id": account}, **sender},
        "conversation": {
            "id": conversation,
            "inbox_id": 12,
            "channel": channel,
            "contact_inbox": {"contact_id": contact, "source_id": (phone or "+0").removeprefix("+")},
            "meta": {"sender": {**sender, "type": "contact"}},
        },
        **({"attachments": list(files)} if files else {}),
        **others,
    }


def events_of(*bodies: Mapping[str, Any], at: datetime = AT) -> list[Event]:
    """The events that Chatwoot's webhooks become which have these *bodies* and arrive at *at*."""
    found = []
    for body in bodies:
        found += SOURCE.parse(Webhook(CIMultiDict(), orjson.dumps(body), ""), dict(body), at)
    return found


@dataclass(frozen=True, slots=True)
class ArchiveWorker:
    """The stores, and what the workers are given."""

    pool: Pool
    bus: Streams
    redis_url: str
    outside: Outside

    def keys(self, worker: AnyWorker) -> list[str]:
        """The streams that *worker* reads."""
        return [stream_key(topic, p) for topic in worker.reads for p in range(PARTITIONS)]

    async def publish(self, events: Iterable[Event]) -> None:
        """Hand *events* to the workers."""
        await self.bus.append(list(events))

    @asynccontextmanager
    async def working(self, *workers: AnyWorker) -> AsyncIterator[ArchiveDeps]:
        """The *workers* at work, both where none is named, under new leases of all partitions."""
        async with AsyncExitStack() as stack:
            deps = await stack.enter_async_context(ARCHIVE.opened(self.outside))
            for worker in workers or BOTH:
                await stack.enter_async_context(self._consuming(worker, deps))
            yield deps

    @asynccontextmanager
    async def _consuming(self, worker: AnyWorker, deps: ArchiveDeps) -> AsyncIterator[None]:
        owned = FixedLeases(await epochs.take(self.pool, worker.name, range(PARTITIONS), "test"))
        reads = streams.client(self.redis_url, timeout_s=6.0, connections=1)
        channels, settings = self.outside.channels, self.outside.settings
        shared = make_shared(self.pool, self.bus, owned, settings=settings, channels=channels)
        shared = replace(shared, metrics=self.outside.metrics)
        try:
            async with run(Consumer(worker, deps, shared, Streams(reads, PARTITIONS)), self.bus.redis):
                yield
        finally:
            await asyncio.shield(reads.aclose())

    async def settled(self) -> bool:
        """Whether nothing is left on the streams, and nothing is left to publish."""
        if await self.pool.fetchval("SELECT count(*) FROM outbox"):
            return False
        return all([await self.bus.lag(w.name, self.keys(w)) == (0, 0) for w in BOTH])

    async def emitted(self, type: str) -> list[Event]:
        """The events of that *type* on the streams."""
        commands: Any = self.bus.redis
        keys = [stream_key(TYPES[type], p) for p in range(PARTITIONS)]
        found = [from_fields(fields) for key in keys for _, fields in await commands.xrange(key)]
        return [event for event in found if event.type == type]

    async def duties(self, *names: str) -> None:
        """Do once what the domain does by the clock, or those of its duties that have these *names*."""
        async with ARCHIVE.opened(self.outside) as deps:
            for duty in ARCHIVE.duties(self.outside, deps):
                if not names or duty.name in names:
                    await duty.act()


@asynccontextmanager
async def archive_worker(redis_url: str, pool: Pool, settings: Settings) -> AsyncIterator[ArchiveWorker]:
    """The workers' surroundings on these stores. Secrets are those of *settings*."""
    redis = streams.client(redis_url, timeout_s=2.0, connections=64)
    channels = (STORAGE, *FILE_CHANNELS.values())
    try:
        async with open_session() as session:
            outside = Outside(
                settings=settings,
                secret=lambda name: getattr(settings, name).get_secret_value(),
                pool=pool,
                redis=redis,
                session=session,
                channels=Channels(channels),
                metrics=Metrics(
                    declared(WORKERS), workers=[w.name for w in BOTH], sources=["chatwoot"], providers=list(channels)
                ),
                now=utc_now,
            )
            made = ArchiveWorker(pool, Streams(redis, PARTITIONS), redis_url, outside)
            await days.ensure_days(pool)
            for worker in BOTH:
                await made.bus.ensure_groups(worker.name, made.keys(worker))
            yield made
    finally:
        await asyncio.shield(redis.aclose())


def attached(id: int, url: str, kind: str = "image") -> dict[str, Any]:
    return {"id": id, "file_type": kind, "data_url": url, "content_type": "application/x-lie", "account_id": 3}


async def handled(worker: ArchiveWorker, *events: Event) -> None:
    """Have *events* handled, with all that follows."""
    await worker.publish(events)
    async with worker.working():
        await until(worker.settled)


async def one_note(pool: Pool) -> Record:
    (row,) = await pool.fetch("SELECT * FROM meeting_notes")
    return row


async def body_of(worker: ArchiveWorker, row: Record) -> bytes:
    async with open_store(worker.outside) as store:
        return await store.get(row["bucket"], row["object_path"])
