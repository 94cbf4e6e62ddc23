"""What an outage makes a process open, it closes again: connections and descriptors come back to where they were.

The servers are this file's own, since they are stopped by signals.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from daemon.stores.embedded.servers import Servers
from tests.support.daemons import Running, running, some_orders
from tests.support.servers import frozen, migrated_database, own_servers
from tests.support.until import until

FREEZE_S: Final = 11.0
"""Longer than a statement may take, and than the pauses of the periodic duties: all of them wait at the same time."""

BASE_S: Final = 12.0
"""For so long the base is looked for: the periodic duties open and close connections meanwhile."""

BACK_WITHIN_S: Final = 30.0


@pytest.fixture(scope="module")
def own() -> Iterator[Servers]:
    with own_servers(fsync=False) as servers:
        yield servers


@pytest.fixture
async def database(own: Servers) -> AsyncIterator[str]:
    async with migrated_database(str(own.database_url)) as url:
        yield url


class Counts:
    """What *here* has open: (connections to Postgres, descriptors)."""

    def __init__(self, here: Running, own: Servers) -> None:
        self._here = here
        self._own = own

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self._here.process.pid}/fd"))

    async def now(self) -> tuple[int, int]:
        conn = await asyncpg.connect(self._own.database_url)
        try:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ferryman'"
            return int(await conn.fetchval(query)), self.descriptors()
        finally:
            await conn.close()

    async def least(self) -> tuple[int, int]:
        """The least of either in BASE_S seconds."""
        seen = []
        give_up = time.monotonic() + BASE_S
        while time.monotonic() < give_up:
            seen.append(await self.now())
            await asyncio.sleep(0.2)
        return min(found[0] for found in seen), min(found[1] for found in seen)


async def test_connections_and_descriptors_come_back_to_the_base_after_a_freeze_of_postgres(
    tmp_path: Path, own: Servers, database: str
) -> None:
    assert own.postgres is not None
    settings: dict[str, Any] = {
        "REDIS_URL": own.redis_url,
        "DATABASE_URL": database,
        "FERRYMAN_ADMIN_TOKEN": "base-admin-token-0123456789",
        "FERRYMAN_WORKERS": "journal",
        "FERRYMAN_KEEPALIVE_SECONDS": 1,
    }
    orders = iter(some_orders(2000))
    async with running(tmp_path, module="tests.support.short_idle", **settings) as here:
        counts = Counts(here, own)
        base = await counts.least()
        sent: list[asyncio.Task[tuple[int, dict[str, Any]]]] = []
        most = 0
        with frozen(own.postgres):
            thaw_at = time.monotonic() + FREEZE_S
            while time.monotonic() < thaw_at:
                sent += [asyncio.create_task(here.post(next(orders))) for _ in range(5)]
                await asyncio.sleep(0.25)
                most = max(most, counts.descriptors())
        assert {status for status, _ in await asyncio.gather(*sent)} <= {202, 503}
        assert most > base[1], "the freeze has cost nothing: this test shows nothing"

        async def works() -> bool:
            return (await here.post(next(orders)))[0] == 202

        await until(works, "a process that takes orders again", every_s=0.2)
        seen = []

        async def back() -> bool:
            seen.append(await counts.now())
            return min(found[0] for found in seen) <= base[0] and min(found[1] for found in seen) <= base[1]

        try:
            await until(back, "the base", BACK_WITHIN_S, every_s=0.2)
        except TimeoutError:
            pytest.fail(f"{seen[-1]}, {most} in the freeze, {base} before")
        assert await here.stop() == 0
