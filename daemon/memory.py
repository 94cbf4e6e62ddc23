"""The garbage collector, set for a process that lives long and makes little that refers to itself."""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 5000
"""New objects after which the youngest are looked through. The interpreter's 700 are fewer than a second of traffic
holds, so nearly everything in hand was looked through again and again."""


def settled() -> None:
    """Call it once all is built: what is there now stays, and is not looked through any more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 10, 10)
