"""Two copies of one replica: whenever the file was copied, neither overwrites what the other has written unseen."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from adapters.postgres.pool import Pool
from adapters.records_client import RecordsClient
from tests.support.offices import Server, hub_on
from tests.support.tokens import made


@pytest.fixture
async def hub(db: Pool) -> AsyncIterator[Server]:
    async with hub_on(db) as server:
        yield server


async def told(db: Pool) -> str:
    """All that is stored, and all that met, as text."""
    query = "SELECT data::text FROM records UNION ALL SELECT concat(ours::text, theirs::text) FROM sync_conflicts"
    return "\n".join(row[0] for row in await db.fetch(query))


async def test_a_file_that_was_copied_before_its_first_push(db: Pool, hub: Server, tmp_path: Path) -> None:
    await both_write(db, hub, tmp_path, pushed_before=False, waiting=False)


async def test_a_file_that_was_copied_while_an_operation_waited(db: Pool, hub: Server, tmp_path: Path) -> None:
    await both_write(db, hub, tmp_path, pushed_before=True, waiting=True)


async def test_a_file_that_was_copied_with_its_first_operation_waiting(db: Pool, hub: Server, tmp_path: Path) -> None:
    await both_write(db, hub, tmp_path, pushed_before=False, waiting=True)


async def both_write(db: Pool, hub: Server, place: Path, *, pushed_before: bool, waiting: bool) -> None:
    """Both copies write the same field before each pushes."""
    token = (await made(db, user="ann"))["token"]
    async with RecordsClient(place / "other.sqlite", hub.url, token) as other:
        await other.create("Lead", "l1", {"name": "Ada", "stage": "new"})
        assert (await other.sync()).error is None
    async with RecordsClient(place / "first.sqlite", hub.url, token) as first:
        if pushed_before:
            await first.create("Lead", "l2", {"name": "Bob"})
            await first.sync()
        if waiting:
            await first.create("Lead", "l3", {"name": "Eve"})
    shutil.copy(place / "first.sqlite", place / "second.sqlite")
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(RecordsClient(place / name, hub.url, token))
            for name in ("first.sqlite", "second.sqlite")
        ]
        for client, value in ((first, "by the first"), (second, "by the second")):
            await client.create("Lead", "l4", {"name": value})
        for client in (first, second, first, second):
            assert (await client.sync()).error is None
        found = await told(db)
        assert "by the first" in found
        assert "by the second" in found
        assert await first.get("Lead", "l4") == await second.get("Lead", "l4")
