"""A push reads and writes what its operations name, however much there is beside that."""

from __future__ import annotations

import json
from typing import Any, Final
from uuid import uuid4

from adapters.postgres.pool import Pool
from adapters.postgres.records import reading, writing
from adapters.postgres.records.columns import column
from adapters.postgres.records.writing import Writes
from daemon.records.pushing.service import Records
from tests.support.plans import assert_reads_few, nodes
from tests.support.records import operation, person, pushed, records_of

MANY: Final = 20_000
TABLES: Final = ("records", "sync_ops", "sync_exits", "sync_replicas", "sync_conflicts")
FILLS: Final = (
    "INSERT INTO records (model, record_id, version, prev, seq, owner_id, changed_at)"
    " SELECT 'Lead', 'r' || n, 1, 0, n, 'alice', now() FROM generate_series($1::int, $2::int) n",
    "INSERT INTO sync_ops (user_id, op_id, replica, model, record_id, digest, result)"
    " SELECT 'alice', md5(n::text)::uuid, 'p', 'Lead', 'r' || n, '', 'applied'"
    " FROM generate_series($1::int, $2::int) n",
    "INSERT INTO sync_exits (audience, model, record_id, seq)"
    " SELECT 'o:alice', 'Lead', 'r' || n, n FROM generate_series($1::int, $2::int) n",
    "INSERT INTO sync_replicas (replica, principal)"
    " SELECT 'p' || n, 'user:alice' FROM generate_series($1::int, $2::int) n",
    "INSERT INTO sync_conflicts (model, record_id, user_id, op_id, operation, strategy)"
    " SELECT 'Lead', 'r' || n, 'alice', md5(n::text)::uuid, 'UPDATE', 'manual'"
    " FROM generate_series($1::int, $2::int) n",
)


async def test_what_is_read_for_an_operation_is_found_by_indexes(db: Pool) -> None:
    await assert_reads_few(
        db,
        TABLES,
        FILLS,
        MANY,
        reading._READ,
        "text, text, text, text, text, text",
        r"E'Lead\x1e\x1a', E'r7\x1e\x1a', E'alice\x1e\x1a', md5('7') || E'\x1e\x1a', E'o:alice\x1e\x1a', E'\x1a\x1ep7'",
        200,
    )


async def test_conflicts_of_a_record_are_found_by_indexes(db: Pool) -> None:
    named = "text[], text[], text[]", "ARRAY['alice'], ARRAY['Lead'], ARRAY['r7']"
    await assert_reads_few(db, TABLES, FILLS, MANY, reading._OPEN, *named, 200)


async def test_both_statements_of_a_push_are_planned_as_small_as_they_are(db: Pool) -> None:
    """Postgres compiles statements that it takes for huge, which takes longer than they do."""
    asked: list[Writes] = []
    records: Records = records_of(db)
    write = writing.write

    async def noted(pool: Pool, writes: Writes) -> writing.Written:
        asked.append(writes)
        return await write(pool, writes)

    writing.write = noted  # type: ignore[assignment]
    try:
        await pushed(records, person("alice"), *(operation("CREATE", f"r{n}", name="N") for n in range(50)))
    finally:
        writing.write = write
    statement = writing._Statement(asked[0])
    names = [f"r{n}" for n in range(50)]
    read: list[list[Any]] = [
        ["Lead"] * 50,
        names,
        ["alice"] * 50,
        [uuid4() for _ in names],
        ["o:alice"] * 50,
        [None] * 50,
    ]
    given = [column(values, type) for values, type in zip(read, reading._WANTED, strict=True)]
    for text, arguments in ((statement.text(), statement.arguments), (reading._READ, given)):
        (row,) = await db.fetch(f"EXPLAIN (FORMAT JSON) {text}", *arguments)
        plan = json.loads(row[0])[0]["Plan"]
        assert plan["Total Cost"] < 5_000, [node["Node Type"] for node in nodes(plan)]
