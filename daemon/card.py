"""The file by which a command on this machine finds a process that runs, and hears from it.

    FERRYMAN_DATA_DIR/running/PID      locked by the process while it lives; JSON: what the process says of itself

A lock, not a mere file, tells that the process lives: what a killed process left is no longer locked.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

_FOLDER: Final = "running"
_MOST: Final = 100_000  # bytes that are read of a card


@dataclass(frozen=True, slots=True)
class Found:
    """A process that runs, and the latest that it has said; {} where it is just saying something else."""

    pid: int
    said: dict[str, Any]


class Card:
    """The card of this process."""

    def __init__(self, file: IO[bytes]) -> None:
        """*file*: without a buffer, which would keep what a full disk did not take, and fail once more at its close."""
        self._file = file

    def say(self, what: dict[str, Any]) -> None:
        """Put *what* in place of what was said before. Raises: OSError where the disk does not take it."""
        self._file.seek(0)
        self._file.truncate()
        self._file.write(json.dumps(what).encode())


@contextmanager
def card(data_dir: Path) -> Iterator[Card]:
    """The card of this process until the context ends. Raises: OSError where *data_dir* cannot be written."""
    folder = data_dir / _FOLDER
    os.makedirs(data_dir, mode=0o711, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    _sweep(folder)
    path = folder / str(os.getpid())
    with _locked(path) as file:
        try:
            yield Card(file)
        finally:
            path.unlink(missing_ok=True)


def _locked(path: Path) -> IO[bytes]:
    """A new file at *path* that is locked by us."""
    while True:
        path.unlink(missing_ok=True)  # of a killed process that had this number
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "r+b", 0)
        fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():
            return file
        file.close()  # another process took it for one that a killed process had left


def _sweep(folder: Path) -> None:
    """Remove what killed processes have left."""
    for path in folder.glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError), path.open() as file:
            if _is_free(file):
                path.unlink()


def running(data_dir: Path) -> list[Found]:
    """The processes with a card in *data_dir*, in the order of their numbers. Raises: OSError where it cannot be
    read."""
    found = []
    for path in (data_dir / _FOLDER).glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError), path.open() as file:
            if not _is_free(file):
                found.append(Found(int(path.name), _said(file.read(_MOST))))
    return sorted(found, key=lambda one: one.pid)


def _is_free(file: IO[Any]) -> bool:
    """Whether no process has the lock of *file*. A shared lock is tried, so that two commands do not see each other."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _said(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}
