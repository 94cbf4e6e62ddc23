"""The cursor of a pull: how far a reader has come, in which history, and with what rights.

It is opaque to its holder. Its seal makes for clear errors and is no secret: rights are looked at on every page.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

import orjson

from adapters.postgres.records.feed import Head

Reason: TypeAlias = Literal["compacted", "epoch", "feed", "scope"]

REASONS: Final[tuple[Reason, ...]] = ("compacted", "epoch", "feed", "scope")
"""Why a reader has to begin anew: it was away for longer than deletions are kept; the history went back, or an operator
has said so; the cursor is another server's; what its holder reads has changed."""

LONGEST: Final = 1000
REMEMBERED: Final = 2_000
"""Cursors that need not be read and written anew."""

_VERSION: Final = 1
_SEAL: Final = 8
_MOST: Final = 2**63 - 1


class Unreadable(ValueError):
    """The text is no cursor, or is not as it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """*seq*: the reader has every change up to it. *snap*: the head when it began; it never had what was deleted
    before. *end*: where the round under way ends; 0: none is. *scope*: what it reads, as a hash. *mseq*, *mark*: proof
    of the history that it has seen."""

    feed: UUID
    epoch: int
    seq: int
    snap: int
    end: int
    scope: str
    mseq: int
    mark: UUID

    def __str__(self) -> str:
        return _written(self)

    def expired(self, head: Head) -> Reason | None:
        """Why it cannot be gone on from in the history of *head*, whatever is read; None: it can."""
        if self.feed != head.feed:
            return "feed"
        if self.epoch != head.epoch or max(self.seq, self.mseq) > head.seq:
            return "epoch"
        if not head.is_known:  # compaction takes the marks up to its horizon
            return "compacted" if self.mseq <= head.horizon else "epoch"
        return "compacted" if max(self.seq, self.snap) < head.horizon else None


# a replica that has nothing new sends the cursor that it was given, again and again
@lru_cache(maxsize=REMEMBERED)
def _written(cursor: Cursor) -> str:
    told = orjson.dumps({"v": _VERSION} | {name: getattr(cursor, name) for name in cursor.__slots__})
    return base64.urlsafe_b64encode(told + _seal(cursor.feed, told)).rstrip(b"=").decode()


@lru_cache(maxsize=REMEMBERED)
def read_cursor(text: str) -> Cursor:
    """The cursor of a text. Raises: Unreadable."""
    try:
        if len(text) > LONGEST:
            raise Unreadable
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        told, seal = raw[:-_SEAL], raw[-_SEAL:]
        cursor = _read(orjson.loads(told))
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise Unreadable("the cursor cannot be read") from None
    if not hmac.compare_digest(seal, _seal(cursor.feed, told)):
        raise Unreadable("the cursor was changed")
    return cursor


def _read(told: Any) -> Cursor:
    """Raises: ValueError, KeyError, TypeError, AttributeError where *told* is no cursor."""
    if not isinstance(told, dict) or told["v"] != _VERSION:
        raise Unreadable
    scope = told["scope"]
    if not isinstance(scope, str):
        raise Unreadable
    return Cursor(
        feed=UUID(told["feed"]),
        epoch=_number(told["epoch"]),
        seq=_number(told["seq"]),
        snap=_number(told["snap"]),
        end=_number(told["end"]),
        scope=scope,
        mseq=_number(told["mseq"]),
        mark=UUID(told["mark"]),
    )


def _number(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= _MOST:
        raise Unreadable
    return given


def _seal(feed: UUID, told: bytes) -> bytes:
    return hmac.digest(b"ferryman sync cursor " + feed.bytes, told, sha256)[:_SEAL]
