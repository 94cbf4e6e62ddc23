"""The journal: every event that went over the bus, kept by day."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final

import asyncpg

from adapters.postgres.bus.events import COLUMNS, UNNEST, arrays
from adapters.postgres.pool import Connection, Pool, Record
from schemas.envelope import Event

_APPEND: Final = f"INSERT INTO event_journal ({COLUMNS}) SELECT * FROM {UNNEST}"  # noqa: S608 - constants only

DAYS_AHEAD: Final = 14


async def append(conn: Connection, events: Sequence[Event]) -> None:
    """Copy *events*. Once each: the caller's inbox row, in the same transaction, sees to it."""
    await conn.execute(_APPEND, *arrays(events))


async def ensure_days(pool: Pool) -> None:
    """Make the daily partitions of inbox and journal for today and the DAYS_AHEAD days to come (UTC)."""
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock(hashtext('ferryman.ensure_days'))")
        have = {row["relname"] for row in await conn.fetch("SELECT relname FROM pg_class WHERE relname ~ '_p\\d{8}$'")}
        days = await conn.fetch(
            "SELECT d::date AS day, (d + interval '1 day')::date AS next FROM"
            " generate_series(date_trunc('day', now()), now() + make_interval(days => $1), interval '1 day') AS d",
            DAYS_AHEAD,
        )
        for table in ("inbox", "event_journal"):
            for row in days:
                name = f"{table}_p{row['day']:%Y%m%d}"
                if name not in have:
                    await _make_day(conn, name, table, row)


async def _make_day(conn: Connection, name: str, table: str, row: Record) -> None:
    """Make one daily partition; a day of which the default partition has rows already stays there."""
    bounds = f"FROM ('{row['day']}') TO ('{row['next']}')"
    with contextlib.suppress(asyncpg.CheckViolationError):
        async with conn.transaction():
            await conn.execute(f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES {bounds}")
