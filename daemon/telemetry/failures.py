"""An exception as it may be told: its class, and the sentence of the server or library that raised it, where that holds
no data. This is the one place that decides which sentences those are.

A database quotes the values that it refuses: of an error about data only its class, SQLSTATE and constraint are told.
What a database says about accounts, rights, tables, disks and connections names no data, and names the cause.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Final, TypeAlias

from daemon.telemetry.redaction import redact_text
from schemas.errors import FerrymanError

LONGEST: Final = 240
"""Characters of a sentence; the rest is cut."""

_DEEPEST: Final = 6
_MOST_PARTS: Final = 5

_ABOUT_THE_SERVER: Final = frozenset(
    ("08", "0A", "25", "26", "28", "34", "3D", "3F", "40", "42", "53", "54", "55", "57", "58", "F0", "HV", "XX")
)
"""The classes of SQLSTATE whose primary message names no value of a row (PostgreSQL, appendix A)."""

_QUOTED: Final = re.compile(r"""[:'"`\[{].*""", re.DOTALL)
_ARGUMENTS: Final = re.compile(r",? with args beginning with.*", re.DOTALL)

ExcInfo: TypeAlias = "tuple[type[BaseException], BaseException, TracebackType | None]"


@dataclass(frozen=True, slots=True)
class Failure:
    """What may be told of an exception. *kind*: its class, with the SQLSTATE and the constraint of a database's error.
    *sentence*: what its raiser said, in one line; "" where that may hold data."""

    kind: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.sentence}" if self.sentence else self.kind


def failure(exc: BaseException) -> Failure:
    """What may be told of *exc*."""
    sqlstate = getattr(exc, "sqlstate", None)
    about = [sqlstate, getattr(exc, "constraint_name", None)] if isinstance(sqlstate, str) else []
    kind = " ".join([type(exc).__name__, *filter(None, about)])
    return Failure(kind, _one_line(_sentence(exc, sqlstate if isinstance(sqlstate, str) else "")))


def _sentence(exc: BaseException, sqlstate: str) -> str:
    text = str(exc.args[0]) if exc.args else ""
    if isinstance(exc, FerrymanError):
        return str(exc)
    if sqlstate:
        # only the primary message, which is the first argument: the detail and the hint quote rows
        return text if sqlstate[:2] in _ABOUT_THE_SERVER else ""
    if isinstance(exc, OSError):
        return exc.strerror or text or ("no answer in time" if isinstance(exc, TimeoutError) else "")
    if type(exc).__module__.partition(".")[0] == "redis":
        return _ARGUMENTS.sub("", str(exc))
    if isinstance(exc, KeyError):
        return ""  # the key that was looked for
    if isinstance(exc, ValueError | LookupError):
        return _QUOTED.sub("", text)  # these quote what they could not use
    return text


def _one_line(text: str) -> str:
    line = text.strip().partition("\n")[0].strip()
    return redact_text(line if len(line) <= LONGEST else line[: LONGEST - 1] + "…")


def fields(exc: BaseException) -> dict[str, str]:
    """*exc* as fields of a log line."""
    told = failure(exc)
    name, _, about = told.kind.partition(" ")
    found = {"error_class": name, "error": told.sentence}
    if about:
        sqlstate, _, constraint = about.partition(" ")
        found |= {"sqlstate": sqlstate, "constraint": constraint}
    return {field: value for field, value in found.items() if value}


def told_traceback(exc: BaseException) -> str:
    """The traceback of *exc* and of what led to it: lines of code, and of each exception what may be told."""
    return "\n".join(_traceback(exc, 0))


def exception_formatter(exc_info: ExcInfo) -> str:
    """`told_traceback`, as structlog asks for it."""
    return told_traceback(exc_info[1])


def _traceback(exc: BaseException, depth: int) -> Iterator[str]:
    before = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    if before is not None and depth < _DEEPEST:
        yield from _traceback(before, depth + 1)
        yield "which led to:"
    if exc.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        yield "".join(traceback.format_tb(exc.__traceback__)).rstrip("\n")
    yield str(failure(exc))
    if isinstance(exc, BaseExceptionGroup) and depth < _DEEPEST:
        for part in islice(exc.exceptions, _MOST_PARTS):
            yield from (f"  | {line}" for text in _traceback(part, depth + 1) for line in text.split("\n"))
