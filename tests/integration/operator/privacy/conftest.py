"""An installation in which a person is everywhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from adapters.channel import Channel
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams, stream_keys
from adapters.registry import file_store
from daemon.conversations.archive.storing import Archive
from daemon.operator.privacy.erasing import Eraser
from daemon.operator.privacy.outside import Beyond
from daemon.settings.model import Settings
from schemas.envelope import TOPICS
from tests.support import planted
from tests.support.records import records_of

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


@dataclass
class Crm:
    """Deletes contacts, and notes which."""

    deleted: list[str] = field(default_factory=list)

    async def delete(self, contact: str) -> bool:
        self.deleted.append(contact)
        return True


@dataclass
class House:
    """The installation, the eraser, and the ids of what was planted."""

    db: Pool
    bus: Streams
    settings: Settings
    eraser: Eraser
    crm: Crm
    archive: Archive
    ids: dict[str, Any]


@pytest.fixture
async def house(db: Pool, redis: Redis, tmp_path: Path) -> House:
    """Two partitions, an archive of files, a CRM."""
    settings = Settings(
        ferryman_secret_key=(SecretStr(KEY),),
        ferryman_data_dir=tmp_path,
        database_url="postgresql://x",
        ferryman_partitions=2,
    )
    bus = Streams(redis, 2)
    await bus.ensure_groups("contact-sync", stream_keys(TOPICS, range(2)))
    await bus.ensure_groups("journal", stream_keys(TOPICS, range(2)))
    archive = Archive(file_store(tmp_path / "archive", Channel("storage")), db)
    for bucket, path in (planted.OBJECT, planted.VOICE):
        await archive.put(bucket, path, planted.SPOKEN.encode(), "text/plain")
    crm = Crm()
    ids = await planted.plant(db, bus)
    beyond = Beyond(archive=archive, records=records_of(db), chatwoot=crm)
    eraser = Eraser(pool=db, bus=bus, settings=settings, beyond=beyond, actor="me")
    return House(db, bus, settings, eraser, crm, archive, ids)
