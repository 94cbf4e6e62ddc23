"""Pages of records: each record once, those that the reader may see, and few rows read however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson
import pytest

from adapters.postgres.pool import Pool
from adapters.postgres.records import listing
from adapters.postgres.records.listing import MOST_BRANCHES, SCANNED, Filters, Readers
from tests.support.plans import assert_reads_few

MANY: Final = 60_000
FILL: Final = """
INSERT INTO records (model, record_id, version, prev, seq, owner_id, branch, data, changed_at)
SELECT CASE WHEN n % 10 = 0 THEN 'Payment' ELSE 'Lead' END, 'r' || n, 1, 0, n,
       CASE WHEN n % 100 = 0 THEN 'bob' ELSE 'alice' END, CASE WHEN n % 100 < 50 THEN 'north' ELSE 'south' END,
       jsonb_build_object('name', 'n' || n, 'stage', 'new'), now()
FROM generate_series($1::int, $2::int) n
"""
CLOCK: Final = "UPDATE sync_clock SET seq = $2::int + 0 * $1::int"
EVERYBODY: Final = Readers(all=True)
ALICE: Final = Readers(owners=["alice"])
EDGE: Final = Readers(owners=["alice", "bob"], branch="north")
LARGE: Final = Readers(owners=["alice", *(f"o{n}" for n in range(MOST_BRANCHES))], branch="north")
ANY: Final = Filters()
NOTHING: Final = Filters(same=[['{"stage": "lost"}']])
FEW: Final = 1200
"""Rows of all levels of a plan that gives a page of fifty."""

LEVELS: Final = 8
"""Of a plan that go through what is scanned: the indexes, the parts put together, the bound, the numbers."""


def literal(value: Any) -> str:
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return f"'{value}'"
    return f"ARRAY[{', '.join(map(literal, value))}]::text[]"


def types(arguments: Sequence[Any]) -> str:
    names = {str: "text", int: "bigint", list: "text[]"}
    return ", ".join(names[type(value)] for value in arguments)


@pytest.mark.parametrize(
    ("readers", "filters", "most"),
    [
        (EVERYBODY, ANY, FEW),
        (ALICE, ANY, FEW),
        (EDGE, ANY, FEW),
        (LARGE, ANY, FEW),
        (EVERYBODY, NOTHING, SCANNED * LEVELS),
        (ALICE, NOTHING, SCANNED * LEVELS),
        (ALICE, Filters(numbers=[("amount", "1")]), SCANNED * LEVELS),
        (EDGE, Filters(empty=["name"]), SCANNED * LEVELS),
    ],
)
async def test_a_page_reads_few_rows_however_many_its_reader_owns(
    db: Pool, readers: Readers, filters: Filters, most: int
) -> None:
    query, arguments = listing.page_query("Lead", readers, filters, after=100, limit=50)
    await assert_reads_few(
        db, ["records"], [FILL, CLOCK], MANY, query, types(arguments), ", ".join(map(literal, arguments)), most
    )


async def put(db: Pool, n: int, **values: Any) -> None:
    row = {"model": "Lead", "owner": "alice", "branch": None, "deleted": False, "data": {}} | values
    await db.execute(
        "INSERT INTO records (model, record_id, version, prev, seq, owner_id, branch, deleted, data, changed_at)"
        " VALUES ($1, $2, 1, 0, $3, $4, $5, $6, $7, now())",
        *(row["model"], f"r{n}", n, row["owner"], row["branch"], row["deleted"], orjson.dumps(row["data"]).decode()),
    )
    await db.execute("UPDATE sync_clock SET seq = $1", n)


async def all_of(db: Pool, readers: Readers, filters: Filters = ANY, limit: int = 50) -> list[list[str]]:
    """The ids of each page."""
    pages: list[list[str]] = []
    after: int | None = 0
    while after is not None:
        found = await listing.page(db, "Lead", readers, filters, after=after, limit=limit)
        pages.append([one.record_id for one in found.records])
        after = found.after
    return pages


async def test_every_reader_sees_each_of_their_records_once(db: Pool) -> None:
    for n, (owner, branch) in enumerate(
        [("alice", None), ("alice", "north"), ("bob", "north"), ("bob", None), (None, "north"), ("eve", "south")], 1
    ):
        await put(db, n, owner=owner, branch=branch)
    await put(db, 7, deleted=True)
    await put(db, 8, model="Payment")
    many = [f"o{n}" for n in range(MOST_BRANCHES)]
    for readers, wanted in (
        (EVERYBODY, [1, 2, 3, 4, 5, 6]),
        (ALICE, [1, 2]),
        (Readers(branch="north"), [2, 3, 5]),
        (Readers(owners=["alice"], branch="north"), [1, 2, 3, 5]),
        (Readers(owners=["alice", "bob"]), [1, 2, 3, 4]),
        (Readers(owners=["alice", "bob", *many]), [1, 2, 3, 4]),
        (Readers(owners=["alice", *many], branch="north"), [1, 2, 3, 5]),
        (Readers(), []),
    ):
        pages = await all_of(db, readers, limit=2)
        assert [id for page in pages for id in page] == [f"r{n}" for n in wanted]
        assert all(len(page) == 2 for page in pages[:-1])


async def test_a_page_that_finds_little_says_where_the_next_goes_on(db: Pool) -> None:
    await db.execute(FILL, 1, MANY)
    await db.execute("UPDATE sync_clock SET seq = $1", MANY)
    rare = Filters(same=[['{"name": "n59999"}']])
    for readers in (EVERYBODY, ALICE, LARGE):
        pages = await all_of(db, readers, rare)
        assert [id for page in pages for id in page] == ["r59999"]
        assert MANY // SCANNED <= len(pages) <= MANY // SCANNED + 1
    alone = await all_of(db, ALICE, limit=20_000)
    assert sum(map(len, alone)) == len({id for page in alone for id in page}) == MANY * 9 // 10


async def test_a_page_is_cut_before_it_is_too_large(db: Pool) -> None:
    for n in range(1, 6):
        await put(db, n, data={"notes": "x" * (listing.MOST_BYTES // 3)})
    await put(db, 6, data={"notes": "x" * (listing.MOST_BYTES + 1)})
    assert await all_of(db, ALICE) == [["r1", "r2", "r3"], ["r4", "r5", "r6"]]
