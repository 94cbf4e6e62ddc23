"""What is wrong with a rule file: one line each, with the place and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from schemas.errors import FerrymanError

KeyPath: TypeAlias = tuple[str | int, ...]
"""The way to a value within a document: keys of tables, and positions in lists from 0."""

MOST_SHOWN: Final = 60
"""Characters of a foreign text that a problem repeats."""


class Fault(NamedTuple):
    """What is wrong at a place of a document: what, and what to do."""

    path: KeyPath
    text: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A line for the operator. *file*: the file or folder as it is to be shown. *line*: from 1, None: of no line.
    *key*: the key, "" for the file as a whole; positions in lists count from 1."""

    file: str
    line: int | None
    key: str
    text: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.text) if part)


class WrongRules(FerrymanError):
    """The rule files cannot be used. *problems*: all of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        head = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{head} in the rules:\n" + "\n".join(f"  {problem}" for problem in self.problems))


def visible(text: str, most: int = MOST_SHOWN) -> str:
    """*text* with escapes in place of what is not printable, and cut."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:most])
    return shown if len(text) <= most else f"{shown}…"


def shown_path(path: Path | None) -> str:
    """A path, whole, with escapes in place of what is not printable."""
    return visible(str(path), most=10_000)


def key_of(path: KeyPath) -> str:
    """*path* as an operator reads it: ("rules", 0, "then") is rules[1].then."""
    parts = [f"[{part + 1}]" if isinstance(part, int) else f".{visible(part)}" for part in path]
    return "".join(parts).removeprefix(".")
