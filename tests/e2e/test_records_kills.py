"""A phone and its daemon are killed again and again while they exchange: every operation counts once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.postgres.pool import Pool
from adapters.records_client import RecordsClient
from tests.support.daemons import environment
from tests.support.killed_phone import MODEL, name_of
from tests.support.records_rig import Site, site
from tests.support.until import until

RECORDS = 50


class Phone:
    """A phone as a process, which may be killed and started again."""

    def __init__(self, path: Path, url: str, token: str, operations: int) -> None:
        self._argv = [str(path), url, token, str(RECORDS), str(operations)]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        argv = [sys.executable, "-m", "tests.support.killed_phone", *self._argv]
        self._process = await asyncio.create_subprocess_exec(*argv, env=environment())

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            os.kill(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    @property
    def ended(self) -> int | None:
        """Its exit code; None: it runs."""
        assert self._process is not None
        return self._process.returncode


@asynccontextmanager
async def running_phone(path: Path, url: str, token: str, operations: int) -> AsyncIterator[Phone]:
    phone = Phone(path, url, token, operations)
    await phone.start()
    try:
        yield phone
    finally:
        await phone.kill()


@pytest.mark.parametrize(
    ("operations", "kills"),
    [(500, 4), pytest.param(10_000, 40, marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
)
async def test_each_operation_counts_once_whoever_is_killed_when(
    tmp_path: Path, postgres_url: str, operations: int, kills: int
) -> None:
    rng = random.Random(operations)
    path = tmp_path / "phone.sqlite"
    async with site(tmp_path, "hub", postgres_url) as hub, hub.looked_into() as pool:
        token = await hub.token("--user", "noa")
        async with running_phone(path, hub.url, token, operations) as phone:
            for n in range(kills):
                await _progress(pool, phone, operations * (n + 1) // (kills + 1))
                await asyncio.sleep(rng.random() * 0.05)  # anywhere in an exchange
                await _die(hub, phone, hub_dies=n % 2 == 0)
            await until(lambda: phone.ended is not None, "the end of the phone", 300)
            assert phone.ended == 0
        await _judge(pool, path, hub, token, operations)


async def _progress(pool: Pool, phone: Phone, wanted: int) -> None:
    async def far_enough() -> bool:
        assert phone.ended in (None, 0)
        return int(await pool.fetchval("SELECT count(*) FROM sync_ops")) >= wanted

    await until(far_enough, f"{wanted} operations", 120)


async def _die(hub: Site, phone: Phone, *, hub_dies: bool) -> None:
    if hub_dies:
        await hub.kill()
        await hub.start()
    else:
        await phone.kill()
        await phone.start()


async def _judge(pool: Pool, path: Path, hub: Site, token: str, operations: int) -> None:
    """The ledger has each operation once; versions have grown by exactly those; both sides have the last value."""
    assert await pool.fetchval("SELECT count(*) FROM sync_ops") == operations
    assert await pool.fetchval("SELECT count(DISTINCT op_id) FROM sync_ops WHERE result = 'applied'") == operations
    assert await pool.fetchval("SELECT count(*) FROM sync_conflicts") == 0
    rows = await pool.fetch("SELECT record_id, version, (data->>'most')::int AS most FROM records ORDER BY 1")
    last = {name_of(number, RECORDS): number for number in range(operations - RECORDS, operations)}
    assert {row["record_id"]: row["most"] for row in rows} == last
    assert {row["version"] for row in rows} == {operations // RECORDS}
    async with RecordsClient(path, hub.url, token) as phone:
        await phone.sync()
        shown = {name: await phone.get(MODEL, name) for name in last}
        assert {name: one and one["most"] for name, one in shown.items()} == last
        status = await phone.status()
        assert (status.pending, status.failed, status.conflicts) == (0, 0, 0)
