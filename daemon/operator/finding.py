"""What the doctor says: one finding a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["ok", "warn", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was found, and what to *do* about it, "" when nothing."""

    level: Level
    text: str
    do: str = ""

    def __str__(self) -> str:
        return f"{self.level:5}  {self.text}" + (f" → {self.do}" if self.do else "")


Findings: TypeAlias = Iterator[Finding]


def age(seconds: float) -> str:
    """*seconds* in the unit in which they are read at a glance."""
    if seconds < 120:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
