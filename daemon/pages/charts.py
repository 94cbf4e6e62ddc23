"""Lines of numbers, as the points of an SVG: no library of charts works without inline style or a script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

WIDTH: Final = 240
HEIGHT: Final = 40
EDGE: Final = 2
"""So far the line stays from the edges: half of it would be cut off there."""


def points(numbers: Sequence[float]) -> str:
    """The points of a line through *numbers*, of WIDTH by HEIGHT, the largest at the top and nothing at the bottom."""
    most = max(numbers, default=0) or 1
    step = WIDTH / max(1, len(numbers) - 1)
    high = HEIGHT - 2 * EDGE
    return " ".join(f"{n * step:.5g},{HEIGHT - EDGE - high * max(0, one) / most:.4g}" for n, one in enumerate(numbers))
