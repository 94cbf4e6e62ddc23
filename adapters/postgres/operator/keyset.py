"""Pages of a table by their keys: a page begins where another one ended, so that the last one costs what the first one
does. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from adapters.postgres.pool import Pool, Record

Keys: TypeAlias = Sequence[Any]
"""The values of a row that its place follows from, in the order of the listing's keys."""

TIMEOUT_S: Final = 3.0
"""How long a page may take: a filter that asks for more is told so, and the store is not held up."""


class Key(NamedTuple):
    """What rows are in order by: an *expression*, and its SQL *type*."""

    expression: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Rows of *source* (what stands behind FROM) with *columns*. *keys*: their order, unique together; the newest
    first, or *ascending*. *conditions*: filter -> its condition, with `{n}` for its value; a query has only those that
    are asked for, so that each finds its index. *always*: a condition of all rows."""

    source: str
    columns: str
    keys: Sequence[Key]
    conditions: Mapping[str, str] = field(default_factory=dict)
    always: str = "true"
    ascending: bool = False

    def query(self, wanted: Sequence[str], *, backwards: bool, placed: bool) -> str:
        """The query of a page of the rows that fit the filters *wanted*. Its arguments: how many rows, the values of
        *wanted*, and where the page is *placed*, the keys of the row that it comes after; *backwards*: before."""
        conditions = [self.always, *(self.conditions[name].format(n=f"${n}") for n, name in enumerate(wanted, 2))]
        upwards = self.ascending != backwards
        if placed:
            first = len(wanted) + 2
            at = ", ".join(f"${n}::{key.type}" for n, key in enumerate(self.keys, first))
            conditions.append(f"({', '.join(key.expression for key in self.keys)}) {'>' if upwards else '<'} ({at})")
        order = ", ".join(f"{key.expression} {'ASC' if upwards else 'DESC'}" for key in self.keys)
        own = ", ".join(f"{key.expression} AS key_{n}" for n, key in enumerate(self.keys))
        where = " AND ".join(conditions)
        return f"SELECT {self.columns}, {own} FROM {self.source} WHERE {where} ORDER BY {order} LIMIT $1"  # noqa: S608


class Rows(NamedTuple):
    """A page in the order of its list. *before*, *after*: whether there are others in front of it, and behind."""

    rows: Sequence[Record]
    before: bool
    after: bool


async def read(
    pool: Pool, listing: Listing, wanted: Mapping[str, Any], at: Keys | None, limit: int, *, backwards: bool = False
) -> Rows:
    """The page of *limit* rows after those of the keys *at*, or before; None: the first one. *wanted*: filter -> value;
    one that is None is not asked for. Raises: TimeoutError beyond TIMEOUT_S."""
    given = {name: value for name, value in wanted.items() if value is not None}
    query = listing.query(list(given), backwards=backwards, placed=at is not None)
    found = await pool.fetch(query, limit + 1, *given.values(), *(at or ()), timeout=TIMEOUT_S)
    rows, more = found[:limit], len(found) > limit
    if backwards:
        return Rows(rows[::-1], before=more, after=True)
    return Rows(rows, before=at is not None, after=more)


def keys_of(row: Record, listing: Listing) -> Keys:
    """The keys of a row that `read` has given."""
    return [row[f"key_{n}"] for n in range(len(listing.keys))]
