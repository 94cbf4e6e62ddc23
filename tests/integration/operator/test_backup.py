"""Backup and restore of embedded stores: what is refused, and what is left when it is interrupted."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from daemon.cli.main import VERBS
from daemon.operator.backup import hooks
from daemon.operator.privacy import ledger
from daemon.settings.model import Settings
from daemon.stores.embedded import layout
from tests.support.daemons import environment, ferryman
from tests.support.disks import mounted
from tests.support.servers import open_directory
from tests.support.until import until


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A directory with an installation `data`, which nobody runs, and a backup of it, `b.tar`."""
    with open_directory() as place:
        settings = environment(FERRYMAN_DATA_DIR=place / "data")
        code, _, err = asyncio.run(ferryman("status", cwd=place, env=settings))
        assert code == 1, err  # there is none yet
        code, _, err = asyncio.run(ferryman("migrate", cwd=place, env=settings))
        assert code == 0, err
        (place / "data" / "secret-key").write_text("k" * 43 + "=\n")
        code, said, err = asyncio.run(ferryman("backup", str(place / "b.tar"), cwd=place, env=settings))
        assert (code, "all that was accepted before is in it" in said) == (0, True), err
        yield place


async def verb(made: Path, data_dir: Path, *argv: str, **settings: object) -> tuple[int, str]:
    env = environment(FERRYMAN_DATA_DIR=data_dir, **settings)
    code, out, err = await ferryman(*argv, cwd=made, env=env)
    return code, out + err


def state(data_dir: Path) -> dict[str, bytes]:
    """Every file that matters of an installation that nobody runs."""
    return {
        str(path.relative_to(data_dir)): path.read_bytes()
        for path in sorted(data_dir.rglob("*"))
        if path.is_file() and path.name != "lock" and not path.name.endswith((".log", ".running"))
    }


async def test_a_backup_replaces_no_file_and_does_not_lie_in_what_it_copies(made: Path) -> None:
    before = (made / "b.tar").read_bytes()
    code, said = await verb(made, made / "data", "backup", "b.tar")
    assert (code, "is there already" in said) == (1, True)
    assert (made / "b.tar").read_bytes() == before
    code, said = await verb(made, made / "data", "backup", "data/b.tar")
    assert (code, "name a file elsewhere" in said) == (1, True)
    code, said = await verb(made, made / "data", "backup", "nowhere/b.tar")
    assert (code, "cannot be written" in said) == (1, True)
    assert not list(made.glob(".*.partial"))


async def test_a_restore_changes_nothing_without_a_yes_or_of_a_file_that_is_not_whole(made: Path) -> None:
    (made / "cut.tar").write_bytes((made / "b.tar").read_bytes()[:-20_000])
    (made / "other.tar").write_bytes(b"hello")
    before = state(made / "data")
    for argv, told in (
        (["b.tar"], "add --yes"),
        (["cut.tar", "--yes"], "cut short"),
        (["other.tar", "--yes"], "is no backup"),
        (["nowhere.tar", "--yes"], "cannot be read"),
    ):
        code, said = await verb(made, made / "data", "restore", *argv)
        assert (code, told in said, said.count("\n")) == (1, True, 1), said
        assert state(made / "data") == before
    code, said = await verb(made, made / "data", "restore", "b.tar", "--dry-run")
    assert (code, "in the place of what is there" in said) == (0, True)
    assert state(made / "data") == before


async def test_stores_of_the_operators_own_are_not_for_these_verbs(made: Path) -> None:
    own = {"DATABASE_URL": "postgresql://x@/x?host=/nowhere", "REDIS_URL": "unix:///nowhere"}
    own["FERRYMAN_ADMIN_TOKEN"] = "0123456789abcdef" * 2
    for name in ("backup", "restore"):
        code, said = await verb(made, made / "data", name, "new.tar", **own)
        assert (code, "pg_dump" in said) == (2, True), said


async def test_a_restore_over_an_installation_keeps_it_aside_and_holds_messages_back(made: Path) -> None:
    shutil.copytree(made / "data", made / "twin", symlinks=True)
    (made / "twin" / "secret-key").write_text("o" * 43 + "=\n")
    (made / "twin" / "archive").mkdir()
    code, said = await verb(made, made / "twin", "restore", "b.tar", "--yes")
    assert code == 0, said
    assert "resume outbound-messaging" in said
    (aside,) = (made / "twin").glob("replaced-*")
    assert str(aside) in said
    assert (made / "twin" / "secret-key").read_text() == "k" * 43 + "=\n"
    assert (aside / "secret-key").read_text() == "o" * 43 + "=\n"
    assert not (made / "twin" / "archive").exists()
    code, said = await verb(made, made / "twin", "resume", "outbound-messaging", "--dry-run")
    assert (code, "would go on" in said) == (0, True), said
    assert {"backup", "restore"} <= VERBS.keys()


@pytest.mark.parametrize("name", ["backup", "restore"])
async def test_a_kill_in_the_middle_leaves_what_was_there_and_the_next_one_works(made: Path, name: str) -> None:
    data_dir = made / "data"
    before = state(data_dir)
    argv = ["backup", f"{name}-2.tar"] if name == "backup" else ["restore", "b.tar", "--yes"]
    mark = made / f".{argv[1]}.partial" if name == "backup" else data_dir / layout.PARTIAL / "postgres"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daemon", *argv, cwd=made, env=environment(FERRYMAN_DATA_DIR=data_dir)
    )
    await until(mark.exists, "that it is under way")
    assert process.returncode is None
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    if name == "restore":
        assert {path: text for path, text in state(data_dir).items() if not path.startswith("restore.")} == before
    else:
        assert not (made / argv[1]).exists()
    code, said = await verb(made, data_dir, *argv)
    assert code == 0, said
    assert not (data_dir / layout.PARTIAL).exists()
    assert not list(made.glob(".*.partial"))
    code, said = await verb(made, data_dir, "audit")
    assert code == 0, said


async def test_a_full_disk_ends_either_with_one_line_and_changes_nothing(made: Path) -> None:
    with mounted(made / "small", "8m") as there:
        if not there:
            pytest.skip("this user may not mount")
        (made / "small" / "ballast").write_bytes(bytes((8 << 20) - (64 << 10)))
        code, said = await verb(made, made / "data", "backup", "small/b.tar")
        assert (code, "make room there" in said, said.count("\n")) == (1, True, 1), said
        assert [path.name for path in (made / "small").iterdir()] == ["ballast"]
        (made / "small" / "data").mkdir(mode=0o711)
        (made / "small" / "data" / "admin-token").write_text("there")
        code, said = await verb(made, made / "small" / "data", "restore", "b.tar", "--yes")
        assert (code, said.count("\n")) == (1, 1), said
        assert [path.name for path in layout.own(made / "small" / "data")] == ["admin-token"]
        assert not (made / "small" / "data" / layout.PARTIAL).exists()


async def test_whom_the_newer_ledger_of_erasures_names_is_erased_again_before_the_installation_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "former").mkdir()
    old = b'{"erasure":1,"at":"2031-03-01T12:00:00Z","marks":[["phone","00"]],"pepper":"p"}\n'
    new = old.replace(b'"erasure":1', b'"erasure":2')
    (tmp_path / "new" / "erasures.jsonl").write_bytes(old)
    (tmp_path / "former" / "erasures.jsonl").write_bytes(old + new)
    asked: list[list[str]] = []

    @asynccontextmanager
    async def opened(*argv: Any) -> AsyncIterator[str]:
        yield "eraser"

    async def reapply(eraser: Any, entries: Any) -> int:
        asked.append([entry.at.isoformat() for entry in entries])
        return 0

    monkeypatch.setattr(hooks, "open_eraser", opened)
    monkeypatch.setattr(ledger, "reapply", reapply)
    settings = Settings(ferryman_data_dir=tmp_path / "new")
    nobody: Any = None
    await hooks.erase_again(hooks.Restored(settings, nobody, "", tmp_path / "former", "noa"))
    assert [len(one) for one in asked] == [2]
    assert (tmp_path / "new" / "erasures.jsonl").read_bytes() == old + new
    (tmp_path / "new" / "erasures.jsonl").unlink()
    (tmp_path / "former" / "erasures.jsonl").unlink()
    await hooks.erase_again(hooks.Restored(settings, nobody, "", tmp_path / "former", "noa"))
    assert len(asked) == 1, "without a ledger there is nothing to do"
    assert hooks.erase_again in hooks.AFTER_RESTORE
