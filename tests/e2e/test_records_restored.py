"""A database is put back to an earlier state, at the hub or at an edge: those who hold what it has forgotten bring it
back, and nobody goes on as if nothing had happened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from adapters.records_client import RecordsClient
from tests.support.records_rig import Site, site
from tests.support.records_world import MODEL, current
from tests.support.servers import copied, dropped
from tests.support.until import until


@dataclass
class World:
    """A hub with a phone of its own, and an edge with another one; both phones are Noa's."""

    hub: Site
    edge: Site
    at_hub: RecordsClient
    at_edge: RecordsClient

    async def settled(self) -> None:
        """Wait until all four agree."""
        await until(self._equal, "the same at all places", 60, every_s=0.3)

    async def _equal(self) -> bool:
        await self.at_edge.sync()
        await self.edge.verb("records", "sync")
        await self.at_hub.sync()
        copies = await self.copies()
        return all(copy == copies[0] for copy in copies)

    async def copies(self) -> list[dict[str, Any]]:
        """What is at the hub, at the edge, and on both phones."""
        async with self.hub.looked_into() as above, self.edge.looked_into() as below:
            tables = [dict(await current(above)), dict(await current(below))]
        ids = {id for table in tables for id in table} | NAMED
        for phone in (self.at_hub, self.at_edge):
            shown = {id: await phone.get(MODEL, id) for id in sorted(ids)}
            tables.append({id: data for id, data in shown.items() if data is not None})
        return tables


NAMED = {"first", "of-edge", "of-hub", "of-office"}


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str) -> AsyncIterator[World]:
    async with site(tmp_path, "hub", postgres_url) as hub:
        token = await hub.token("--edge", "north", "--owners", "noa")
        upstream = {"SYNC_UPSTREAM_URL": hub.url, "SYNC_UPSTREAM_TOKEN": token}
        async with (
            site(tmp_path, "edge", postgres_url, **upstream) as edge,
            RecordsClient(tmp_path / "hub.sqlite", hub.url, await hub.token("--user", "noa")) as at_hub,
            RecordsClient(tmp_path / "edge.sqlite", edge.url, await edge.token("--user", "noa")) as at_edge,
        ):
            yield World(hub, edge, at_hub, at_edge)


@asynccontextmanager
async def put_back_after(one: Site) -> AsyncIterator[None]:
    """The database of *one* is, after the context, what it was before. It is stopped while that is done, and runs in
    the end. The copy goes with the test's databases' server."""
    was = one.database_url
    name = f"earlier_{urlsplit(was).path[1:]}"
    await one.stop()
    earlier = await copied(was, name)
    await one.start()
    yield
    await one.stop()
    one.settings["DATABASE_URL"] = earlier
    await one.start()


@pytest.fixture
async def forgetting(world: World) -> AsyncIterator[None]:
    """Drops what `put_back_after` has made."""
    were = [(one, one.database_url) for one in (world.hub, world.edge)]
    yield
    for one, was in were:
        if one.database_url != was:
            await one.stop()
            await dropped(was, urlsplit(one.database_url).path[1:])


@pytest.mark.usefixtures("forgetting")
async def test_a_hub_that_forgot_gets_back_what_replicas_hold_and_they_drop_what_nobody_holds(world: World) -> None:
    await world.at_edge.create(MODEL, "first", {"value": "1"})
    await world.settled()
    async with put_back_after(world.hub):
        await world.at_edge.update(MODEL, "first", {"value": "2"})
        await world.at_edge.create(MODEL, "of-edge", {"value": "e"})
        await world.at_hub.create(MODEL, "of-hub", {"value": "h"})
        told = await world.hub.ask(
            "PUT", f"/api/v1/records/{MODEL}/of-office", {"value": "o", "owner_id": "noa"}, If_None_Match="*"
        )
        assert told.status in (200, 201)
        await world.settled()
        assert len((await world.copies())[0]) == 4
    await world.settled()
    (at_hub, *_) = await world.copies()
    assert {id: data["value"] for id, data in at_hub.items()} == {"first": "2", "of-edge": "e", "of-hub": "h"}
    assert [(one.record_id, (one.data or {})["value"]) for one in await world.at_hub.lost()] == [("of-office", "o")]


@pytest.mark.usefixtures("forgetting")
async def test_an_edge_that_forgot_gets_back_what_the_hub_and_its_phones_hold(world: World) -> None:
    await world.at_edge.create(MODEL, "first", {"value": "1"})
    await world.settled()
    async with put_back_after(world.edge):
        await world.at_edge.update(MODEL, "first", {"value": "2"})
        await world.at_edge.create(MODEL, "of-edge", {"value": "e"})
        await world.settled()
        await world.at_hub.create(MODEL, "of-hub", {"value": "h"})
        await world.at_edge.update(MODEL, "of-edge", {"other": "not sent on"})
        await world.at_hub.sync()
        await world.at_edge.sync()
    await world.settled()
    (at_hub, *_) = await world.copies()
    assert {id: (data["value"], data.get("other")) for id, data in at_hub.items()} == {
        "first": ("2", None),
        "of-edge": ("e", "not sent on"),
        "of-hub": ("h", None),
    }
    async with world.hub.looked_into() as pool:
        assert await pool.fetchval("SELECT count(*) FROM sync_conflicts") == 0
