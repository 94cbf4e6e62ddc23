"""The shipped files in a folder: never over one that is there, and whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from daemon.rules.files import check, load
from daemon.rules.folder import NotWritten, Written, init
from daemon.workers import rule_files

FILES = rule_files()
NAMES = [file.name for file in FILES]
ONE = FILES[:1]


def test_the_shipped_files_are_written_as_they_ship_and_count_as_they_did(tmp_path: Path) -> None:
    folder = tmp_path / "etc" / "rules"
    assert list(init(folder, FILES)) == [Written(folder / name, True) for name in NAMES]
    assert sorted(os.listdir(folder)) == sorted(NAMES)
    assert check(folder, FILES) == []
    for file in FILES:
        assert (folder / file.name).read_bytes() == file.shipped()
        assert load(folder, file) == load(None, file)


def test_every_shipped_file_is_sound() -> None:
    assert sorted(NAMES) == [
        "dialogs.toml",
        "fields.toml",
        "intents.toml",
        "labels.toml",
        "messages.toml",
        "models.toml",
    ]
    assert check(None, FILES) == []


@pytest.mark.parametrize(
    "make",
    [lambda path: path.write_text("mine"), lambda path: path.symlink_to("nowhere"), lambda path: path.mkdir()],
    ids=["file", "dangling link", "directory"],
)
def test_what_is_there_is_left_as_it_is(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "fields.toml"
    make(path)
    before = path.lstat()
    assert list(init(tmp_path, ONE)) == [Written(path, False)]
    assert path.lstat() == before
    assert os.listdir(tmp_path) == ["fields.toml"]


def test_a_file_that_comes_to_be_meanwhile_is_left_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fields.toml"

    def meanwhile(_: int) -> None:
        path.write_text("mine")

    monkeypatch.setattr(os, "fsync", meanwhile)
    assert list(init(tmp_path, ONE)) == [Written(path, False)]
    assert (path.read_text(), os.listdir(tmp_path)) == ("mine", ["fields.toml"])


@pytest.mark.parametrize("there", [False, True])
def test_without_hard_links_it_is_the_same(there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fields.toml"

    def none(*_: object) -> None:
        if there:
            path.write_text("mine")
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", none)
    assert list(init(tmp_path, ONE)) == [Written(path, not there)]
    assert path.read_bytes() == (b"mine" if there else FILES[0].shipped())
    assert os.listdir(tmp_path) == ["fields.toml"]


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    assert list(init(tmp_path / "rules", ONE, dry_run=True)) == [Written(tmp_path / "rules" / "fields.toml", True)]
    assert os.listdir(tmp_path) == []
    (tmp_path / "fields.toml").write_text("mine")
    assert list(init(tmp_path, ONE, dry_run=True)) == [Written(tmp_path / "fields.toml", False)]


def test_a_folder_that_cannot_be_one_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritten, match="name a folder"):
        list(init(tmp_path / "file", ONE))


KILLED = """
import os, signal, sys
from pathlib import Path
from daemon.rules.folder import init
from daemon.workers import rule_files
os.{at} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
list(init(Path(sys.argv[1]), rule_files()[:1]))
"""


@pytest.mark.parametrize("at", ["fsync", "link"])
def test_a_kill_in_between_leaves_no_half_file_and_nothing_in_the_way(at: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED.format(at=at), str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "fields.toml").exists()
    assert check(tmp_path, FILES) == [], "what was left is no rule file"
    assert list(init(tmp_path, ONE)) == [Written(tmp_path / "fields.toml", True)]
