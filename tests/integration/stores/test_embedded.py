"""The embedded servers: they keep what they accepted, and end with their owner, however it ends."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from daemon.stores.embedded.binaries import enterable, postgres_root
from daemon.stores.embedded.servers import Servers, embedded
from tests.support.embedded_owner import (
    ORDINARY,
    REPOSITORY,
    Owner,
    client,
    gone,
    kept,
    processes,
    runs,
    write,
)
from tests.support.servers import memory, open_directory

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs postgres as another user")


@pytest.fixture
async def owner() -> AsyncIterator[Callable[..., Owner]]:
    owners: list[Owner] = []

    def start(data_dir: Path, **options: Any) -> Owner:
        owners.append(Owner(data_dir, **options))
        return owners[-1]

    yield start
    for one in owners:
        one.end(kill=True)
        await gone(one.pids)
        shutil.rmtree(Path(one.redis_url.removeprefix("unix://")).parent, ignore_errors=True)


async def test_what_was_written_is_there_after_a_restart_and_nothing_else_is_left(memory_path: Path) -> None:
    async with embedded(memory_path / "data") as servers:
        await write(servers.redis_url, servers.database_url)
        sockets = Path(str(servers.redis_url).removeprefix("unix://")).parent
    assert not sockets.exists()
    async with embedded(memory_path / "data") as servers:
        assert await kept(servers.redis_url, servers.database_url) == (20, 20)


async def test_the_servers_are_durable_and_reached_by_their_sockets_alone(memory_path: Path) -> None:
    async with embedded(memory_path / "data") as servers, client(servers.redis_url) as redis:
        config = await redis.config_get("*")
        conn = await asyncpg.connect(servers.database_url)
        assert await conn.fetchval("SHOW fsync") == "on"
        assert await conn.fetchval("SHOW listen_addresses") == ""
        assert await conn.fetchval("SELECT current_user || current_database()") == "ferrymanferryman"
        await conn.close()
        sockets = Path(str(servers.redis_url).removeprefix("unix://")).parent
        assert stat.S_IMODE((sockets / "postgres").stat().st_mode) == 0o700
        assert stat.S_IMODE((sockets / "valkey.sock").stat().st_mode) == 0o700
    wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "port": "0"}
    assert wanted.items() <= config.items()


@pytest.mark.parametrize("name", ["valkey", "postgres"])
async def test_a_killed_server_starts_again_on_its_data_and_socket(memory_path: Path, name: str) -> None:
    async with embedded(memory_path / "data") as servers:
        await write(servers.redis_url, servers.database_url)
        server = getattr(servers, name)
        killed = server.pid
        server.kill()
        assert not runs(killed)
        await server.start()
        assert server.pid != killed
        assert await kept(servers.redis_url, servers.database_url) == (20, 20)


@pytest.mark.parametrize("path", [os.environ["PATH"], "/nowhere"], ids=["setpriv", "shell"])
async def test_kill_9_of_the_owner_ends_both_servers(owner: Callable[..., Owner], path: str) -> None:
    with open_directory(memory()) as top:
        holder = owner(top / "data", path=path)
        assert all(runs(pid) for pid in holder.pids)
        holder.end(kill=True)
        await gone(holder.pids)


@pytest.mark.parametrize("path", [os.environ["PATH"], "/nowhere"], ids=["setpriv", "shell"])
async def test_a_server_that_is_killed_by_others_leaves_no_watcher(owner: Callable[..., Owner], path: str) -> None:
    with open_directory(memory()) as top:
        holder = owner(top / "data", path=path)
        os.kill(holder.pids[0], 9)
        holder.end(kill=False)
        await gone(holder.pids)
        assert holder.process.returncode == 0
        assert not [command for command in processes().values() if str(top) in command]


async def test_an_owner_that_is_killed_can_be_followed_at_once_and_nothing_accepted_is_lost(
    memory_path: Path, owner: Callable[..., Owner]
) -> None:
    data = memory_path / "data"
    for turn in range(3):
        holder = owner(data)
        if turn == 0:
            await write(holder.redis_url, holder.database_url, 200)
        holder.end(kill=True)
    async with embedded(data) as servers:
        assert await kept(servers.redis_url, servers.database_url) == (200, 200)
        former = Path(holder.redis_url.removeprefix("unix://")).parent
        assert not former.exists(), "the sockets of the killed owner are cleaned up by the next"


async def test_an_orderly_end_of_the_owner_ends_both_servers(memory_path: Path, owner: Callable[..., Owner]) -> None:
    holder = owner(memory_path / "data")
    holder.end(kill=False)
    assert holder.process.returncode == 0
    assert not any(runs(pid) for pid in holder.pids)


async def test_a_cancelled_owner_leaves_no_server(memory_path: Path) -> None:
    started: asyncio.Future[Servers] = asyncio.get_running_loop().create_future()

    async def hold() -> None:
        async with embedded(memory_path / "data") as servers:
            started.set_result(servers)
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    servers = await started
    assert servers.valkey is not None
    assert servers.postgres is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (servers.valkey.pid, servers.postgres.pid) == (None, None)


async def test_an_error_of_the_body_passes_unchanged(memory_path: Path) -> None:
    with pytest.raises(ConnectionResetError):
        async with embedded(memory_path / "data", postgres=False):
            raise ConnectionResetError


async def test_a_very_long_data_directory_works(memory_path: Path) -> None:
    data = memory_path / ("a very long name " * 10) / ("d" * 200) / "data"
    async with embedded(data, fsync=False) as servers:
        await write(servers.redis_url, servers.database_url)
        assert await kept(servers.redis_url, servers.database_url) == (20, 20)


@pytest.mark.parametrize("content", ["{pid}\n/elsewhere\n0\n", "", "not a number\n"])
async def test_a_stale_pid_file_is_no_obstacle(memory_path: Path, content: str) -> None:
    data = memory_path / "data"
    async with embedded(data, redis=False, fsync=False):
        pass
    (data / "postgres" / "postmaster.pid").write_text(content.format(pid=os.getpid()))
    async with embedded(data, redis=False, fsync=False) as servers:
        conn = await asyncpg.connect(servers.database_url)
        assert await conn.fetchval("SELECT current_database()") == "ferryman"
        await conn.close()


async def test_what_a_kill_within_initdb_left_is_made_anew(memory_path: Path) -> None:
    partial = memory_path / "data" / "postgres.partial"
    partial.mkdir(parents=True)
    (partial / "PG_VERSION").write_text("18\n")
    async with embedded(memory_path / "data", redis=False, fsync=False):
        assert not partial.exists()


@root_only
async def test_an_ordinary_user_runs_them_too(owner: Callable[..., Owner]) -> None:
    interpreter = Path(sys.executable)  # in a virtual environment a link to one that may be in a home directory
    places = (
        interpreter.parent,
        interpreter.resolve().parent,
        Path(sys.base_prefix),
        REPOSITORY,
        postgres_root() / "bin",
    )
    if not all(enterable(place, ORDINARY) for place in places):
        pytest.skip("the interpreter or the repository is in a directory that only root may enter")
    with open_directory(memory()) as top:
        os.chown(top, ORDINARY.uid, ORDINARY.gid)
        holder = owner(top / "data", user=ORDINARY)
        await write(holder.redis_url, holder.database_url)
        holder.end(kill=True)
        holder = owner(top / "data", user=ORDINARY)
        assert await kept(holder.redis_url, holder.database_url) == (20, 20)
        assert stat.S_IMODE((top / "data").stat().st_mode) == 0o700
        holder.end(kill=False)
        assert holder.process.returncode == 0
