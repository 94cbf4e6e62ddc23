"""`records check` on an edge: its copy is what the upstream has, or the difference is named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiohttp import ClientSession
from pydantic import SecretStr

from adapters.postgres.pool import Pool
from adapters.sync.exchange import Upstream
from daemon.operator.records_upkeep import NotCompared, check
from daemon.records.comparing import compare
from daemon.settings.model import Settings
from tests.support.offices import Server, change, edge_of, hub_on, lead
from tests.support.tokens import made
from tests.support.until import until


@dataclass(frozen=True)
class Office:
    hub: Server
    edge: Server
    token: str

    async def faults(self) -> dict[str, str]:
        """Record -> what is wrong with its copy."""
        async with ClientSession() as session:
            found = await compare(self.edge.db, Upstream(session, self.hub.url, self.token))
        return {fault.record_id: fault.what for fault in found.faults}


@asynccontextmanager
async def synced(db: Pool, hub_db: Pool) -> AsyncIterator[Office]:
    """An edge that has all that its hub has for it, and does not ask for more."""
    async with hub_on(hub_db) as hub:
        token = (await made(hub_db, edge="office", owners=["alice", "bob"]))["token"]
        async with edge_of(db, hub.url, token) as edge:
            for n in range(6):
                await edge.push("alice", lead(f"l{n}", stage="new"))
            await until(lambda: _all_there(edge, hub_db), within_s=10)
        yield Office(hub, edge, token)


async def _all_there(edge: Server, hub_db: Pool) -> bool:
    return await edge.drained() and await hub_db.fetchval("SELECT count(*) FROM records") == 6


async def test_a_copy_that_is_whole_has_no_faults_also_while_operations_wait_and_the_hub_goes_on(
    db: Pool, hub_db: Pool
) -> None:
    async with synced(db, hub_db) as office:
        assert await office.faults() == {}
        await office.edge.push("alice", change("l1", 1, stage="won"))
        assert await office.faults() == {}, "what waits for the hub is no fault"
        await office.hub.push("alice", change("l2", 1, stage="lost"), replica="browser")
        await office.hub.push("alice", lead("l9"), replica="browser")
        assert await office.faults() == {}, "nor what the edge has not pulled yet"


async def test_each_record_that_differs_is_named(db: Pool, hub_db: Pool) -> None:
    async with synced(db, hub_db) as office:
        await db.execute("""UPDATE records SET data = data || '{"stage": "won"}' WHERE record_id = 'l0'""")
        await db.execute("UPDATE records SET up_version = 7 WHERE record_id = 'l1'")
        await db.execute("DELETE FROM records WHERE record_id = 'l2'")
        await db.execute("UPDATE records SET owner_id = 'bob' WHERE record_id = 'l3'")
        await hub_db.execute("DELETE FROM records WHERE record_id = 'l4'")
        found = await office.faults()
        assert found == {
            "l0": "its data differ",
            "l1": "the upstream is at version 1, the copy at 7",
            "l2": "it is missing here",
            "l3": "it has another owner, or is deleted, in the copy",
            "l4": "the upstream does not have it",
        }


async def test_a_check_says_when_the_upstream_cannot_be_asked(db: Pool, hub_db: Pool) -> None:
    async with synced(db, hub_db):
        pass
    away = Settings(sync_upstream_url="http://127.0.0.1:9", sync_upstream_token=SecretStr("fmt_" + "x" * 43))
    with pytest.raises(NotCompared):
        await check(db, away)
    own, compared = await check(db, Settings())
    assert (own.records, own.count, compared) == (6, 0, None)
