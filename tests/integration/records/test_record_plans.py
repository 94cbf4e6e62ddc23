"""A page of the feed, a look at the news and a step of compaction read few rows of many, also by a plan that the server
made while the tables were small."""

from __future__ import annotations

import json

import pytest

from adapters.postgres.operator import record_conflicts as rows
from adapters.postgres.pool import Pool
from adapters.postgres.records import compaction, feed, marks
from tests.support.plans import assert_reads_few, nodes

MANY = 6_000
AT_MOST = 250
_RECORDS = """
INSERT INTO records (model, record_id, version, prev, seq, owner_id, branch, data, stamps, changed_at, deleted,
                     deleted_at)
SELECT 'Lead', 'lead_' || n, 1, 0, n, 'u' || (n % 20), 'b' || (n % 5), '{}', '{}', now(), n % 50 = 0,
       CASE WHEN n % 50 = 0 THEN now() - make_interval(days => CASE WHEN n % 1000 = 0 THEN 100 ELSE 1 END) END
FROM generate_series($1::int, $2::int) n
"""
_EXITS = """
INSERT INTO sync_exits (audience, model, record_id, seq, at)
SELECT 'o:u' || ((n + 1) % 20), 'Lead', 'lead_' || n, n,
       now() - make_interval(days => CASE WHEN n % 1000 = 0 THEN 100 ELSE 1 END)
FROM generate_series($1::int, $2::int) n
"""
MARK = "00000000-0000-4000-8000-000000000001"
_MARKS = f"INSERT INTO sync_marks (seq, mark) SELECT n, '{MARK}' FROM generate_series($1::int, $2::int) n"
_OPS = """
INSERT INTO sync_ops (user_id, op_id, replica, model, record_id, digest, result, at)
SELECT 'u', md5('op' || n)::uuid, 'r', 'Lead', 'lead_' || n, '', 'applied',
       now() - make_interval(days => CASE WHEN n % 1000 = 0 THEN 100 ELSE 1 END)
FROM generate_series($1::int, $2::int) n
"""
_TABLES = ("records", "sync_exits", "sync_marks", "sync_ops", "sync_queue")
_PAGE = "bigint, bigint, int, bigint, bigint, uuid, text[], boolean"
_SEEN = "uuid, int, bigint, bigint, uuid, bigint"
_ASKED = "{since}, 0, 10, 4000000, 4000, null, null, false"


def page(owners: int | None, branch: bool, whose: str, since: int) -> tuple[str, str, str]:
    types = _PAGE if owners is None else f"{_PAGE}, text[], text"
    return feed.page_query(owners, branch), types, _ASKED.format(since=since) + whose


@pytest.mark.parametrize(
    ("query", "types", "arguments"),
    [
        *(page(None, False, "", since) for since in (5, 3000, 5998)),
        *(page(1, False, ", ARRAY['u3'], null", since) for since in (5, 3000, 5998)),
        page(3, True, ", ARRAY['u3', 'u9', 'u15'], 'b1'", 3000),
        page(0, True, ", ARRAY[]::text[], 'b2'", 3000),
        page(0, False, ", ARRAY[]::text[], null", 3000),
        *(
            (query, f"{_SEEN}{types}", f"'{MARK}', 1, {seq}, 6000, '{MARK}', 7000{more}")
            for seq in (5, 5998)
            for query, types, more in (
                (feed.UNCHANGED_FOR_ALL, "", ""),
                (feed.UNCHANGED_FOR_ONE, ", text, text", ", 'u3', 'o:u3'"),
                (feed.UNCHANGED_FOR_ONE, ", text, text", ", 'nobody', 'o:nobody'"),
                (
                    feed.UNCHANGED_FOR_MANY,
                    ", text[], text[], text",
                    ", ARRAY['nobody', 'no'], ARRAY['o:nobody', 'o:no'], 'none'",
                ),
            )
        ),
        (feed._NEWS, "bigint, int", "5990, 500"),
        (feed._NEWS, "bigint, int", "6000, 500"),
        (marks._STANDING, "bigint, uuid", "4000, null"),
        (compaction._TOMBSTONES, "int, int", "90, 500"),
        (compaction._EXITS, "int, int", "90, 500"),
        (compaction._MARKS, "int, int", "90, 10"),
    ],
)
async def test_a_plan_made_for_few_records_reads_few_of_many(db: Pool, query: str, types: str, arguments: str) -> None:
    await db.execute("UPDATE sync_clock SET seq = $1, feed = $2", MANY, MARK)
    await assert_reads_few(db, _TABLES, (_RECORDS, _EXITS, _MARKS, _OPS), MANY, query, types, arguments, AT_MOST)


_MET = """
WITH made AS (SELECT n FROM generate_series($1::int, $2::int) n),
met AS (INSERT INTO sync_conflicts (model, record_id, user_id, op_id, operation, strategy, decision)
  SELECT 'Lead', 'l' || n, 'u-' || n % 7, gen_random_uuid(), 'UPDATE', 'newest', CASE WHEN n % 400 <> 3 THEN 'ours' END
  FROM made ORDER BY n)
INSERT INTO records (model, record_id, version, prev, seq, owner_id, data, changed_at)
SELECT 'Lead', 'l' || n, 1, 0, n, 'u-' || n % 7, '{}', now() FROM made
"""


@pytest.mark.parametrize("open", [True, False])
async def test_a_page_of_conflicts_reads_few_of_many(db: Pool, open: bool) -> None:
    await db.execute(_MET, 1, MANY)
    await db.execute("ANALYZE records, sync_conflicts")
    query = rows.query_of(rows.Wanted(open=open))
    for number, value in enumerate(("NULL", "NULL", "NULL", "8"), 1):
        query = query.replace(f"${number}", value)
    (plan,) = json.loads(await db.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}"))
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes(plan["Plan"])) < 60, json.dumps(plan)
