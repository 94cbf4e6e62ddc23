"""The worker transcription on real stores, without the rest of a daemon: notes, their voices, what becomes of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from pydantic import SecretStr

from adapters.channel import Channels
from adapters.http import open_session
from adapters.postgres.bus import days, epochs
from adapters.postgres.pool import Pool, Record
from adapters.redis import streams
from adapters.redis.streams import Streams, stream_key
from daemon.app import declared
from daemon.bus.consumer import Consumer
from daemon.bus.outcome import Done, Turn
from daemon.bus.worker import Outside, utc_now
from daemon.conversations.archive.wiring import STORAGE, open_store
from daemon.conversations.understanding.transcription import WORKER, handle, record
from daemon.conversations.understanding.wiring import VOICE
from daemon.sandbox.openai import BYTES_A_SECOND, OpenAiSandbox
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from daemon.workers import WORKERS
from schemas.envelope import Event, event_id
from tests.support.bus import FixedLeases, make_shared, run

PARTITIONS: Final = 4
BUCKET: Final = "pacelane-whatsapp-test"
PHONE: Final = "+12025550143"
VOICE_NOTE: Final = b"OggS" + b"\0" * 24 + b"OpusHead" + b"\1" * (4 * BYTES_A_SECOND - 36)


@dataclass(frozen=True, slots=True)
class Place:
    """The stores, the simulator, and what the worker is given."""

    pool: Pool
    bus: Streams
    redis_url: str
    outside: Outside
    openai: OpenAiSandbox

    async def note(self, content: str | None = "[Audio Message]") -> UUID:
        """A note that is archived."""
        id = uuid4()
        await self.pool.execute(
            "INSERT INTO meeting_notes (id, message_key, user_id, contact_identifier, content, event_id)"
            " VALUES ($1, $2, 'user-7', $3, $4, 'e')",
            id,
            f"chatwoot:{id}",
            PHONE,
            content,
        )
        return id

    async def voice(self, note: UUID, place: int = 0, body: bytes = VOICE_NOTE, **other: Any) -> Event:
        """A stored file of *note*, and its event."""
        id, path = uuid4(), f"whatsapp-audio/2031-03-01/5/{note}_{place}.ogg"
        async with open_store(self.outside) as store:
            await store.ensure_bucket(BUCKET)
            await store.put(BUCKET, path, body, "audio/ogg")
        await self.pool.execute(
            "INSERT INTO note_attachments (id, meeting_note_id, place, kind, status, storage_path)"
            " VALUES ($1, $2, $3, 'audio', 'stored', $4)",
            id,
            note,
            place,
            f"file:///{BUCKET}/{path}",
        )
        data = {
            "attachment_id": str(id),
            "note_id": str(note),
            "message_key": f"chatwoot:{note}",
            "place": place,
            "kind": "audio",
            "id": "91",
            "system": "chatwoot",
            "message": {"contact_id": "3:7"},
            "bucket": BUCKET,
            "user": "user-7",
            "path": path,
            "content_type": "audio/ogg",
            "bytes": len(body),
            "sha256": "0",
        }
        return Event(
            id=event_id("test", str(id)),
            type="attachment.stored",
            source="ferryman",
            subject=PHONE,
            time=utc_now(),
            data=json.dumps(data | other).encode(),
        )

    @asynccontextmanager
    async def working(self) -> AsyncIterator[Consumer]:
        """The worker at work."""
        owned = FixedLeases(await epochs.take(self.pool, WORKER.name, range(PARTITIONS), "test"))
        reads = streams.client(self.redis_url, timeout_s=6.0, connections=1)
        try:
            async with VOICE.opened(self.outside) as deps:
                shared = make_shared(
                    self.pool, self.bus, owned, settings=self.outside.settings, channels=self.outside.channels
                )
                consumer = Consumer(WORKER, deps, replace(shared, metrics=self.outside.metrics), Streams(reads, 4))
                async with run(consumer, self.bus.redis):
                    yield consumer
        finally:
            await reads.aclose()

    async def handled(self, event: Event, step: str = "ask") -> tuple[str | None, list[Event]]:
        """Why *event* was skipped, without the bus, and what was told."""
        async with VOICE.opened(self.outside) as deps:
            outcome = await handle(event, deps, Turn(event.time, step=step))
        assert isinstance(outcome, Done)
        await self.write(outcome.rows)
        return outcome.skipped, list(outcome.emit)

    async def write(self, rows: Sequence[object]) -> list[Event]:
        async with self.pool.acquire() as conn, conn.transaction():
            return list(await record(conn, rows))

    async def audio(self) -> list[Record]:
        return await self.pool.fetch("SELECT * FROM audio_files ORDER BY created_at, file_path")

    async def ended(self) -> list[str]:
        rows = await self.pool.fetch("SELECT outcome FROM inbox WHERE worker = $1", WORKER.name)
        return [row["outcome"] for row in rows]

    async def content(self, note: UUID) -> tuple[str, dict[str, Any]]:
        row = await self.pool.fetchrow("SELECT content, metadata FROM meeting_notes WHERE id = $1", note)
        assert row is not None
        return row["content"], json.loads(row["metadata"])


@asynccontextmanager
async def opened(redis_url: str, pool: Pool, openai: OpenAiSandbox, settings: Settings) -> AsyncIterator[Place]:
    redis = streams.client(redis_url, timeout_s=2.0, connections=32)
    names = ["openai", STORAGE]
    try:
        async with open_session() as session:
            outside = Outside(
                settings=settings,
                secret=lambda name: openai.key,
                pool=pool,
                redis=redis,
                session=session,
                channels=Channels(names),
                metrics=Metrics(declared(WORKERS), workers=[WORKER.name], sources=names, providers=names),
                now=utc_now,
            )
            bus = Streams(redis, PARTITIONS)
            await days.ensure_days(pool)
            await bus.ensure_groups(WORKER.name, [stream_key("conversations", p) for p in range(PARTITIONS)])
            yield Place(pool, bus, redis_url, outside, openai)
    finally:
        await asyncio.shield(redis.aclose())


def settings_of(openai: OpenAiSandbox, directory: Path, **other: Any) -> Settings:
    given = {"openai_api_key": SecretStr(openai.key), "openai_base_url": openai.url, "ferryman_data_dir": directory}
    return Settings(**(given | other))
