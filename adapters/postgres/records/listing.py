"""Records as an app looks at them: one, or a page of those of a model that a reader may see.

A page goes through what the reader may see in the order of the last change, by the indexes that pulls use, and looks at
SCANNED records at most: it takes as long with a million records as with a few thousand, whatever it filters by, and no
write pays for an index. Where it has found less than a page, it says where the next one goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from adapters.postgres.pool import Pool

SCANNED: Final = 20_000
"""Records that one page looks at."""

MOST_BYTES: Final = 4_000_000
"""Of the data of one page; its first record is there in any case."""

MOST_BRANCHES: Final = 16
"""Audiences that are merged from the index of each. A reader of more has a large part of all records: those are gone
through in their order."""


class Listed(NamedTuple):
    """A record as it stands. *data*: a JSON text."""

    model: str
    record_id: str
    version: int
    owner_id: str | None
    branch: str | None
    data: str
    changed_at: datetime


class Page(NamedTuple):
    """*after*: where the next page begins; None: there is none."""

    records: Sequence[Listed]
    after: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a record must be like. *same*: lists of JSON texts, of each of which its data contains one. *empty*: fields
    without a value. *numbers*: (field, numeral) of fields that hold numbers or numerals: they are compared by value."""

    same: Sequence[Sequence[str]] = ()
    empty: Sequence[str] = ()
    numbers: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """Whose records are gone through. *all*: everybody's; else those of *owners*, and of *branch*."""

    all: bool = False
    owners: Sequence[str] = ()
    branch: str | None = None


_COLUMNS: Final = "model, record_id, version, owner_id, branch"
_ONE: Final = f"""
SELECT {_COLUMNS}, data::text, changed_at, deleted, erased FROM records WHERE model = $1 AND record_id = $2
"""  # noqa: S608 - constants only
_NUMERAL: Final = r"^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,2})?$"
"""What can be cast, whatever the field has held before its model was changed. A bound of repetitions would cost twenty
times as much."""

_LONGEST_NUMERAL: Final = 400

# no number is above the clock's: that it is said makes the planner expect few rows, and read them by their index
_AFTER: Final = "SELECT *, {passed} AS passed FROM records WHERE seq > $2 AND seq <= (SELECT seq FROM sync_clock)"
_PAGE: Final = f"""
SELECT {_COLUMNS}, CASE WHEN total - size < {MOST_BYTES} THEN text END, changed_at, seq, hit, n
FROM (
  SELECT *, octet_length(text) AS size, sum(octet_length(text)) OVER (ORDER BY seq) AS total
  FROM (
    SELECT *, CASE WHEN hit THEN data::text ELSE '' END AS text
    FROM (
      SELECT *, row_number() OVER (ORDER BY seq) AS n,
             NOT passed AND NOT deleted AND model = $1 AND ({{wanted}}) AS hit
      FROM (SELECT * FROM ({{source}}) AS part ORDER BY seq LIMIT {SCANNED}) AS visible
    ) AS scanned
    WHERE hit OR n = {SCANNED}
    ORDER BY seq LIMIT $3
  ) AS page
) AS sized
ORDER BY seq
"""  # noqa: S608 - constants only


class Found(NamedTuple):
    """A record, or what is left of it."""

    record: Listed
    deleted: bool
    erased: bool


async def one(pool: Pool, model: str, record_id: str) -> Found | None:
    """The record of this name, whoever may read it; also a tombstone."""
    row = await pool.fetchrow(_ONE, model, record_id)
    return None if row is None else Found(Listed(*row[:7]), row[7], row[8])


async def page(pool: Pool, model: str, readers: Readers, filters: Filters, *, after: int, limit: int) -> Page:
    """The records of *model* after the place *after*, in the order in which they were changed last."""
    query, arguments = page_query(model, readers, filters, after=after, limit=limit)
    rows = await pool.fetch(query, *arguments)
    found: list[Listed] = []
    place = after
    for *values, seq, hit, n in (tuple(row) for row in rows):
        if hit and (values[5] is None or len(found) == limit):
            return Page(found, place)
        place = seq
        if hit:
            found.append(Listed(*values))
        if n == SCANNED:
            return Page(found, place)
    return Page(found, None)


def page_query(model: str, readers: Readers, filters: Filters, *, after: int, limit: int) -> tuple[str, Sequence[Any]]:
    """The statement of `page`, and its arguments."""
    arguments: list[Any] = [model, after, limit + 1]  # one more tells whether there is another page
    query = _PAGE.format(source=_source(readers, arguments), wanted=_wanted(filters, arguments))
    return query, arguments


def _source(readers: Readers, arguments: list[Any]) -> str:
    """What is gone through, in the order of *seq*; each of its parts comes from an index that has that order. A record
    that is `passed` is not theirs, or stands in another part: it is counted, so that no page looks at too many."""
    if readers.all:
        return _AFTER.format(passed="false")
    branch = None if readers.branch is None else f"branch = {_given(arguments, readers.branch)}::text"
    if len(readers.owners) > MOST_BRANCHES:
        theirs = f"owner_id = ANY ({_given(arguments, list(readers.owners))}::text[]) OR {branch or 'false'}"
        return _AFTER.format(passed=f"({theirs}) IS NOT TRUE")
    owners = [f"owner_id = {_given(arguments, owner)}::text" for owner in readers.owners]
    parts = [f"({_AFTER.format(passed='false')} AND {owner} ORDER BY seq)" for owner in owners]
    if branch:
        elsewhere = " OR ".join(owners) or "false"
        parts.append(f"({_AFTER.format(passed=f'({elsewhere}) IS TRUE')} AND {branch} ORDER BY seq)")
    return " UNION ALL ".join(parts) or _AFTER.format(passed="true")


def _wanted(filters: Filters, arguments: list[Any]) -> str:
    conditions = [f"data @> ANY ({_given(arguments, list(texts))}::jsonb[])" for texts in filters.same]
    conditions += [
        f"coalesce(data ->> {_given(arguments, field)}::text, '') IN ('', '[]', '{{}}')" for field in filters.empty
    ]
    for field, numeral in filters.numbers:
        value = f"(data ->> {_given(arguments, field)}::text)"
        same = f"{value}::numeric = {_given(arguments, numeral)}::text::numeric"
        sound = f"length({value}) <= {_LONGEST_NUMERAL} AND {value} ~ '{_NUMERAL}'"
        conditions.append(f"CASE WHEN {sound} THEN {same} ELSE false END")
    return " AND ".join(conditions) or "true"


def _given(arguments: list[Any], value: Any) -> str:
    """*value*, as one argument more."""
    arguments.append(value)
    return f"${len(arguments)}"
