"""The room on a disk, as an operator's own tools tell it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from daemon.stores.disk import disk_at


def test_the_share_of_the_disk_is_that_of_df(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: what a file system keeps for root counts neither as used nor as free."""
    usage = SimpleNamespace(total=270, used=26, free=82)
    monkeypatch.setattr("daemon.stores.disk.shutil.disk_usage", lambda path: usage)
    assert disk_at(tmp_path) == (26, 108)
    monkeypatch.undo()
    _, row = subprocess.run(["df", "-P", str(tmp_path)], capture_output=True, text=True, check=True).stdout.splitlines()
    (shown,) = re.findall(r"(\d+)%", row)
    found = disk_at(tmp_path)
    assert found is not None
    assert abs(100 * found[0] / found[1] - int(shown)) <= 1.5


def test_the_disk_of_a_directory_that_is_not_there_yet_is_that_of_its_parent(tmp_path: Path) -> None:
    assert disk_at(tmp_path / "a" / "b") is not None
