"""How a domain declares what it counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric: its kind, what it tells, its labels. *buckets*: upper bounds in seconds, of a histogram.

    *values*: label -> its values, for a label that belongs to this metric alone; those of the other labels are the
    names of the process's workers, sources and channels.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
