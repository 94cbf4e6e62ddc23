"""Words in any column of any table: counted, and taken out where they are somebody else's row.

Tables are read piece by piece, so that no statement takes long.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

from adapters.postgres.pool import Connection, Pool

PAGES: Final = 2000
"""Blocks of a table that one statement reads: 16 MB, and what was put outside of it."""

UNSEARCHED: Final = frozenset({"erasure_subjects", "schema_migrations"})
"""The first one holds the words while an erasure goes on."""

_KINDS: Final = ("text", "character varying", "jsonb", "json", "uuid", "text[]", "uuid[]", "bytea")
_SEALED: Final = frozenset({("credentials", "secret"), ("subscribers", "secrets"), ("erasure_marks", "digest")})
_DELETED: Final = frozenset({("refused_requests", '"body"'), ("operator_reveals", '"subject"')})
"""Columns whose rows go where they hold the words: what would be left of them is of no use."""

_WHOLE_EVENTS: Final = {
    "event_journal": "id",
    "spool": "id",
    "outbox": "id",
    "payloads": "event_id",
    "event_conflicts": "event_id",
    "dead_letters": "event_id",
}
"""Tables with the data of events, and the column of the event's id."""

_TABLES: Final = """
SELECT c.oid::regclass::text AS name, coalesce(pg_partition_root(c.oid), c.oid)::regclass::text AS root,
       pg_relation_size(c.oid) / current_setting('block_size')::int AS blocks
FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' ORDER BY 1
"""
_COLUMNS: Final = """
SELECT attname::text AS name, format_type(atttypid, atttypmod) AS kind, attgenerated <> '' AS made
FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_EVERY: Final = """
SELECT c.relname::text AS table, a.attname::text AS column
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY 1, a.attnum
"""


class Column(NamedTuple):
    """A column that may hold words. *made*: of other columns, so it cannot be written."""

    name: str
    kind: str
    made: bool

    @property
    def text(self) -> str:
        """Its words, in SQL."""
        return f"encode(t.{self.name}, 'escape')" if self.kind == "bytea" else f"t.{self.name}::text"


class Searched(NamedTuple):
    """A table to search. *root*: the name that it has for everybody, where it is one day of a table of days."""

    name: str
    root: str
    blocks: int
    columns: Sequence[Column]


async def every_column(conn: Connection | Pool) -> list[tuple[str, str]]:
    """Every (table, column) of the schema; a table of days once."""
    return [(row["table"], row["column"]) for row in await conn.fetch(_EVERY)]


async def tables(pool: Pool) -> list[Searched]:
    """The tables that may hold words."""
    found = []
    for name, root, blocks in await pool.fetch(_TABLES):
        if root in UNSEARCHED or not blocks:
            continue
        columns = [
            Column(f'"{row["name"]}"', row["kind"], row["made"])
            for row in await pool.fetch(_COLUMNS, name)
            if row["kind"] in _KINDS and (root, row["name"]) not in _SEALED
        ]
        if columns:
            found.append(Searched(name, root, blocks, columns))
    return found


def _pieces(table: Searched) -> range:
    return range(0, table.blocks + 1, PAGES)


async def holding(pool: Pool, table: Searched, pattern: str) -> AsyncIterator[tuple[str, int]]:
    """(column, rows) of *table* whose words have *pattern*, a regular expression of Postgres."""
    either = f"concat_ws(E'\\n', {', '.join(column.text for column in table.columns)}) ~* $1"
    each = ", ".join(f"count(*) FILTER (WHERE {column.text} ~* $1)" for column in table.columns)
    found = [0] * len(table.columns)
    for first in _pieces(table):
        query = f"SELECT {each} FROM (SELECT * FROM {table.name} t WHERE {_within(first)} AND {either}) t"  # noqa: S608
        row = await pool.fetchrow(query, pattern, timeout=60)
        found = [count + more for count, more in zip(found, row or (), strict=True)]
    for column, count in zip(table.columns, found, strict=True):
        if count:
            yield column.name.strip('"'), count


async def take_out(pool: Pool, table: Searched, pattern: str, instead: str) -> int:
    """Put *instead* in the place of *pattern* in all words of *table*; returns in how many columns of rows. Rows
    of _DELETED go."""
    count = 0
    named = {column async for column, _ in holding(pool, table, pattern)}
    for column in table.columns:
        if column.name.strip('"') not in named or (statement := _statement(table, column)) is None:
            continue
        arguments = (pattern,) if statement.startswith("DELETE") else (pattern, instead)
        for first in _pieces(table):
            done = await pool.execute(f"{statement} AND {_within(first)}", *arguments, timeout=60)
            count += int(done.rpartition(" ")[2])
    return count


async def events_naming(conn: Connection, pattern: str) -> list[str]:
    """The events that are kept whole and whose data have *pattern*."""
    found: list[str] = []
    for name, root, blocks in await conn.fetch(_TABLES):
        if (column := _WHOLE_EVENTS.get(root)) is None:
            continue
        for first in range(0, blocks + 1, PAGES):
            query = f"SELECT {column} FROM {name} t WHERE {_within(first)} AND t.data ~ $1"  # noqa: S608 - constants
            found += [row[0] for row in await conn.fetch(query, pattern, timeout=60)]
    return found


def _statement(table: Searched, column: Column) -> str | None:
    """What takes the words out of *column*; None where nothing does: an id of another row goes with that row."""
    if (table.root, column.name) in _DELETED:
        return f"DELETE FROM {table.name} t WHERE {column.text} ~* $1"  # noqa: S608 - names of the catalogue
    if column.made or column.kind in ("uuid", "uuid[]", "bytea"):
        return None
    new = f"regexp_replace({column.text}, $1, $2, 'gi')::{column.kind}"
    return f"UPDATE {table.name} t SET {column.name} = {new} WHERE {column.text} ~* $1"  # noqa: S608 - as above


def _within(first: int) -> str:
    return f"t.ctid >= '({first},0)'::tid AND t.ctid < '({first + PAGES},0)'::tid"
