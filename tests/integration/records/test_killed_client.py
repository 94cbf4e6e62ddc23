"""An app that is killed at any moment: what it had written is there, and each operation counts once."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from typing import Final

import pytest

from adapters.records_client import RecordsClient
from tests.support.daemons import environment
from tests.support.killed_phone import MODEL, name_of
from tests.support.records_server import TOKEN, RecordsServer, records_server

RECORDS: Final = 50


async def lived(path: Path, server: RecordsServer, operations: int, rng: random.Random, *, killed: bool) -> None:
    """A life of the app. *killed*: within the next operations, while it writes and exchanges."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.support.killed_phone", str(path), server.url, TOKEN, str(RECORDS), str(operations)),
        env=environment(),
    )
    if not killed:
        assert await process.wait() == 0
        return
    enough = sum(server.applied.values()) + rng.randrange(1, 400)
    while process.returncode is None and sum(server.applied.values()) < enough:
        await asyncio.sleep(0.002)
    if process.returncode is None:
        process.kill()
    await process.wait()


@pytest.mark.parametrize(
    ("operations", "kills"),
    [(600, 4), pytest.param(10_000, 40, marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
)
async def test_each_operation_counts_once_however_often_the_app_is_killed(
    tmp_path: Path, operations: int, kills: int
) -> None:
    path = tmp_path / "phone.sqlite"
    rng = random.Random(12)
    async with records_server() as server:
        for _ in range(kills):
            await lived(path, server, operations, rng, killed=True)
        await lived(path, server, operations, rng, killed=False)
        assert set(server.applied.values()) == {1}
        assert len(server.applied) == operations
        last = {name_of(n, RECORDS): {"most": n} for n in range(operations)}
        assert {name: row.data for (_, name), row in server.state.rows.items()} == last
        assert {row.version for row in server.state.rows.values()} == {operations // RECORDS}
        async with RecordsClient(path, server.url, TOKEN) as phone:
            assert (await phone.sync()).error is None
            assert {one.id: dict(one) for one in await phone.list(MODEL)} == last
            assert [await phone.failed(), await phone.conflicts()] == [[], []]
