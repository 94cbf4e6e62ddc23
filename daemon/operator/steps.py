"""What became of the parts of something that is set up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

State: TypeAlias = Literal["ok", "made", "changed", "planned", "warn", "error"]
"""ok: it was as it should be. planned: it would be made or changed. warn: a person should look at it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line. *do*: what a person has to do, "" for nothing."""

    part: str
    state: State
    text: str
    do: str = ""

    def __str__(self) -> str:
        return f"{self.state:7}  {self.part}: {self.text}" + (f" → {self.do}" if self.do else "")


def document(steps: Sequence[Step]) -> dict[str, Any]:
    """As JSON."""
    shown = [{"part": one.part, "state": one.state, "text": one.text, "do": one.do} for one in steps]
    changes = sum(one.state in ("made", "changed", "planned") for one in steps)
    return {"ok": sound(steps), "changes": changes, "steps": shown}


def sound(steps: Sequence[Step]) -> bool:
    """Whether nothing is wrong."""
    return all(one.state != "error" for one in steps)
