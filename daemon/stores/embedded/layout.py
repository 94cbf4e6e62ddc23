"""What lies in a data directory, and how other data are put in the place of those that are there: all or nothing.

`restore.partial` is being made; whoever opens the installation drops it. Once it is complete it is renamed to
`restore.ready`: from then on the new data count. What is there goes into `replaced-…` inside it, it is renamed to
`restore.moving`, and what it holds goes up into the data directory. After a crash the next opening goes on with that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PARTIAL: Final = "restore.partial"
READY: Final = "restore.ready"
MOVING: Final = "restore.moving"
REPLACED: Final = "replaced-"
"""How the name begins of a directory with what a restore has replaced."""

_STORES: Final = frozenset({"valkey", "postgres", "postgres.partial", "postgres.password", "postgres.access"})
_STAYS: Final = frozenset({"lock", "demo", PARTIAL, READY, MOVING})
_PASSING: Final = (".log", ".running", ".new")


def own(data_dir: Path) -> Iterator[Path]:
    """What belongs to the installation in *data_dir*, its stores included; not the locks, the demo, or what earlier
    restores replaced."""
    if data_dir.is_dir():
        yield from (
            path
            for path in sorted(data_dir.iterdir())
            if path.name not in _STAYS and not path.name.startswith(REPLACED) and not _passes(path)
        )


def beside_the_stores(data_dir: Path) -> Iterator[Path]:
    """The plain files of the installation that no store keeps: keys, tokens, the archive."""
    for top in own(data_dir):
        if top.name in _STORES or top.is_symlink():
            continue
        for directory, folders, names in os.walk(top) if top.is_dir() else [(str(top.parent), [], [top.name])]:
            folders.sort()
            files = (Path(directory) / name for name in sorted(names))
            yield from (path for path in files if path.is_file() and not path.is_symlink() and not _passes(path))


def restored(data_dir: Path) -> bool:
    """Whether data that a restore has made wait to be put in place."""
    return (data_dir / READY).is_dir() or (data_dir / MOVING).is_dir()


def commit(data_dir: Path, replaced: str) -> None:
    """From now on the data in `restore.partial` count. *replaced*: the name for what is there."""
    (data_dir / PARTIAL / (REPLACED + replaced)).mkdir(mode=0o700)
    _sync_tree(data_dir / PARTIAL)
    (data_dir / PARTIAL).rename(data_dir / READY)
    _sync(data_dir)


def settle(data_dir: Path) -> None:
    """Finish a restore that has counted, and drop one that has not. To be called under the lock of *data_dir*."""
    ready, moving = data_dir / READY, data_dir / MOVING
    if ready.is_dir():
        (aside,) = ready.glob(f"{REPLACED}*")
        for path in own(data_dir):
            path.rename(aside / path.name)
        _sync(ready)
        ready.rename(moving)
        _sync(data_dir)
    if moving.is_dir():
        for path in sorted(moving.iterdir()):
            if path.name == "lock" or _passes(path):
                path.unlink()
            elif path.name.startswith(REPLACED) and not any(path.iterdir()):
                path.rmdir()  # nothing was there
            else:
                path.rename(data_dir / path.name)
        _sync(data_dir)
        moving.rmdir()
    shutil.rmtree(data_dir / PARTIAL, ignore_errors=True)


def _passes(path: Path) -> bool:
    return path.suffix in _PASSING and not path.is_dir()


def _sync_tree(top: Path) -> None:
    for directory, _, names in os.walk(top):
        for name in names:
            _sync(Path(directory) / name)
        _sync(Path(directory))


def _sync(path: Path) -> None:
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
