"""An operation of a replica on a record, as it is pushed.

A push holds many of them, and each is read by itself: one that cannot be read is rejected, and the others go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast
from uuid import UUID

import orjson

Verb: TypeAlias = Literal["CREATE", "UPDATE", "DELETE"]
VERBS: Final = ("CREATE", "UPDATE", "DELETE")

Key: TypeAlias = tuple[str, str]
"""What names a record: model and id."""

MOST_OPERATIONS: Final = 50
"""In one push."""

MOST_BYTES: Final = 256 * 1024
"""Of one operation, as JSON without spaces."""

MOST_FIELDS: Final = 200
DEEPEST: Final = 64
LONGEST_ID: Final = 200
LONGEST_NAME: Final = 100
MOST_VERSION: Final = 2**53 - 1
"""Versions go through JSON parsers that know no larger number."""

_KEYS: Final = frozenset(
    {
        "op_id",
        "operation",
        "model",
        "record_id",
        "data",
        "base_version",
        "base",
        "changed_at",
        "tick",
        "origin",
        "user_id",
    }
)


@dataclass(slots=True, kw_only=True)  # not frozen, which takes nearly three times as long to make; nobody changes it
class Operation:
    """What a replica did to a record while nobody looked.

    *base_version*: the server's version that its author saw; 0: none. None: it was not said. *base*: what its author
    saw in the fields of *data*, as far as it is told. *changed_at*: by the replica's own clock; None: when it is
    pushed. *tick* orders operations of one millisecond. *origin*: the replica where its author made it, where that is
    another than the one that pushes. *user_id*: the author, where an edge pushes it.

    *only_at*: at which versions alone it applies, of an author who looks at the record while they write (no replica
    pushes that); empty: at any, as long as it is there. A CREATE with it applies only where nothing is there.
    """

    op_id: UUID
    operation: Verb
    model: str
    record_id: str
    data: Mapping[str, Any]
    base_version: int | None = None
    base: Mapping[str, Any] | None = None
    changed_at: datetime | None = None
    tick: int = 0
    origin: str | None = None
    user_id: str | None = None
    only_at: frozenset[int] | None = None
    _id: str = field(default="", init=False, repr=False, compare=False)

    @property
    def id(self) -> str:
        """Its op_id as text."""
        if not self._id:
            self._id = str(self.op_id)
        return self._id

    @property
    def key(self) -> Key:
        """Its record: model and id."""
        return self.model, self.record_id

    def digest(self) -> bytes:
        """What the ledger remembers of it: the same operation pushed again has the same digest."""
        data = self.data if type(self.data) is dict else dict(self.data)
        said = [self.operation, self.model, self.record_id, data]
        return sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest()


class Unread(NamedTuple):
    """An operation that cannot be read. *op_id*: as it was sent, where that is a text."""

    op_id: str | None
    reason: str
    detail: str


def read_operation(raw: object) -> Operation | Unread:
    """*raw*, a parsed JSON value, as an operation; what is wrong with it where it is none. Nothing of its data is
    repeated."""
    if not isinstance(raw, dict):
        return Unread(None, "type", "an operation must be a JSON object")
    given = raw.get("op_id")
    said = given if isinstance(given, str) and len(given) <= LONGEST_ID and _is_text(given) else None
    try:
        text = orjson.dumps(raw)
        if len(text) > MOST_BYTES:
            return Unread(said, "too-large", f"an operation has at most {MOST_BYTES // 1024} KiB: split its data")
        if b"\\u0000" in text and _holds_nul(raw):
            return Unread(said, "type", "a text of it holds U+0000, which no database keeps")
        return _read(raw, flat=text.count(b"[") + text.count(b"{") <= DEEPEST)
    except _Wrong as wrong:
        return Unread(said, wrong.reason, str(wrong))
    except (orjson.JSONEncodeError, RecursionError):
        detail = "it is nested too deep, or holds what JSON cannot: a decimal is written as a text, a set as a list"
        return Unread(said, "type", detail)


def _is_text(value: str) -> bool:
    """Whether *value* can be told: half a surrogate pair cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Wrong(Exception):
    def __init__(self, detail: str, reason: str = "type") -> None:
        self.reason = reason
        super().__init__(detail)


def _read(raw: Mapping[str, Any], *, flat: bool) -> Operation:
    """*flat*: it holds too few lists and objects to be nested too deep."""
    if unknown := sorted(str(key)[:40] for key in raw.keys() - _KEYS):
        raise _Wrong(f"an operation has no member {', '.join(unknown[:5])}", "field")
    verb = raw.get("operation")
    if verb not in VERBS:
        raise _Wrong(f"operation must be one of {', '.join(VERBS)}")
    return Operation(
        op_id=_op_id(raw.get("op_id")),
        operation=cast(Verb, verb),
        model=_name(raw, "model", LONGEST_NAME),
        record_id=_name(raw, "record_id", LONGEST_ID),
        data=_fields(raw, "data", flat=flat) or {},
        base_version=_whole(raw, "base_version", MOST_VERSION),
        base=_fields(raw, "base", flat=flat),
        changed_at=_moment(raw.get("changed_at")),
        tick=_whole(raw, "tick", 2**31 - 1) or 0,
        origin=_name(raw, "origin", LONGEST_ID) if raw.get("origin") is not None else None,
        user_id=_name(raw, "user_id", LONGEST_NAME) if raw.get("user_id") is not None else None,
    )


def _op_id(given: object) -> UUID:
    try:
        return UUID(given if isinstance(given, str) else "")
    except ValueError:
        raise _Wrong("op_id must be a UUID, made once for this operation") from None


def _name(raw: Mapping[str, Any], key: str, most: int) -> str:
    value = raw.get(key)
    if isinstance(value, str) and 0 < len(value) <= most and value.isprintable() and value == value.strip():
        return value
    raise _Wrong(f"{key} must be a text of 1 to {most} printable characters")


def _fields(raw: Mapping[str, Any], key: str, *, flat: bool) -> Mapping[str, Any] | None:
    value = raw.get(key)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _Wrong(f"{key} must be a JSON object")
    if len(value) > MOST_FIELDS:
        raise _Wrong(f"{key} has more than {MOST_FIELDS} fields", "too-large")
    if not flat and _depth(value) > DEEPEST:
        raise _Wrong(f"{key} is nested deeper than {DEEPEST} levels", "too-large")
    return value


def _depth(value: object) -> int:
    """How many levels of lists and objects *value* has; counts no further than one more than allowed."""
    level, inside = 0, [value]
    while inside and level <= DEEPEST:
        inside = [
            part
            for one in inside
            if isinstance(one, dict | list)
            for part in (one.values() if isinstance(one, dict) else one)
        ]
        level += 1
    return level


def _holds_nul(value: object) -> bool:
    if isinstance(value, dict):
        return any(_holds_nul(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(_holds_nul(part) for part in value)
    return isinstance(value, str) and "\0" in value


def _whole(raw: Mapping[str, Any], key: str, most: int) -> int | None:
    value = raw.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise _Wrong(f"{key} must be a whole number from 0 to {most}")
    return value


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value if isinstance(value, str) else "")
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise _Wrong("changed_at must be a time as 2026-11-27T09:58:01.250Z") from None
