"""A page of a list: what all lists do alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from adapters.postgres.operator import keyset
from adapters.postgres.operator.keyset import Listing
from adapters.postgres.pool import Pool, Record
from daemon.operator.faults import Unusable
from daemon.operator.lists import cursors
from daemon.operator.lists.cursors import Place
from daemon.telemetry.redaction import redact_text

MOST: Final = 100
"""Rows of a page, at most."""


def slow() -> Unusable:
    """That a page is not read to its end: it would hold up what the store is for."""
    return Unusable("this filter fits too few rows to find them quickly: narrow it, as by a time")


class Position(NamedTuple):
    """Which page: the one that *cursor* says, None for the first, of *limit* rows."""

    cursor: str | None = None
    limit: int = 50


class Page(NamedTuple):
    """*rows*: as JSON, what is personal masked. *next*, *prev*: the cursors of the pages behind it and in front of it;
    None: there is none."""

    rows: list[dict[str, Any]]
    next: str | None
    prev: str | None


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list: its *name*, which its cursors are of; its *listing*; a row as JSON."""

    name: str
    listing: Listing
    document: Callable[[Record], dict[str, Any]]

    async def read(self, pool: Pool, wanted: Mapping[str, Any], at: Position) -> Page:
        """The page *at* of the rows that are *wanted*. Raises: BadCursor; Unusable, where it takes too long."""
        assert 1 <= at.limit <= MOST
        key, of = await cursors.key_of(pool), cursors.digest_of(self.name, wanted)
        types = [each.type for each in self.listing.keys]
        place = None if at.cursor is None else cursors.read(key, of, types, at.cursor)
        try:
            found = await keyset.read(
                pool,
                self.listing,
                wanted,
                place and place.keys,
                at.limit,
                backwards=place is not None and place.backwards,
            )
        except TimeoutError:
            raise slow() from None
        rows = found.rows

        def cursor(there: bool, row: int, backwards: bool) -> str | None:
            if not there or not rows:
                return None
            return cursors.written(key, of, Place(keyset.keys_of(rows[row], self.listing), backwards))

        documents = [self.document(row) for row in rows]
        return Page(documents, cursor(found.after, -1, False), cursor(found.before, 0, True))


def row_of(found: Record) -> dict[str, Any]:
    """The columns of a row, without its keys."""
    return {
        name: str(value) if isinstance(value, UUID) else value for name, value in found.items() if name[:4] != "key_"
    }


def redacted(text: str | None) -> str | None:
    """A text that others wrote, as of an error, without what is personal or secret in it."""
    return None if text is None else redact_text(text)
