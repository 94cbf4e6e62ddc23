"""A pull as it is asked for and answered, and why its cursor is not gone on from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from daemon.records.pulling.cursor import Cursor, Reason
from schemas.errors import FerrymanError

MOST_ROWS: Final = 1000
"""Of one page."""

MOST_BYTES: Final = 4_000_000
"""Of one page; a single record that is larger goes alone."""

LONGEST_WAIT_S: Final = 30.0

_WHY: Final[dict[Reason, str]] = {
    "compacted": "what was deleted since this cursor is not known here any more",
    "epoch": "this server's history is not the one that the cursor has seen",
    "feed": "the cursor is of another server",
    "scope": "the cursor was given for other records than this token, or these models, read",
}


class Expired(FerrymanError):
    """The cursor cannot be gone on from: its holder pulls from the beginning, and keeps its own operations."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"{_WHY[reason]}: pull again without `since`, and keep what is not pushed yet")
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class PullIn:
    """*since*: the cursor of the page before; None: from the beginning. *models*: these alone; None: all. *stamps*:
    with the stamps of fields."""

    since: Cursor | None = None
    models: frozenset[str] | None = None
    limit: int = MOST_ROWS
    wait_s: float = 0.0
    stamps: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PullOut:
    """A page. *changes*: as JSON has them. *more*: the round goes on with *cursor*. *schema*: which models there are,
    as a hash."""

    changes: Sequence[dict[str, Any]] = field(repr=False)
    cursor: Cursor
    more: bool
    server_time: datetime
    schema: str

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "changes": self.changes,
            "cursor": str(self.cursor),
            "more": self.more,
            "server_time": self.server_time,
            "schema": self.schema,
            "feed": self.cursor.feed,
        }
