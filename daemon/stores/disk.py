"""The disk that the data directory is on."""

from __future__ import annotations

import shutil
from pathlib import Path


def disk_at(path: Path) -> tuple[int, int] | None:
    """(bytes used, bytes used and available) of the file system that *path* is on, or would be: what `df` goes by. What
    the file system keeps for root counts as neither."""
    there = next((place for place in (path, *path.resolve().parents) if place.exists()), None)
    if there is None:
        return None
    usage = shutil.disk_usage(there)
    return usage.used, usage.used + usage.free
