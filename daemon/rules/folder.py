"""The shipped rule files, written where an operator can change them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from daemon.rules.files import RuleFile
from schemas.errors import FerrymanError


class NotWritten(FerrymanError):
    """A rule file, or its folder, cannot be written."""


class Written(NamedTuple):
    """A file of the folder: *new*, or one that was there and was left as it is."""

    path: Path
    new: bool


def init(folder: Path, files: Sequence[RuleFile[Any]], *, dry_run: bool = False) -> Iterator[Written]:
    """Write each of *files* into *folder*, which is made where it is missing. What has the name of one is left alone,
    whatever it is. A file is there whole or not at all, also when the process ends meanwhile.

    *dry_run*: what would become of each. Raises: NotWritten.
    """
    try:
        if not dry_run:
            folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            path = folder / file.name
            yield Written(path, not os.path.lexists(path) and (dry_run or _write(path, file.shipped())))
    except OSError as exc:
        raise NotWritten(f"{folder} cannot be written ({exc.strerror}): name a folder that this user may fill") from exc


def _write(path: Path, content: bytes) -> bool:
    """Whether *path* is new. It gets its name when it is whole: a link never takes another file's place."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        with draft.open("xb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        return _named(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _named(draft: Path, path: Path) -> bool:
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError:  # the file system has no hard links
        if os.path.lexists(path):
            return False
        draft.rename(path)
    return True
