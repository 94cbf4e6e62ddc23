"""A replica in a SQLite file: what a phone or a laptop writes while it is offline, and its copy of the server's
rows."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

from adapters.sync import sqlite_copy, sqlite_queue, sqlite_shown, sqlite_view
from adapters.sync.sqlite_copy import Lost
from adapters.sync.sqlite_file import SqliteFile
from adapters.sync.sqlite_shown import Written
from adapters.sync.sqlite_view import Record
from adapters.sync.store import Identity, Page, Queued, Rebuild, RebuildReason, Verdict
from schemas.records.operation import Verb

KEPT: Final = timedelta(days=30)
"""How long operations that have reached the server are kept: should its history go back, they are sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a replica stands. *pending*: operations that wait, the oldest for *oldest_pending_s* seconds. *failed*:
    refused ones. *conflicts*: those about which a person decides. *synced_today*: those that have reached the server
    since midnight. *last_sync*: when a round was last complete. *online*: whether the last one was; None: there was
    none. *last_error*: what stopped it. *lost*: records of which the server has lost something that this replica does
    not bring back."""

    pending: int
    oldest_pending_s: float | None
    failed: int
    conflicts: int
    synced_today: int
    last_sync: datetime | None
    online: bool | None
    last_error: str | None
    lost: int


class Owner(NamedTuple):
    """*name*: as the server calls them; None: it has not said so yet. *token*: the SHA-256 of one that is theirs."""

    name: str | None
    token: str | None


class SqliteReplica:
    """A `ReplicaStore` in a file, with the writes and reads of its user. *now*: the clock."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._file = SqliteFile()
        self._clock = now

    async def open(self, path: Path) -> None:
        """See `SqliteFile.open`."""
        await self._file.open(path)

    async def close(self) -> None:
        """See `SqliteFile.close`."""
        await self._file.close()

    async def write(self, verb: Verb, model: str, record_id: str, data: Mapping[str, Any]) -> UUID | None:
        """See `sqlite_queue.write`. Raises besides: sqlite3.Error."""
        now_ms = int(self._now() * 1000)
        return await self._file.write(lambda c: sqlite_queue.write(c, verb, model, record_id, data, now_ms))

    async def get(self, model: str, record_id: str) -> Record | None:
        """A record as it is seen here; None: there is none."""
        found = await self._file.read(lambda c: sqlite_view.seen(c, model, record_id))
        if found.row is None:
            return None
        return Record(model, record_id, found.version, found.row.data, pending=found.pending)

    async def list(self, model: str, where: Mapping[str, Any], limit: int, after: str) -> Sequence[Record]:
        """See `sqlite_view.listed`."""
        return await self._file.read(lambda c: sqlite_view.listed(c, model, where, limit, after))

    async def shown(self, which: str) -> Sequence[Written]:
        """See `sqlite_shown.shown`."""
        return await self._file.read(lambda c: sqlite_shown.shown(c, which))

    async def retry_failed(self, op_id: UUID | None) -> int:
        """See `sqlite_shown.retry_failed`."""
        return await self._file.write(lambda c: sqlite_shown.retry_failed(c, op_id))

    async def dismiss(self, op_id: UUID) -> bool:
        """See `sqlite_shown.dismiss`."""
        return await self._file.write(lambda c: sqlite_shown.dismiss(c, op_id))

    async def lost(self) -> Sequence[Lost]:
        """See `sqlite_copy.lost`."""
        return await self._file.read(sqlite_copy.lost)

    async def status(self, zone: tzinfo) -> Status:
        """How this replica stands. *zone*: where the day begins."""
        now = self._clock()
        today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
        return await self._file.read(lambda c: _status(c, now.timestamp(), today.timestamp()))

    async def owner(self) -> Owner:
        """Whose the file is."""
        return await self._file.read(lambda c: Owner(*c.execute("SELECT owner, token FROM replica").fetchone()))

    async def belongs(self, owner: Owner) -> None:
        """Keep whose the file is, where that is not another's."""
        sql = "UPDATE replica SET owner = ?1, token = ?2 WHERE owner IS NULL OR owner = ?1"
        await self._file.write(lambda c: c.execute(sql, owner).rowcount)

    async def identity(self) -> Identity:
        """See ReplicaStore."""
        return await self._file.read(_identity)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """See ReplicaStore. One program has the file: `RecordsClient` makes one round at a time."""
        yield

    async def due(self, limit: int, max_bytes: int) -> Sequence[Queued]:
        """See ReplicaStore."""
        now = self._now()
        return await self._file.read(lambda c: sqlite_queue.due(c, limit, max_bytes, now))

    async def settle(self, ack: str | None, verdicts: Sequence[Verdict]) -> None:
        """See ReplicaStore."""
        now = self._now()
        await self._file.write(lambda c: sqlite_queue.settle(c, ack, verdicts, now))

    async def take(self, page: Page) -> int:
        """See ReplicaStore."""
        return await self._file.write(lambda c: sqlite_copy.take(c, page))

    async def begin_rebuild(self, reason: RebuildReason) -> None:
        """See ReplicaStore."""
        await self._file.write(lambda c: sqlite_copy.begin_rebuild(c, reason))

    async def end_rebuild(self) -> None:
        """See ReplicaStore."""
        now = self._now()
        await self._file.write(lambda c: sqlite_copy.end_rebuild(c, now))

    async def renew_identity(self) -> None:
        """See ReplicaStore."""
        name = str(uuid4())
        await self._file.write(lambda c: c.execute("UPDATE replica SET replica = ?, ack = NULL", (name,)).rowcount)

    async def heard(self, error: str | None) -> None:
        """See ReplicaStore. Forgets what has reached the server and is no longer KEPT."""
        now = self._now()
        await self._file.write(lambda c: _heard(c, error, now))

    def _now(self) -> float:
        return self._clock().timestamp()


def _identity(connection: sqlite3.Connection) -> Identity:
    replica, ack, cursor, reason, building = connection.execute(
        "SELECT replica, ack, cursor, rebuild_reason, rebuild_cursor FROM replica"
    ).fetchone()
    rebuild = None if reason is None else Rebuild(reason, building)
    return Identity(replica=replica, ack=ack, cursor=cursor, rebuild=rebuild)


def _heard(connection: sqlite3.Connection, error: str | None, now: float) -> None:
    if error is not None:
        connection.execute("UPDATE replica SET last_error = ?, error_at = ?", (error, now))
        return
    connection.execute("UPDATE replica SET last_sync = ?, last_error = NULL", (now,))
    connection.execute(
        "DELETE FROM operations WHERE answered_at < ? AND state = 'synced' AND open = 0", (now - KEPT.total_seconds(),)
    )


def _status(connection: sqlite3.Connection, now: float, midnight: float) -> Status:
    pending, oldest, failed, conflicts, today = connection.execute(
        """
        SELECT (SELECT count(*) FROM operations WHERE state = 'pending'),
               (SELECT min(changed_ms) FROM operations WHERE state = 'pending'),
               (SELECT count(*) FROM operations WHERE state = 'failed'),
               (SELECT count(*) FROM operations WHERE state = 'conflict'),
               (SELECT count(*) FROM operations WHERE answered_at >= ? AND state IN ('synced', 'conflict'))
        """,
        (midnight,),
    ).fetchone()
    last_sync, error = connection.execute("SELECT last_sync, last_error FROM replica").fetchone()
    return Status(
        pending=pending,
        oldest_pending_s=None if oldest is None else max(now - oldest / 1000, 0.0),
        failed=failed,
        conflicts=conflicts,
        synced_today=today,
        last_sync=None if last_sync is None else datetime.fromtimestamp(last_sync, UTC),
        online=False if error is not None else None if last_sync is None else True,
        last_error=error,
        lost=connection.execute("SELECT count(*) FROM lost").fetchone()[0],
    )
