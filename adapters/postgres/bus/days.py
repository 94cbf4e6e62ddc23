"""Day tables: the daily partitions of inbox and journal, made ahead and dropped when they are old.

A day (UTC) is dropped whole, in both tables at once. A day with open work stays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import date
from typing import Final

import asyncpg

from adapters.postgres.bus.workers import Registered, by_type
from adapters.postgres.pool import Connection, Pool, Record

DAYS_AHEAD: Final = 14

LIMIT_S: Final = 300
"""Longest time for one statement about all events of a day."""

# By the parent, which the search path finds: another schema may hold tables of these names, of another installation.
_DAYS: Final = """
SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day, i.inhrelid::regclass::text AS name
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass($1) AND c.relname ~ '_p\\d{8}$'
ORDER BY 1
"""

_STOCK: Final = """
SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass('inbox') AND c.relname ~ '_p\\d{8}$'
  AND to_date(right(c.relname, 8), 'YYYYMMDD') > current_date
"""
_MAY_MAKE: Final = """
SELECT has_schema_privilege(current_schema(), 'CREATE') AND bool_and(pg_has_role(relowner, 'USAGE'))
FROM pg_class WHERE oid IN (to_regclass('inbox'), to_regclass('event_journal'))
"""

# Nearly all events end within a day of their arrival: only those without an end in these days are looked up in all.
_OPEN: Final = """
WITH candidates AS MATERIALIZED (
    SELECT j.id, w.worker
    FROM {table} j
    JOIN unnest($1::text[], $2::text[], $3::timestamptz[]) AS w (worker, type, since)
        ON w.type = j.type AND j.time >= w.since
    WHERE NOT EXISTS (
        SELECT FROM inbox i WHERE i.event_id = j.id AND i.worker = w.worker AND i.replay_id = ''
        AND i.at >= date '{day}' - 1 AND i.at < date '{day}' + 2))
SELECT EXISTS (
    SELECT FROM candidates c
    WHERE (SELECT true FROM inbox i
           WHERE i.event_id = c.id AND i.worker = c.worker AND i.replay_id = '' LIMIT 1) IS NULL)
"""

_KEY: Final = "PRIMARY KEY (event_id, worker, replay_id)"
"""Of each day's inbox: one end of an event for each worker."""

_NEVER_SMALL: Final = "WITH (autovacuum_analyze_threshold = 20000, autovacuum_vacuum_insert_threshold = 20000)"
"""Of each day's inbox. Connections keep the plans of the lookups: one that was made for a table known to be small reads
it whole, also when it has grown. Postgres takes a table that it has not analysed for one worth an index."""

_WITHOUT_KEY: Final = """
SELECT i.inhrelid::regclass::text FROM pg_inherits i
WHERE i.inhparent = to_regclass('inbox')
  AND NOT EXISTS (SELECT FROM pg_index x WHERE x.indrelid = i.inhrelid AND x.indisprimary)
"""


async def ensure_days(pool: Pool) -> None:
    """Make the day tables for today and the DAYS_AHEAD days to come."""
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock(hashtext('ferryman.ensure_days'))")
        days = await conn.fetch(
            "SELECT d::date AS day, (d + interval '1 day')::date AS next FROM"
            " generate_series(date_trunc('day', now()), now() + make_interval(days => $1), interval '1 day') AS d",
            DAYS_AHEAD,
        )
        for table in ("inbox", "event_journal"):
            have = {row["day"] for row in await conn.fetch(_DAYS, table)}
            for row in days:
                if row["day"] not in have:
                    await _make_day(conn, f"{table}_p{row['day']:%Y%m%d}", table, row)
        for (made_by_an_older_version,) in await conn.fetch(_WITHOUT_KEY):
            await conn.execute(f"ALTER TABLE {made_by_an_older_version} ADD {_KEY}")


async def in_stock(conn: Connection) -> tuple[int, bool]:
    """(for how many days to come there are tables, whether this role may make more)."""
    return await conn.fetchval(_STOCK), bool(await conn.fetchval(_MAY_MAKE))


async def _make_day(conn: Connection, name: str, table: str, row: Record) -> None:
    """Make one day table. A day that has rows in the default partition already stays there."""
    bounds = f"FROM ('{row['day']}') TO ('{row['next']}')"
    with contextlib.suppress(asyncpg.CheckViolationError):
        async with conn.transaction():
            key, how = (f"({_KEY})", _NEVER_SMALL) if table == "inbox" else ("", "")
            await conn.execute(f"CREATE TABLE {name} PARTITION OF {table} {key} FOR VALUES {bounds} {how}")


async def drop_old_days(pool: Pool, days: int, workers: Sequence[Registered]) -> tuple[list[date], list[date]]:
    """Drop the day tables of more than *days* days ago, and the payloads of their events. Returns (dropped, kept for
    open work).

    *workers*: all of the installation, whose open work keeps a day. Days go oldest first, up to the first one with
    open work: without the inbox rows of a day, its events would look new.
    """
    columns = by_type(workers)
    first_kept = await pool.fetchval("SELECT current_date - $1::int", days)
    inboxes = {row["day"]: row["name"] for row in await pool.fetch(_DAYS, "inbox")}
    old = {row["day"]: row["name"] for row in await pool.fetch(_DAYS, "event_journal") if row["day"] < first_kept}
    dropped: list[date] = []
    for day, journal in old.items():
        async with pool.acquire() as conn, conn.transaction():
            await conn.execute(f"SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '{LIMIT_S}s'")
            if await conn.fetchval(_OPEN.format(table=journal, day=day), *columns, timeout=LIMIT_S):
                break
            # of these events alone: an event that is still open, or not yet in the journal, wants its payload
            gone = f"DELETE FROM payloads p USING {journal} j WHERE p.event_id = j.id"  # noqa: S608
            await conn.execute(gone, timeout=LIMIT_S)
            await conn.execute(f"DROP TABLE {journal}")
            if day in inboxes:
                await conn.execute(f"DROP TABLE IF EXISTS {inboxes[day]}")
        dropped.append(day)
    return dropped, [day for day in old if day not in dropped]
