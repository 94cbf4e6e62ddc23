"""A hub and the edges of its branch offices: the real services on databases of their own, and the real requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import orjson
from aiohttp import web

from adapters.http import open_session
from adapters.postgres.pool import Pool
from daemon.api.access import Access
from daemon.api.stored_tokens import StoredTokens
from daemon.api.sync_pull import SyncPullApi
from daemon.api.sync_push import SyncPushApi
from daemon.bus.worker import Clock, utc_now
from daemon.lifecycle import Background
from daemon.records.edge import wiring
from daemon.records.pulling.pulls import PullIn
from daemon.records.pulling.service import Pulls
from daemon.records.pushing.service import Records
from daemon.records.wiring import open_pulls, open_records
from daemon.settings.model import Settings
from schemas.principals import Principal
from tests.support.records import operation, outside_of, person, pushed


@dataclass
class Server:
    """A server of records: its service, what it gives, and its address where it has one."""

    db: Pool
    records: Records
    pulls: Pulls
    url: str = ""

    async def push(self, user: str, *operations: Any, replica: str | None = None) -> list[dict[str, Any]]:
        """What a phone of *user* is answered."""
        return await pushed(self.records, person(user), *operations, replica=replica or f"phone-{user}")

    async def pull(self, user: str) -> dict[str, Any]:
        """All changes that *user* is given from the beginning: record id -> its fields."""
        return await self.read(person(user))

    async def read(self, principal: Principal) -> dict[str, Any]:
        async def reader() -> Principal:
            return principal

        page = await self.pulls.pull(reader, PullIn())
        told = orjson.loads(orjson.dumps(page.document(), default=str))["changes"]
        return {one["id"]: one["data"] for one in told if one["op"] == "upsert"}

    async def rows(self) -> dict[str, dict[str, Any]]:
        """Record id -> its fields, of all that are there."""
        rows = await self.db.fetch("SELECT record_id, data::text FROM records WHERE NOT deleted")
        return {row[0]: orjson.loads(row[1]) for row in rows}

    async def version(self, record_id: str) -> int:
        return int(await self.db.fetchval("SELECT version FROM records WHERE record_id = $1", record_id))

    async def drained(self) -> bool:
        """Whether every operation for the upstream has gone out and come back."""
        sql = "SELECT count(*) FROM sync_queue WHERE NOT settled AND state <> 'failed'"
        return not await self.db.fetchval(sql)


@asynccontextmanager
async def hub_on(db: Pool, port: int = 0) -> AsyncIterator[Server]:
    """A server without an upstream, at an address."""
    outside = outside_of(db)
    records = open_records(outside)
    pulls = open_pulls(outside, records)
    access = Access({}, stored=StoredTokens(db))
    application = web.Application(client_max_size=8_000_000)
    application.router.add_routes([*SyncPushApi(access, records).routes(), *SyncPullApi(access, pulls).routes()])
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    stop = asyncio.Event()
    watching = asyncio.create_task(pulls.watching.run(stop))
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield Server(db, records, pulls, f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        stop.set()
        await watching
        await runner.cleanup()


@asynccontextmanager
async def edge_of(db: Pool, url: str, token: str, *, now: Clock = utc_now, pump: bool = True) -> AsyncIterator[Server]:
    """An edge whose upstream is at *url*; its pump runs."""
    settings = Settings(sync_upstream_url=url, sync_upstream_token=token, auto_sync_enabled=pump)
    async with open_session() as session:
        outside = replace(outside_of(db, settings, now=now), session=session, secret=lambda name: token)
        records = open_records(outside)
        services: Sequence[Any] = wiring.services(outside, records.woke)
        for service in services:
            assert isinstance(service, Background)
            service.start()
        try:
            yield Server(db, records, open_pulls(outside, records))
        finally:
            for service in services:
                service.stop()
                await asyncio.wait_for(service.stopped(), 3)


def lead(record_id: str, **fields: Any) -> dict[str, Any]:
    """The operation that makes a lead."""
    return operation("CREATE", record_id, **{"name": "Ada", **fields})


def change(record_id: str, base: int, **fields: Any) -> dict[str, Any]:
    """An operation that changes a lead that was seen at version *base*."""
    return operation("UPDATE", record_id, _base_version=base, **fields)


def name() -> str:
    """A name that nobody else has."""
    return uuid4().hex[:12]
