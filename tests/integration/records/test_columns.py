"""Columns of rows go to the server as one text each, and come to the same rows."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any, Final
from uuid import UUID, uuid4

import pytest

from adapters.postgres.pool import Pool
from adapters.postgres.records.columns import column, split
from tests.support.records import operation, person, pushed, records_of

NOW: Final = datetime(2026, 11, 27, 9, 58, 1, 250_001, UTC)
COLUMNS: Final[dict[str, list[Any]]] = {
    "text": ["a", None, '{"name":"שירה, \\u001e"}', "", "\\x1e'\""],
    "bigint": [1, 2**53, None, 0, -1],
    "uuid": [uuid4(), None, UUID(int=0), UUID(int=2**128 - 1), uuid4()],
    "bool": [True, None, False, False, True],
    "bytea": [b"\x00\x1e", b"", None, b"\xff", b"\x1a"],
    "timestamptz": [NOW, None, NOW.replace(microsecond=0), NOW, NOW],
}


async def test_every_type_comes_as_it_is_told(db: Pool) -> None:
    types = [*COLUMNS, *COLUMNS]
    given = [*COLUMNS.values(), *([None] * 5 for _ in COLUMNS)]
    arguments = [column(values, type) for values, type in zip(given, types, strict=True)]
    rows = await db.fetch(f"SELECT * FROM unnest({', '.join(map(split, count(1), types))})", *arguments)
    assert [list(row) for row in zip(*rows, strict=True)] == given


@pytest.mark.parametrize("text", ["a\x1eb", "\x1e"])
def test_a_text_that_would_be_taken_for_two_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"U\+001E"):
        column(["a", text, None], "text")


async def test_values_may_hold_what_stands_between_the_columns(db: Pool) -> None:
    records, name = records_of(db), "No\x1ea\x1a\x1f"
    results = await pushed(records, person("alice"), operation("CREATE", "r1", name=name))
    assert [one["result"] for one in results] == ["applied"]
    assert await db.fetchval("SELECT data->>'name' FROM records") == name
