"""Day tables are those of the installation's own schema, whatever else is in the database."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime, time, timedelta
from uuid import uuid4

from adapters.postgres.bus import days
from adapters.postgres.bus.days import DAYS_AHEAD, drop_old_days, ensure_days, in_stock
from adapters.postgres.bus.workers import Registered
from adapters.postgres.pool import Pool, connect
from tests.support.plans import nodes
from tests.support.servers import migrate_at

NOW = datetime.now(UTC)

SCHEMAS = ("one", "two")


async def day_tables(db: Pool, schema: str) -> list[str]:
    rows = await db.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = $1 AND tablename ~ '_p[0-9]{8}$' ORDER BY 1", schema
    )
    return [row["tablename"] for row in rows]


async def make_day(db: Pool, day: date) -> None:
    for table in ("inbox", "event_journal"):
        bounds = f"FROM ('{day}') TO ('{day + timedelta(days=1)}')"
        await db.execute(f"CREATE TABLE {table}_p{day:%Y%m%d} PARTITION OF {table} FOR VALUES {bounds}")


async def test_two_schemas_of_one_database_each_have_their_own_days_made_and_dropped(empty_database_url: str) -> None:
    old = datetime.now(UTC).date() - timedelta(days=40)
    async with AsyncExitStack() as stack:
        pools = []
        for schema in SCHEMAS:
            url = f"{empty_database_url}{'&' if '?' in empty_database_url else '?'}search_path={schema}"
            pool = await stack.enter_async_context(connect(url, size=2))
            await pool.execute(f"CREATE SCHEMA {schema}")
            await migrate_at(url)
            await ensure_days(pool)
            pools.append(pool)
        first, second = pools
        made = await day_tables(first, "one")
        assert len(made) == 2 * (DAYS_AHEAD + 1)
        assert await day_tables(first, "two") == made
        await make_day(first, old)
        assert await drop_old_days(second, 30, []) == ([], [])
        assert len(await day_tables(first, "one")) == len(made) + 2
        await make_day(second, old)
        assert await drop_old_days(second, 30, []) == ([old], [])
        assert await day_tables(first, "two") == made
        assert len(await day_tables(first, "one")) == len(made) + 2


async def test_the_stock_of_days_is_counted_and_a_role_that_cannot_make_more_is_known(db: Pool) -> None:
    async with db.acquire() as conn:
        assert await in_stock(conn) == (0, True)
        await ensure_days(db)
        assert await in_stock(conn) == (DAYS_AHEAD, True)
        role = f"data_only_{uuid4().hex[:8]}"
        await conn.execute(f"CREATE ROLE {role}")
        try:
            await conn.execute(f"SET ROLE {role}")
            assert await in_stock(conn) == (DAYS_AHEAD, False)
        finally:
            await conn.execute(f"RESET ROLE; DROP ROLE {role}")


async def test_whether_a_day_is_open_is_asked_of_its_own_days_and_by_index_of_the_others(db: Pool) -> None:
    await ensure_days(db)
    old = datetime.now(UTC).date() - timedelta(days=40)
    await make_day(db, old)
    question = days._OPEN.format(table=f"event_journal_p{old:%Y%m%d}", day=old)
    (plan,) = json.loads(await db.fetchval(f"EXPLAIN (FORMAT JSON) {question}", ["toy"], ["order.received"], [NOW]))
    inboxes = [node for node in nodes(plan["Plan"]) if str(node.get("Relation Name", "")).startswith("inbox_p")]
    whole = {node["Relation Name"] for node in inboxes if node["Node Type"] == "Seq Scan"}
    assert f"inbox_p{old:%Y%m%d}" in {node["Relation Name"] for node in inboxes}
    assert whole <= {f"inbox_p{old:%Y%m%d}"}, whole


async def test_an_event_that_ended_days_after_it_came_keeps_no_day(db: Pool) -> None:
    old = datetime.now(UTC).date() - timedelta(days=40)
    await make_day(db, old)
    await db.execute(
        "INSERT INTO event_journal (id, type, source, subject, time, data, traceparent, causationid, schemaversion,"
        " recorded_at) VALUES ('orders:1', 'order.received', 'orders', 'x', $1, '', '', '', 1, $1)",
        datetime.combine(old, time(12), UTC),
    )
    toy = Registered(name="toy", topics=("orders",), types=("order.received",))
    assert await drop_old_days(db, 30, [toy]) == ([], [old])
    await db.execute(
        "INSERT INTO inbox (worker, event_id, outcome, data_hash, at) VALUES ('toy', 'orders:1', 'done', '', $1)",
        datetime.combine(old + timedelta(days=5), time(12), UTC),
    )
    assert await drop_old_days(db, 30, [toy]) == ([old], [])


async def test_a_day_that_an_older_version_made_gets_its_key(db: Pool) -> None:
    await make_day(db, datetime.now(UTC).date() + timedelta(days=3))
    await ensure_days(db)
    assert await db.fetchval(
        "SELECT bool_and(EXISTS (SELECT FROM pg_index x WHERE x.indrelid = i.inhrelid AND x.indisprimary))"
        " FROM pg_inherits i WHERE i.inhparent = to_regclass('inbox')"
    )
