"""A record as its writer sees it: the server's row, with the operations on top that the server has not taken yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from schemas.records.operation import Verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A record of a server: its *version* there, and its fields. *deleted*: a tombstone, which may still hold the
    fields that the record had."""

    version: int
    data: Mapping[str, Any]
    deleted: bool = False


class Written(Protocol):
    """What of an operation shows in its record. `schemas.records.operation.Operation` is one."""

    @property
    def operation(self) -> Verb:
        """CREATE, UPDATE or DELETE."""

    @property
    def data(self) -> Mapping[str, Any]:
        """The fields that it writes."""


def overlaid(base: Row | None, operations: Iterable[Written]) -> Row | None:
    """*base* with *operations* on top, in their order; None: there is no record. The version stays that of *base*.

    It shows what a server makes of them: a CREATE of a record that is there writes its fields into it, one of a
    tombstone begins anew; an UPDATE of a tombstone brings back what it held, an UPDATE of nothing makes nothing.
    """
    row = base
    for one in operations:
        row = _with(row, one)
    return row


def _with(row: Row | None, one: Written) -> Row | None:
    if one.operation == "DELETE":
        return None if row is None else Row(version=row.version, data=row.data, deleted=True)
    if row is None:
        return Row(version=0, data=dict(one.data)) if one.operation == "CREATE" else None
    kept = {} if row.deleted and one.operation == "CREATE" else row.data
    return Row(version=row.version, data={**kept, **one.data})


class Open(Written, Protocol):
    """An operation that lies on top of a server's row."""

    @property
    def base_version(self) -> int | None:
        """The version that its author saw."""


def seen_version(version: int, operations: Iterable[Open], verb: Verb, fields: Iterable[str]) -> int:
    """The version that the author of a new operation saw, of the server's row at *version* with *operations* on top.

    What those write hides what the server has there: a value of another's that came in meanwhile was not seen, and must
    not pass for known. A deletion hides the whole record, and takes what is hidden with it.
    """
    written = frozenset(fields)
    for one in operations:
        hides = "DELETE" in (one.operation, verb) or not written.isdisjoint(one.data)
        if hides and one.base_version is not None:
            version = min(version, one.base_version)
    return version
