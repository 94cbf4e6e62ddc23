"""The file of a replica: its tables, and the one thread that touches it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, TypeVar
from uuid import uuid4

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

_APPLICATION: Final = 0x46657272  # "Ferr": a file of another program is left alone
_LAYOUT: Final = 2
_OWNED: Final = ("ALTER TABLE replica ADD COLUMN owner TEXT", "ALTER TABLE replica ADD COLUMN token TEXT")
"""What the second layout has besides the first."""

_BUSY_MS: Final = 30_000

_TABLES: Final = """
CREATE TABLE replica (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    replica TEXT NOT NULL,
    ack TEXT,
    cursor TEXT,
    rebuild_reason TEXT,                    -- NULL: the copy is in force
    rebuild_cursor TEXT,
    generation INTEGER NOT NULL DEFAULT 0,  -- grows with each rebuild
    ms INTEGER NOT NULL DEFAULT 0,          -- the clock of operations, which never goes back
    tick INTEGER NOT NULL DEFAULT 0,
    last_sync REAL,
    last_error TEXT,
    error_at REAL,
    owner TEXT,                             -- whose it is, as the server calls them; NULL: it has not said so yet
    token TEXT                              -- SHA-256 of the token that is known to be theirs
);
CREATE TABLE base (
    model TEXT, id TEXT, version INTEGER NOT NULL, deleted INTEGER NOT NULL, data TEXT, PRIMARY KEY (model, id)
) WITHOUT ROWID;
CREATE TABLE base_next (
    model TEXT, id TEXT, version INTEGER NOT NULL, deleted INTEGER NOT NULL, data TEXT, PRIMARY KEY (model, id)
) WITHOUT ROWID;
-- What users see of the records that have open operations; data NULL: nothing.
CREATE TABLE overlay (model TEXT, id TEXT, data TEXT, PRIMARY KEY (model, id)) WITHOUT ROWID;
CREATE TABLE operations (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    op_id TEXT NOT NULL UNIQUE,
    operation TEXT NOT NULL,
    model TEXT NOT NULL,
    record_id TEXT NOT NULL,
    data TEXT NOT NULL,
    base TEXT,
    base_version INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    tick INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending',  -- pending | synced | conflict | failed
    open INTEGER NOT NULL DEFAULT 1,        -- whether it is on top of the copied row
    next_at REAL NOT NULL DEFAULT 0,
    retries INTEGER NOT NULL DEFAULT 0,
    acked_version INTEGER,
    acked_generation INTEGER,
    decision TEXT,
    conflict_id INTEGER,
    reason TEXT,
    detail TEXT,
    answered_at REAL
);
CREATE INDEX operations_pending ON operations (n) WHERE state = 'pending';
CREATE INDEX operations_open ON operations (model, record_id, n, base_version) WHERE open = 1;
CREATE INDEX operations_answered ON operations (answered_at) WHERE answered_at IS NOT NULL;
CREATE INDEX operations_shown ON operations (state, n) WHERE state IN ('failed', 'conflict') OR decision IS NOT NULL;
-- Rows of a history that the server has lost, and that no operation of ours brings back.
CREATE TABLE lost (
    model TEXT, id TEXT, version INTEGER NOT NULL, server_version INTEGER NOT NULL, data TEXT, at REAL NOT NULL,
    PRIMARY KEY (model, id)
) WITHOUT ROWID;
"""


class ForeignFile(Exception):
    """The file is no database, or is of another program, or of a later version of this one."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} {why}: name another file")


class SqliteFile:
    """A file of a replica, open. Work on it is done in a thread of its own, one after the other, each a transaction:
    all of it or nothing."""

    def __init__(self) -> None:
        self._work: SimpleQueue[tuple[Work[Any], str, Future[Any]] | None] = SimpleQueue()
        self._opened: Future[None] = Future()
        self._thread: threading.Thread | None = None
        self._closed = True

    async def open(self, path: Path) -> None:
        """Open the file at *path*, or make it, for its owner alone to read. Raises: ForeignFile, sqlite3.Error,
        OSError."""
        # a daemon thread: a program that ends without closing the file is not held up, and loses nothing
        self._thread = threading.Thread(target=self._serve, args=(path,), name="records", daemon=True)
        self._thread.start()
        await asyncio.wrap_future(self._opened)
        self._closed = False

    async def close(self) -> None:
        """End the work that was given, and close the file."""
        self._closed = True
        if self._thread is not None:
            self._work.put(None)
            await asyncio.to_thread(self._thread.join)

    async def write(self, work: Work[T]) -> T:
        """Do *work* in a transaction that may write. Once begun it is done, also where the caller is cancelled. Raises:
        what *work* raises, and nothing is written; sqlite3.Error."""
        return await self._give(work, "BEGIN IMMEDIATE")

    async def read(self, work: Work[T]) -> T:
        """Do *work* in a transaction that only reads. Raises: as `write`."""
        return await self._give(work, "BEGIN")

    async def _give(self, work: Work[T], begin: str) -> T:
        if self._closed:
            raise sqlite3.ProgrammingError("the file is not open")
        given: Future[T] = Future()
        self._work.put((work, begin, given))
        return await asyncio.wrap_future(given)

    def _serve(self, path: Path) -> None:
        try:
            connection = _opened(path)
        except BaseException as error:
            self._opened.set_exception(error)
            return
        self._opened.set_result(None)
        with closing(connection):
            while (given := self._work.get()) is not None:
                work, begin, future = given
                if future.set_running_or_notify_cancel():
                    _do(connection, work, begin, future)


def _do(connection: sqlite3.Connection, work: Work[T], begin: str, future: Future[T]) -> None:
    try:
        connection.execute(begin)
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)


def _opened(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_MS / 1000, cached_statements=256)
    try:
        _require_ours(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # NORMAL may lose the last commits when the power fails
        connection.execute("BEGIN IMMEDIATE")
        _laid_out(connection, path)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _require_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the file has tables yet. Raises: ForeignFile."""
    try:
        owner = connection.execute("PRAGMA application_id").fetchone()[0]
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
        empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
            raise
        raise ForeignFile(path, "is no SQLite database") from None
    if empty:
        return False
    if owner != _APPLICATION:
        raise ForeignFile(path, "belongs to another program")
    if layout > _LAYOUT:
        raise ForeignFile(path, "was written by a later version of this program")
    return True


def _laid_out(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables, or bring them up to date. Raises: ForeignFile."""
    if not _require_ours(connection, path):
        for statement in _TABLES.split(";\n"):
            connection.execute(statement)
        connection.execute("INSERT INTO replica (one, replica) VALUES (1, ?)", (str(uuid4()),))
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    elif connection.execute("PRAGMA user_version").fetchone()[0] < _LAYOUT:
        for statement in _OWNED:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {_LAYOUT}")
