"""An edge that is made of a copy of its hub's database: the two have one name, until a verb gives the copy its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession

from adapters.postgres.pool import Pool, connect
from daemon.operator import records, records_upkeep
from daemon.settings.model import Settings
from tests.support.contacts_verb import contacts_verb
from tests.support.offices import Server, change, edge_of, hub_on, lead
from tests.support.records import person, pushed, records_of
from tests.support.servers import fresh_database
from tests.support.tokens import made


class Twins(NamedTuple):
    """A hub, and a copy of its database. *token*: of an edge at the hub."""

    hub: Server
    copy: Pool
    copy_url: str
    token: str

    @property
    def settings(self) -> Settings:
        return Settings(sync_upstream_url=self.hub.url, sync_upstream_token=self.token)

    async def error(self) -> str:
        """What stops a round of the copy; "": nothing."""
        done = await records.sync_now(self.copy, self.settings)
        return records.round_document(done, 0)["error"] or ""


@pytest.fixture
async def twins(postgres_url: str, template: str) -> AsyncIterator[Twins]:
    async with fresh_database(postgres_url, template) as url:
        async with connect(url, size=2) as db:
            await pushed(records_of(db), person("alice"), lead("l1", stage="new"), lead("l2", stage="new"))
            token = (await made(db, edge="office", owners=["alice"]))["token"]
        async with (
            fresh_database(postgres_url, urlsplit(url).path[1:]) as copy_url,
            connect(url, size=5) as hub_db,
            connect(copy_url, size=5) as copy,
            hub_on(hub_db) as hub,
        ):
            yield Twins(hub, copy, copy_url, token)


async def test_a_copied_database_is_told_which_verb_mends_it(twins: Twins, redis_url: str) -> None:
    assert "`ferryman records new-epoch --copied` at the copy" in await twins.error()
    verb = contacts_verb(redis_url, twins.copy_url, "records")
    code, said = await verb("new-epoch", "--copied", "--dry-run")
    assert (code, "this server would take a name of its own" in said) == (0, True)
    assert "new-epoch --copied" in await twins.error()
    code, said = await verb("new-epoch", "--copied")
    assert (code, "epoch 2 has begun, and this server has a name of its own" in said) == (0, True)
    assert await twins.error() == ""
    assert await twins.copy.fetchval("SELECT detail->>'copied' FROM audit_log WHERE action = 'records.new_epoch'")


async def test_what_both_write_after_the_verb_comes_together(twins: Twins) -> None:
    await records_upkeep.new_epoch(twins.copy, "noa", copied=True)
    async with edge_of(twins.copy, twins.hub.url, twins.token, pump=False) as edge:
        await edge.push("alice", change("l1", 1, stage="of the copy"), lead("l3"))
        await twins.hub.push("alice", change("l2", 1, stage="of the hub"), lead("l4"))
        for _ in range(2):
            assert await twins.error() == ""
        assert await edge.drained()
        rows = await twins.hub.rows()
        assert await edge.rows() == rows
        assert {name: row.get("stage") for name, row in rows.items()} == {
            "l1": "of the copy",
            "l2": "of the hub",
            "l3": None,
            "l4": None,
        }


async def test_two_edges_of_one_copy_do_not_push_by_one_name(twins: Twins) -> None:
    names = [await twins.copy.fetchval("SELECT replica FROM sync_upstream")]
    await records_upkeep.new_epoch(twins.copy, "noa", copied=True)
    names.append(await twins.copy.fetchval("SELECT replica FROM sync_upstream"))
    await records_upkeep.new_epoch(twins.copy, "noa")
    names.append(await twins.copy.fetchval("SELECT replica FROM sync_upstream"))
    assert (names[0] != names[1], names[1] == names[2]) == (True, True)


async def test_the_hub_names_the_verb_too(twins: Twins) -> None:
    feed = await twins.copy.fetchval("SELECT feed::text FROM sync_clock")
    body = {"replica": "office", "via": [feed], "operations": []}
    proof, url = {"Authorization": f"Bearer {twins.token}"}, f"{twins.hub.url}/api/v1/sync/push"
    async with ClientSession(headers=proof) as session, session.post(url, json=body) as answer:
        told = await answer.json()
    assert (told["status"], told["type"]) == (409, "loop")
    assert "`ferryman records new-epoch --copied` there" in told["detail"]
