"""Paths as people mistype them: with one slash too many, or nearly that of another receiver."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Final

ALIKE: Final = 0.4
"""How alike two paths must be for one to be named for the other; 1 is equal."""

COMPARED: Final = 200
"""Characters of a path that are compared."""


def clean(path: str) -> str:
    """*path* without doubled and trailing slashes."""
    return "/" + "/".join(part for part in path.split("/") if part)


def nearest(path: str, served: Collection[str]) -> str | None:
    """The one of *served* that *path* is most like, or None."""
    found = difflib.get_close_matches(path[:COMPARED].lower(), served, n=1, cutoff=ALIKE)
    return found[0] if found else None
