"""A store whose disk is full, under load: what was accepted has its effect once and in order once there is room.

With `appendfsync always` Valkey ends when it cannot write, and again at its first write after each start; else it
lives and refuses with MISCONF. Postgres refuses with 53100, or panics and recovers where it is its log that is full.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import pytest
import structlog

from adapters.redis import streams
from daemon.stores.embedded.binaries import valkey_binary
from daemon.stores.embedded.servers import Servers, kept_up
from tests.chaos.lab import Lab, open_lab
from tests.chaos.load import Load, sending
from tests.support.disks import Mounted, mounted
from tests.support.servers import forgiving, open_directory, own_servers
from tests.support.until import until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="tmpfs and prlimit are Linux's")]

FULL_S: Final = 6.0
PEOPLE: Final = 20
EACH: Final = 15
LINES: Final = 12
CPU_SHARE: Final = 0.25


class Disk(Protocol):
    """Where a server has its data."""

    def fill(self) -> None:
        """Leave no room."""
        ...

    def free(self) -> None:
        """Make room again."""
        ...


class Limited:
    """A limit on the size of Valkey's files, for a user who may not mount. Writes end short and then fail, as on a full
    disk; only the number of the error differs. Valkey is started by the program that `limited_valkey` writes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def fill(self) -> None:
        largest = max(file.stat().st_size for file in (self._root / "data" / "valkey").rglob("*.aof"))
        blocks = largest // 512 + 1
        (self._root / "blocks").write_text(str(blocks))  # for the next start
        self._limit(blocks * 512)

    def free(self) -> None:
        (self._root / "blocks").unlink()
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        pid = int((self._root / "pid").read_text())
        with suppress(ProcessLookupError):  # it has ended on its full disk
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size == resource.RLIM_INFINITY else size, hard))


def limited_valkey(root: Path) -> Path:
    """A program that becomes Valkey under the limit in the file `blocks`, and writes its process id beside it."""
    program = root / "valkey"
    program.write_text(
        f'#!/bin/sh\ntrap "" XFSZ\necho $$ > {root}/pid\n'
        f"[ -f {root}/blocks ] && ulimit -S -f $(cat {root}/blocks)\n"
        f'exec {valkey_binary()} "$@"\n'
    )
    program.chmod(0o755)
    return program


@dataclass(frozen=True)
class Site:
    """Two servers, each with a disk of its own; *disk* is None where none can be filled."""

    servers: Servers
    valkey_disk: Disk
    postgres_disk: Disk | None


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Servers of this module alone, each with its disk. They sync before they answer."""
    with ExitStack() as stack:
        directory = stack.enter_context(open_directory())
        small, large = directory / "small", directory / "large"
        disk: Disk = Mounted(small)
        if not stack.enter_context(mounted(small, "24m")):
            disk = Limited(small)
            patched = stack.enter_context(pytest.MonkeyPatch.context())
            patched.setattr("daemon.stores.embedded.servers.valkey_binary", lambda *, system: limited_valkey(small))
        large_one = stack.enter_context(mounted(large, "256m"))
        one = stack.enter_context(own_servers(small / "data", postgres=False))
        two = stack.enter_context(own_servers(large / "data", redis=False))
        servers = Servers(one.redis_url, two.database_url, one.valkey, two.postgres)
        yield Site(servers, disk, Mounted(large) if large_one else None)


@pytest.fixture
def one_disk() -> Iterator[Site]:
    """As `site`, with both servers on one disk."""
    with ExitStack() as stack:
        directory = stack.enter_context(open_directory()) / "both"
        if not stack.enter_context(mounted(directory, "256m")):
            pytest.skip("a small file system needs the right to mount")
        disk = Mounted(directory)
        yield Site(stack.enter_context(own_servers(directory / "data")), disk, disk)


class Cost:
    """What a process logs and how much CPU it takes while a disk is full."""

    def __init__(self, lab: Lab) -> None:
        self._here = lab.fleet.running[0]
        self._began, self._lines, self._cpu = time.monotonic(), len(self._here.lines), self._cpu_s()

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self._here.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def check(self) -> None:
        """It neither spun nor filled its log."""
        took = time.monotonic() - self._began
        said = [line for line in self._here.lines[self._lines :] if '"event.settled"' not in line]
        cpu = (self._cpu_s() - self._cpu) / took
        print(f"{len(said)} lines and {cpu:.0%} CPU over {took:.1f} s")
        assert len(said) <= LINES, "\n".join(said)
        assert cpu <= CPU_SHARE


async def fill_under_load(
    site: Site,
    disk: Disk,
    failed: Callable[[Lab], Awaitable[bool]],
    config: str,
    *,
    meanwhile: Callable[[Lab, Load], Awaitable[None]] | None = None,
) -> Counter[str]:
    """A load; *disk* is full for a while in its middle. Looks at what became of it.

    *failed*: whether the store has noticed. *meanwhile*: what to see until there is room again (orders that are
    accepted, if not given). Returns what the keeper of the embedded servers has logged, and how often.
    """
    with structlog.testing.capture_logs() as kept:
        async with AsyncExitStack() as stack, open_lab(site.servers) as lab:
            await lab.redis.config_set("appendfsync", config)
            await lab.fleet.start(0)
            await stack.enter_async_context(kept_up(site.servers))
            load = lab.load(1, PEOPLE, EACH)
            async with sending(load):
                await under_way(lab, load, load.total // 4)
                disk.fill()
                load.release(load.total // 4)
                try:
                    await until(lambda: failed(lab), "a store without room")
                    await (meanwhile or full_for_a_while)(lab, load)
                finally:
                    disk.free()
            found = await lab.verdict(within_s=60)
            assert found.good, found.details()
            assert lab.fleet.said("redis.lost_data") == 0
            assert await lab.fleet.end(0) == 0
    return Counter(entry["event"] for entry in kept)


async def under_way(lab: Lab, load: Load, count: int) -> None:
    load.release(count)

    async def some() -> bool:
        return len(load.accepted) >= count // 2 and await lab.ended() > 0

    await until(forgiving(some), "orders under way")


async def full_for_a_while(lab: Lab, load: Load) -> None:
    """Orders are accepted all the same; the process does not spin, and logs once what is wrong."""
    cost, due = Cost(lab), time.monotonic() + FULL_S
    load.release(load.total // 4)

    async def accepted() -> bool:
        return len(load.accepted) >= load.total * 3 // 4

    await until(accepted, "orders accepted with a disk full")
    await asyncio.sleep(max(0.0, due - time.monotonic()))  # the rest of the outage
    cost.check()


async def test_valkey_that_ends_when_its_disk_is_full_loses_and_doubles_nothing(site: Site) -> None:
    async def died(lab: Lab) -> bool:
        return site.servers.valkey is not None and site.servers.valkey.pid is None

    kept = await fill_under_load(site, site.valkey_disk, died, "always")
    assert kept["store.died"] == kept["store.started_again"] == 1  # though it dies again and again
    assert kept["store.dies_again_and_again"] <= 1


async def test_valkey_that_refuses_when_its_disk_is_full_loses_and_doubles_nothing(site: Site) -> None:
    async def refuses(lab: Lab) -> bool:
        try:
            await lab.redis.ping()
        except streams.StreamErrors as exc:
            return "MISCONF" in str(exc)
        return False

    kept = await fill_under_load(site, site.valkey_disk, refuses, "everysec")
    assert not kept


async def test_postgres_whose_disk_is_full_pauses_the_work_and_buries_nothing(site: Site) -> None:
    if site.postgres_disk is None:
        pytest.skip("a small file system for Postgres needs the right to mount")

    async def down(lab: Lab) -> bool:
        return lab.fleet.said("store.down") > 0

    await fill_under_load(site, site.postgres_disk, down, "always")


async def test_with_both_stores_on_one_full_disk_nothing_is_accepted_that_is_lost(one_disk: Site) -> None:
    """Promise: what neither store can keep is answered 503 with Retry-After, and goes on once there is room."""
    refused = 0

    async def neither(lab: Lab) -> bool:
        return lab.loads[0].refused > 0

    async def refused_all_along(lab: Lab, load: Load) -> None:
        nonlocal refused
        cost, due = Cost(lab), time.monotonic() + FULL_S
        load.release(load.total // 4)
        await asyncio.sleep(max(0.0, due - time.monotonic()))  # the length of the outage
        cost.check()
        refused = load.refused
        assert load.no_retry_after == 0

    await fill_under_load(one_disk, one_disk.valkey_disk, neither, "always", meanwhile=refused_all_along)
    assert refused > 0
