"""The disk of Postgres is full, at the hub or at the edge, while both and their phones write: nothing is lost or half
done, who writes is told, and once there is room all of them agree without anybody's help."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from adapters.records_client import RecordsClient
from tests.support.disks import Mounted, mounted
from tests.support.records_rig import Site, site
from tests.support.records_world import MODEL, current
from tests.support.servers import open_directory, own_servers
from tests.support.until import until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")]

LONG: Final = "z" * 190
MANY: Final = 400
"""Records that do not fit into what Postgres has taken of the disk before."""


@dataclass
class Place:
    """A server, its disk, and a phone of Noa's that is its client."""

    here: Site
    disk: Mounted
    phone: RecordsClient
    token: str

    async def push(self, first: int, most: int) -> int:
        """Push records as somebody who is online, from number *first* on; how many were taken, until one push was
        not."""
        name = self.here.cwd.name
        for n in range(first, first + most, 50):
            made = [_create(f"{name}-{k}") for k in range(n, n + 50)]
            told = await self.here.ask("POST", "/api/v1/sync/push", {"operations": made}, token=self.token)
            if told.status != 200:
                assert (told.status, told.body["type"]) == (503, "busy"), told
                assert told.headers["Retry-After"]
                return n - first
            assert {one["result"] for one in told.body["results"]} == {"applied"}
        return most


def _create(id: str) -> dict[str, Any]:
    data = {"value": LONG, "other": LONG}
    return {"op_id": str(uuid4()), "operation": "CREATE", "model": MODEL, "record_id": id, "data": data}


@pytest.fixture(scope="module")
def disks() -> Iterator[list[tuple[str, Mounted]]]:
    """Two servers of Postgres, each with a disk of its own."""
    with ExitStack() as stack:
        root, made = stack.enter_context(open_directory()), []
        for name in ("hub", "edge"):
            if not stack.enter_context(mounted(root / name, "256m")):
                pytest.skip("a small file system needs the right to mount")
            servers = stack.enter_context(own_servers(root / name / "data", redis=False))
            made.append((str(servers.database_url), Mounted(root / name)))
        yield made


@pytest.fixture
async def places(disks: list[tuple[str, Mounted]], tmp_path: Path) -> AsyncIterator[dict[str, Place]]:
    async with AsyncExitStack() as stack:
        found: dict[str, Place] = {}
        upstream: dict[str, Any] = {}
        for name, (url, disk) in zip(("hub", "edge"), disks, strict=True):
            here = await stack.enter_async_context(site(tmp_path, name, url, **upstream))
            token = await here.token("--user", "noa")
            phone = await stack.enter_async_context(RecordsClient(tmp_path / f"{name}.sqlite", here.url, token))
            phone.start()
            found[name] = Place(here, disk, phone, token)
            if not upstream:
                proof = await here.token("--edge", "north", "--owners", "noa")
                upstream = {"SYNC_UPSTREAM_URL": here.url, "SYNC_UPSTREAM_TOKEN": proof}
        yield found


@pytest.mark.parametrize("full", ["hub", "edge"])
async def test_what_a_full_disk_keeps_out_comes_in_once_there_is_room(places: dict[str, Place], full: str) -> None:
    one = places[full]
    (other,) = [place for name, place in places.items() if name != full]
    one.disk.fill()
    try:
        taken = 0
        while (more := await one.push(taken, MANY)) == MANY:  # what there was room for within its files
            taken += more
            one.disk.fill()
        taken += more
        assert await other.push(0, MANY) == MANY
        for n, place in enumerate((one, other)):
            for k in range(60):
                await place.phone.create(MODEL, f"phone-{n}-{k}", {"value": LONG, "other": LONG})
        await until(lambda: any('"api.unanswered"' in line for line in one.here.here.lines), "the log of it")
        if full == "edge":
            await until(lambda: any('"records.pump_failed"' in line for line in one.here.here.lines), "the log of it")
        assert (await one.here.ask("GET", "/api/v1/sync/pull?limit=1", token=one.token)).status == 200
    finally:
        one.disk.free()
    await until(lambda: _equal(places, MANY + taken + 120), "the same everywhere", 60, every_s=0.5)
    for place in places.values():
        assert "sound" in await place.here.verb("records", "check")
        assert [await place.phone.pending(), await place.phone.failed(), await place.phone.conflicts()] == [[], [], []]


async def _equal(places: dict[str, Place], count: int) -> bool:
    tables = []
    for place in places.values():
        async with place.here.looked_into() as pool:
            tables.append(dict(await current(pool)))
        tables.append({one.id: dict(one) for one in await place.phone.list(MODEL, limit=10_000)})
    return len(tables[0]) == count and all(table == tables[0] for table in tables)
