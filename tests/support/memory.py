"""Where tests put what is written for one of them alone, as a whole server or a database: into memory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

_PLACE: Final = Path("/dev/shm")
_ROOM: Final = 1 << 30  # bytes for each process of ours: two clusters, their logs at their longest, and some databases


def memory() -> Path | None:
    """A directory in memory with room in it, for everybody to enter and for no programs. None: the usual place."""
    try:
        free = shutil.disk_usage(_PLACE).free if os.access(_PLACE, os.W_OK) else 0
    except OSError:
        free = 0
    return _PLACE if free >= _ROOM * int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) else None
