"""`records sync` beside a daemon that exchanges by itself."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from adapters.postgres.pool import Pool
from daemon.operator.records import sync_now
from daemon.records.edge.store import Contended
from daemon.settings.model import Settings
from tests.support.offices import edge_of, hub_on, lead
from tests.support.tokens import made
from tests.support.until import until

WRITES = 60


async def test_who_syncs_beside_a_running_daemon_is_not_taken_for_a_copy(db: Pool, hub_db: Pool) -> None:
    async with hub_on(hub_db) as hub:
        token = (await made(hub_db, edge="office", owners=["alice"]))["token"]
        async with edge_of(db, hub.url, token) as edge:
            settings = Settings(sync_upstream_url=hub.url, sync_upstream_token=token)
            over = asyncio.Event()

            async def sync() -> None:
                while not over.is_set():
                    with suppress(Contended):  # the daemon was faster, and does the rest
                        assert (await sync_now(db, settings)).error is None

            syncing = asyncio.create_task(sync())
            for n in range(WRITES):
                await edge.push("alice", lead(f"l{n}"))
            over.set()
            await syncing
            await until(edge.drained, "everything at the hub", 30)
            assert await hub.rows() == await edge.rows()
            assert await hub_db.fetchval("SELECT count(*) FROM sync_replicas") == 1
