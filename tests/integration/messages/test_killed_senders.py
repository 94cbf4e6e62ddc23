"""kill -9 between the provider's taking a message and our record of it, two hundred times."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import pytest

from adapters.postgres.deliveries import Told
from adapters.postgres.pool import Pool
from daemon.messages import delivery_status
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID
from daemon.settings.model import Settings
from schemas.messages import Template
from tests.support.message_worker import message_worker

pytestmark = pytest.mark.slow

LIVES: Final = int(os.environ.get("LIVES", "200"))
MESSAGES: Final = 500
TEMPLATE: Final = Template("order_confirmation", "he", {"1": "Noa"})


async def test_a_process_that_is_killed_as_its_message_is_taken_sends_nothing_twice(
    redis: object, redis_url: str, db: Pool, database_url: str
) -> None:
    async with MetaSandbox() as meta:
        account = {"meta_graph_url": meta.url, "meta_phone_number_id": PHONE_NUMBER_ID, "meta_access_token": meta.token}
        async with message_worker(redis_url, db, Settings(**account)) as worker:
            phones = [f"+97250555{n:04d}" for n in range(MESSAGES)]
            ids = await worker.ask("meta", phones, lambda _: TEMPLATE)
        told = {"STORE_REDIS": redis_url, "STORE_POSTGRES": database_url, "META_URL": meta.url}
        told |= {"META_NUMBER": PHONE_NUMBER_ID, "META_TOKEN": meta.token}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.support.killed_senders", str(LIVES)),
            env={**os.environ, **told},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        died, last = map(int, out.split()[-2:])
        assert (died, last) == (LIVES, 0)

        sends = meta.sends()
        assert set(sends) <= {str(id) for id in ids}
        assert max(sends.values()) == 1, "no message twice"
        rows = {row["id"]: row["status"] for row in await db.fetch("SELECT id, status FROM messages")}
        assert set(rows.values()) <= {"sent", "uncertain"}
        taken = {UUID(id) for id in sends}
        assert {id for id, status in rows.items() if status == "sent"} <= taken
        assert sum(status == "uncertain" for status in rows.values()) >= LIVES

        now = datetime.now(UTC)
        async with db.acquire() as conn, conn.transaction():
            await delivery_status.record(conn, [_told(one.id, UUID(one.our_id), now) for one in meta.sent])
        rows = {row["id"]: row["status"] for row in await db.fetch("SELECT id, status FROM messages")}
        assert {id for id, status in rows.items() if status == "delivered"} == taken, "each is settled by our id"


def _told(provider_id: str, our_id: UUID, at: datetime) -> Told:
    return Told(
        system="meta",
        provider_id=provider_id,
        our_id=our_id,
        phone=None,
        status="delivered",
        at=at,
        event_id=provider_id,
    )
