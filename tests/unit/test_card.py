"""The card of a process: found while it lives, and only then."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon.card import Found, card, running

ROOT = Path(__file__).parents[2]
OTHER = """
import sys
from pathlib import Path
from daemon.card import card
with card(Path(sys.argv[1])) as mine:
    mine.say({"n": 1})
    print("there", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process with a card."""
    argv = [sys.executable, "-c", OTHER, str(data_dir)]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, env={"PYTHONPATH": str(ROOT)}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_process_is_found_with_what_it_says_last(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    assert running(data_dir) == []
    with card(data_dir) as mine:
        assert running(data_dir) == [Found(os.getpid(), {})]
        mine.say({"text": "a long one"})
        mine.say({"n": 2})
        assert running(data_dir) == [Found(os.getpid(), {"n": 2})]
        with other(data_dir) as process:
            found = sorted([Found(process.pid, {"n": 1}), Found(os.getpid(), {"n": 2})], key=lambda one: one.pid)
            assert running(data_dir) == found
    assert running(data_dir) == []


def test_a_killed_process_is_not_found_and_what_it_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with other(tmp_path) as process:
        left = tmp_path / "running" / str(process.pid)
    assert left.exists()
    assert running(tmp_path) == []
    with card(tmp_path):
        assert not left.exists()
        assert [path.name for path in (tmp_path / "running").iterdir()] == [str(os.getpid())]


def test_only_the_owner_may_read_a_card(tmp_path: Path) -> None:
    with card(tmp_path / "data"):
        folder = tmp_path / "data" / "running"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / str(os.getpid())).stat().st_mode) == 0o600


def test_a_data_directory_that_is_a_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(OSError, match="data"), card(tmp_path / "data"):
        pass
