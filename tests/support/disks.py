"""Small disks that tests fill."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Mounted:
    """A small file system, and a file in it that takes what room there is."""

    def __init__(self, root: Path) -> None:
        self._ballast = root / "ballast"

    def fill(self) -> None:
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (1_000_000, 4096, 1):
                while self._fits(ballast, size):
                    continue

    @staticmethod
    def _fits(ballast: io.FileIO, size: int) -> bool:
        try:
            return ballast.write(bytes(size)) == size
        except OSError as exc:
            if exc.errno != errno.ENOSPC:
                raise
            return False

    def free(self) -> None:
        self._ballast.unlink()


@contextmanager
def mounted(root: Path, size: str) -> Iterator[bool]:
    """A file system of *size* at *root*; false where this user may not mount."""
    root.mkdir(parents=True)
    if shutil.which("mount") is None or os.geteuid() != 0:
        yield False
        return
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "tmpfs", root], capture_output=True)
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", root], check=True)
