"""A hub, and clients of it that are closed in the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres.pool import Pool, connect
from adapters.records_client import RecordsClient
from tests.support.offices import Server, hub_on
from tests.support.record_clients import Open
from tests.support.servers import fresh_database
from tests.support.tokens import made


@pytest.fixture
async def hub_db(postgres_url: str, template: str) -> AsyncIterator[Pool]:
    """A database that is no copy of `db`, as servers know each other by what a migration makes."""
    async with fresh_database(postgres_url, template) as url, connect(url, size=5) as pool:
        await pool.execute("UPDATE sync_clock SET feed = gen_random_uuid()")
        yield pool


@pytest.fixture
async def hub(db: Pool) -> AsyncIterator[Server]:
    async with hub_on(db) as server:
        yield server


@pytest.fixture
async def opened(db: Pool, hub: Server, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens the client of a person, on the file *name*, by a token of theirs."""
    async with AsyncExitStack() as stack:

        async def open_(user: str, name: str = "", **more: Any) -> RecordsClient:
            token = (await made(db, user=user))["token"]
            path = tmp_path / f"{name or user}.sqlite"
            client = RecordsClient(path, more.pop("url", hub.url), token, **more)
            return await stack.enter_async_context(client)

        yield open_
