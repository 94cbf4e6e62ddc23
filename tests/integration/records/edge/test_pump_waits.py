"""The pump after a failure: it waits, and does not where somebody else has reached the upstream meanwhile."""

from __future__ import annotations

import pytest

from adapters.postgres.pool import Pool
from adapters.sync import pacing
from daemon.operator import records
from daemon.settings.model import Settings
from tests.support.daemons import free_port
from tests.support.offices import edge_of, hub_on, lead
from tests.support.tokens import made
from tests.support.until import until

LONG_S = 600.0


async def test_an_exchange_by_hand_ends_the_wait_of_the_pump(
    db: Pool, hub_db: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "pause", lambda failures, draw: LONG_S)
    token, port = (await made(hub_db, edge="office", owners=["alice"]))["token"], free_port()
    url = f"http://127.0.0.1:{port}"

    async def is_away() -> bool:
        return await db.fetchval("SELECT online FROM sync_upstream") is False

    async with edge_of(db, url, token) as edge:
        await until(is_away)
        async with hub_on(hub_db, port) as hub:
            settings = Settings(sync_upstream_url=url, sync_upstream_token=token)
            assert (await records.sync_now(db, settings)).error is None
            await hub.push("alice", lead("l1"))  # after it: only the pump can fetch it

            async def came() -> bool:
                return "l1" in await edge.rows()

            await until(came, within_s=10)
