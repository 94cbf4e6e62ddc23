"""Looking an event up in the inbox reads the index, however much history there is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.postgres.bus import inbox
from adapters.postgres.bus.days import ensure_days
from adapters.postgres.bus.inbox import InboxRow
from adapters.postgres.pool import Pool
from tests.support.plans import nodes
from tests.support.toy import make_events

ROWS = 20_000
_FILL = (
    "INSERT INTO inbox (worker, event_id, outcome, data_hash)"
    " SELECT 'toy', gen_random_uuid()::text, 'done', '' FROM generate_series(1, $1)"
)


@pytest.mark.parametrize("lookup", ["_SEEN", "_INSERT"])
async def test_no_lookup_reads_a_whole_day(db: Pool, lookup: str) -> None:
    await ensure_days(db)
    await db.execute(_FILL, ROWS)
    await db.execute("ANALYZE inbox")
    events = make_events(500, 1)
    ids = [event.id for event in events]
    ending: tuple[Any, ...] = ("done", None, 0) if lookup == "_INSERT" else ()
    hashes = ([b""] * len(ids),) if lookup == "_INSERT" else ()
    arguments = ("toy", "", *ending, ids, *hashes)
    found = json.loads(await db.fetchval(f"EXPLAIN (FORMAT JSON) {getattr(inbox, lookup)}", *arguments))
    today = await db.fetchval("SELECT tableoid::regclass::text FROM inbox LIMIT 1")
    reads = [node for node in nodes(found[0]["Plan"]) if node.get("Relation Name") == today]
    kinds = {node["Node Type"] for node in reads} - {"ModifyTable"}
    assert kinds
    assert kinds <= {"Index Scan", "Index Only Scan", "Bitmap Heap Scan"}, kinds


async def test_a_plan_made_for_an_empty_day_still_reads_by_index_when_the_day_is_full(db: Pool) -> None:
    await ensure_days(db)
    async with db.acquire() as conn:
        await conn.execute(f"PREPARE seen (text, text, text[]) AS {inbox._SEEN}")
        for _ in range(10):  # from the sixth time on the plan is one for all arguments
            await conn.execute("EXECUTE seen ('toy', '', '{x}')")
        assert await conn.fetchval("SELECT generic_plans FROM pg_prepared_statements WHERE name = 'seen'") > 0
        await conn.execute(_FILL, ROWS)
        plan = [line for (line,) in await conn.fetch("EXPLAIN EXECUTE seen ('toy', '', '{x}')")]
    assert any("Index Scan" in line for line in plan)
    assert not any("Seq Scan" in line for line in plan), plan


async def test_a_day_is_never_analysed_while_it_is_small(db: Pool) -> None:
    await ensure_days(db)
    options = await db.fetchval("SELECT reloptions FROM pg_class WHERE relname = to_char(now(), '\"inbox_p\"YYYYMMDD')")
    assert {option.split("=")[0] for option in options} == {
        "autovacuum_analyze_threshold",
        "autovacuum_vacuum_insert_threshold",
    }


async def test_an_end_is_found_and_kept_from_being_written_twice(db: Pool) -> None:
    await ensure_days(db)
    old, new = make_events(2, 1)
    await db.execute(
        "INSERT INTO inbox (worker, event_id, outcome, data_hash, at)"
        " VALUES ('toy', $1, 'done', 'x', now() - interval '20 days')",
        old.id,
    )
    assert await inbox.seen(db, "toy", [new, old]) == {(old.id, ""): b"x"}
    assert await inbox.seen(db, "other", [new, old]) == {}
    rows = [InboxRow(event.id, "", "done", None, 0, b"y") for event in (old, new)]
    async with db.acquire() as conn:
        assert await inbox.insert(conn, "toy", rows) == {(new.id, "")}
        assert await inbox.insert(conn, "toy", rows) == set()
