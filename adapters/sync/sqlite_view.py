"""What users see of a replica's file: the copied rows with the open operations on top.

A row with open operations has its outcome in `overlay`; all others are read from the copy itself.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from schemas.records.operation import Key, Verb
from schemas.records.overlay import Row, overlaid

_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_SEEN: Final = """
SELECT model, id, version, data, pending FROM (
    SELECT o.model, o.id, COALESCE(b.version, 0) AS version, o.data, 1 AS pending
    FROM overlay o LEFT JOIN base b ON b.model = o.model AND b.id = o.id
    WHERE o.model = :model AND o.id > :after AND o.data IS NOT NULL
    UNION ALL
    SELECT b.model, b.id, b.version, b.data, 0
    FROM base b
    WHERE b.model = :model AND b.id > :after AND b.deleted = 0
      AND NOT EXISTS (SELECT 1 FROM overlay o WHERE o.model = b.model AND o.id = b.id)
)
"""


class Record(Mapping[str, Any]):
    """A record as it is seen here: its fields by name. *version*: of the server's row that it is made of; 0: the server
    has told of none yet. *pending*: something of it has still to reach the server, or to come back from there."""

    __slots__ = ("_data", "id", "model", "pending", "version")

    def __init__(self, model: str, record_id: str, version: int, data: Mapping[str, Any], *, pending: bool) -> None:
        self.model = model
        self.id = record_id
        self.version = version
        self.pending = pending
        self._data = data

    def __getitem__(self, field: str) -> Any:
        return self._data[field]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        return f"<{self.model} {self.id}, version {self.version}>"  # its fields belong in no log


class Open(NamedTuple):
    """What of an open operation shows in its record. *base_version*: what its author saw."""

    operation: Verb
    data: Mapping[str, Any]
    base_version: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen of a record. *row* None: nothing. *version*: of the copied row, 0 for none."""

    row: Row | None
    version: int
    pending: bool


def seen(connection: sqlite3.Connection, model: str, record_id: str) -> Seen:
    """What is seen of a record."""
    base = based(connection, model, record_id)
    version = 0 if base is None else base.version
    over = connection.execute("SELECT data FROM overlay WHERE model = ? AND id = ?", (model, record_id)).fetchone()
    if over is None:
        return Seen(None if base is None or base.deleted else base, version, False)
    row = None if over[0] is None else Row(version=version, data=orjson.loads(over[0]))
    return Seen(row, version, True)


def based(connection: sqlite3.Connection, model: str, record_id: str) -> Row | None:
    """The copied row; None: there is none."""
    found = connection.execute(
        "SELECT version, deleted, data FROM base WHERE model = ? AND id = ?", (model, record_id)
    ).fetchone()
    if found is None:
        return None
    version, deleted, data = found
    return Row(version=version, data={} if data is None else orjson.loads(data), deleted=bool(deleted))


def listed(
    connection: sqlite3.Connection, model: str, where: Mapping[str, Any], limit: int, after: str
) -> list[Record]:
    """The records of *model* whose fields have the values of *where*, by their ids, from behind *after*. Raises:
    ValueError: a value or a field that cannot be asked for."""
    asked, values = "", {"model": model, "after": after, "limit": limit}
    for n, (field, value) in enumerate(where.items()):
        if not _FIELD.fullmatch(field):
            raise ValueError("a field is asked for by its name")
        if not isinstance(value, str | int | float | None):
            raise ValueError("only texts, numbers, true, false and None can be asked for")
        asked += f" {'AND' if asked else 'WHERE'} json_extract(data, '$.{field}') IS :v{n}"
        values[f"v{n}"] = value
    rows = connection.execute(f"{_SEEN}{asked} ORDER BY id LIMIT :limit", values)
    return [Record(kind, name, version, orjson.loads(data), pending=bool(p)) for kind, name, version, data, p in rows]


def show(connection: sqlite3.Connection, model: str, record_id: str, row: Row | None) -> None:
    """Show *row* of a record that has open operations; None: nothing."""
    text = None if row is None or row.deleted else orjson.dumps(dict(row.data)).decode()
    connection.execute(
        "INSERT INTO overlay VALUES (?, ?, ?) ON CONFLICT (model, id) DO UPDATE SET data = excluded.data",
        (model, record_id, text),
    )


def show_anew(connection: sqlite3.Connection, keys: Iterable[Key]) -> None:
    """Make what is seen of the records *keys* from their rows and open operations."""
    for model, record_id in keys:
        on_top = connection.execute(
            "SELECT operation, data FROM operations WHERE open = 1 AND model = ? AND record_id = ? ORDER BY n",
            (model, record_id),
        ).fetchall()
        if not on_top:
            connection.execute("DELETE FROM overlay WHERE model = ? AND id = ?", (model, record_id))
            continue
        operations = [Open(verb, orjson.loads(data)) for verb, data in on_top]
        show(connection, model, record_id, overlaid(based(connection, model, record_id), operations))
