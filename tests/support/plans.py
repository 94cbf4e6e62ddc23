"""Query plans as EXPLAIN (FORMAT JSON) gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """*plan* and all that is below it."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)
