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

    A CREATE over a record writes its fields into it, as servers do. An UPDATE of a tombstone shows the record again
    with what it held; an UPDATE of nothing shows nothing, as no server would make a record of it.
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
    return Row(version=row.version, data={**row.data, **one.data})
