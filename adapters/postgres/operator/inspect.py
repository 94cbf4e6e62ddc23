"""The state of the Postgres server and of this database. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from adapters.postgres import holds
from adapters.postgres.bus import burials, days
from adapters.postgres.bus.workers import Registered, by_type
from adapters.postgres.holds import TemplateStop
from adapters.postgres.migrate import pending
from adapters.postgres.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """The state of a server. *skew_s*: its clock minus ours. *free_connections*: how many more it admits. *pending*:
    migrations to apply."""

    version: str
    major: int
    fsync: bool
    synchronous_commit: str
    full_page_writes: bool
    free_connections: int
    skew_s: float
    pending: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenMessages:
    """Messages of one provider that wait to be sent, and those that may have been sent."""

    queued: int = 0
    uncertain: int = 0


@dataclass(frozen=True, slots=True)
class TableCounts:
    """Counts of this database. *partitions*: the number in force, None before the first start. *stray*: rows of inbox
    and journal on days that have no day table. *spool*, *outbox*: events not yet on a stream, and since when.
    *days_ahead*: the days to come that have tables. *makes_days*: whether this role may make more. *messages*: provider
    -> its messages that have no end yet. *stopped*: templates that a provider takes no messages of for now."""

    partitions: int | None
    stray: Mapping[str, int]
    dead_letters: Mapping[str, int]
    spool: int
    spool_since: datetime | None
    outbox: int
    outbox_since: datetime | None
    days_ahead: int
    makes_days: bool
    messages: Mapping[str, OpenMessages] = field(default_factory=dict)
    stopped: Sequence[TemplateStop] = ()


_SETTINGS: Final = """
SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS free
"""
_TABLES: Final = """
SELECT (SELECT value FROM ferryman_meta WHERE key = 'partitions') AS partitions,
    (SELECT count(*) FROM inbox_default) AS inbox, (SELECT count(*) FROM event_journal_default) AS journal,
    (SELECT count(*) FROM spool) AS spool, (SELECT min(spooled_at) FROM spool) AS spool_since,
    (SELECT count(*) FROM outbox) AS outbox, (SELECT min(created_at) FROM outbox) AS outbox_since
"""
_MESSAGES: Final = """
SELECT provider, count(*) FILTER (WHERE status <> 'uncertain') AS queued,
    count(*) FILTER (WHERE status = 'uncertain') AS uncertain
FROM messages WHERE status IN ('queued', 'sending', 'uncertain') GROUP BY provider
"""
_OPEN: Final = """
SELECT w.worker, count(*) AS n
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS w (worker, type, since)
JOIN (SELECT id, type, time FROM event_journal UNION SELECT id, type, time FROM spool) AS k
  ON k.type = w.type AND k.time >= w.since
WHERE NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = k.id AND i.worker = w.worker AND i.replay_id = '')
GROUP BY w.worker
"""


async def inspect_server(conn: Connection, now: float) -> PostgresServer:
    """The server's version, settings and clock. *now*: our clock, Unix seconds, just before the call."""
    theirs = await conn.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    row = await conn.fetchrow(_SETTINGS)
    assert row is not None
    return PostgresServer(
        version=row["version"],
        major=conn.get_server_version().major,
        fsync=row["fsync"] == "on",
        synchronous_commit=row["synchronous_commit"],
        full_page_writes=row["full_page_writes"] == "on",
        free_connections=row["free"],
        skew_s=theirs - now,
        pending=tuple(await pending(conn)),
    )


async def count_tables(conn: Connection) -> TableCounts:
    """The counts. Needs a database without pending migrations."""
    row = await conn.fetchrow(_TABLES)
    assert row is not None
    return TableCounts(
        None if row["partitions"] is None else int(row["partitions"]),
        {"inbox": row["inbox"], "event_journal": row["journal"]},
        await burials.open_letters(conn),
        row["spool"],
        row["spool_since"],
        row["outbox"],
        row["outbox_since"],
        *await days.in_stock(conn),
        {row["provider"]: OpenMessages(row["queued"], row["uncertain"]) for row in await conn.fetch(_MESSAGES)},
        await holds.stopped(conn),
    )


async def open_events(pool: Pool, workers: Sequence[Registered]) -> dict[str, int]:
    """Worker -> how many accepted events of its own it has not ended with."""
    rows = await pool.fetch(_OPEN, *by_type(workers), timeout=30)
    return {worker.name: 0 for worker in workers} | {row["worker"]: row["n"] for row in rows}
