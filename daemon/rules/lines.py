"""The line of a key in TOML that parses. `tomllib` tells lines of errors of syntax alone.

Used only where something is wrong: it parses the beginning of the text again, some fifteen times for a key.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from functools import partial
from typing import Any, Final

from daemon.rules.problems import KeyPath

_TOKEN: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'"
    r"|\#[^\n]*"
    r"|[\[\]{}\n]",
    re.DOTALL,
)


class Lines:
    """The lines of *text*, which is TOML without a fault of syntax."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._ends = _ends(text)
        self._documents: dict[int, Any] = {}

    def of(self, path: KeyPath) -> int:
        """The first line of the statement that gives what *path* leads to, or as much of it as is there, a value."""
        whole = len(self._ends) - 1
        there = existing(self._document(whole), path)
        if not there:
            return 1
        # a beginning with one statement more has all that the one before it has
        found = bisect_left(range(whole), True, key=partial(self._has, there))
        start = self._ends[found - 1] if found else 0
        return self._text.count("\n", 0, start) + 1

    def _has(self, path: KeyPath, statement: int) -> bool:
        return existing(self._document(statement), path) == path

    def _document(self, statement: int) -> Any:
        """What the text says to the end of that statement."""
        if statement not in self._documents:
            try:
                self._documents[statement] = tomllib.loads(self._text[: self._ends[statement]])
            except RecursionError:  # it parsed before, a few calls further from the end of the stack
                self._documents[statement] = {}
        return self._documents[statement]


def existing(document: Any, path: KeyPath) -> KeyPath:
    """The beginning of *path* that leads to something in *document*."""
    for length, part in enumerate(path):
        if isinstance(document, list):
            has = part in range(len(document))
        else:
            has = isinstance(document, dict) and part in document
        if not has:
            return path[:length]
        document = document[part]
    return path


def _ends(text: str) -> list[int]:
    """Where each statement ends: a line, or the lines of a value with brackets or triple quotes. The last one is the
    length of *text*."""
    ends, depth = [], 0
    for token in _TOKEN.finditer(text):
        match token[0]:
            case "[" | "{":
                depth += 1
            case "]" | "}":
                depth -= 1
            case "\n" if depth == 0:
                ends.append(token.end())
    return ends if ends and ends[-1] == len(text) else [*ends, len(text)]
