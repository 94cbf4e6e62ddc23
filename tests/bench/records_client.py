"""How fast a replica's file is: `python -m tests.bench.records_client`.

Writes of an app, one after the other and eight at once, and rows of a first copy in pages of 1,000, each beside the
plainest SQLite that does the same with the same promises (one thread, WAL, FULL).
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import orjson

from adapters.sync.sqlite import SqliteReplica
from adapters.sync.store import Change, Page

WRITES: Final = 3_000
ROWS: Final = 100_000
PAGE: Final = 1_000
DATA: Final = {"name": "Dana Levi", "stage": "new", "amount": "1200.50", "notes": "called twice", "tags": ["a", "b"]}


async def timed(what: str, count: int, work: Callable[[], Awaitable[None]]) -> float:
    begun = time.perf_counter()
    await work()
    rate = count / (time.perf_counter() - begun)
    print(f"{what:<44} {rate:>10,.0f}/s")
    return rate


def bare(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in (
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "CREATE TABLE q (n INTEGER PRIMARY KEY, data TEXT)",
        "CREATE TABLE r (id TEXT PRIMARY KEY, version INTEGER, data TEXT) WITHOUT ROWID",
    ):
        connection.execute(statement)
    return connection


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        store = SqliteReplica()
        await store.open(place / "phone")
        plain = bare(place / "bare")

        async def plain_writes() -> None:
            for number in range(WRITES):
                text = orjson.dumps(DATA).decode()
                plain.execute("BEGIN IMMEDIATE")
                plain.execute("INSERT INTO q (data) VALUES (?)", (text,))
                plain.execute("INSERT INTO r VALUES (?, 0, ?)", (f"l{number}", text))
                plain.execute("COMMIT")

        async def writes() -> None:
            for number in range(WRITES):
                await store.write("CREATE", "Lead", f"l{number}", DATA)

        async def writes_at_once() -> None:
            async def some(part: int) -> None:
                for number in range(WRITES // 8):
                    await store.write("CREATE", "Lead", f"p{part}-{number}", DATA)

            await asyncio.gather(*(some(part) for part in range(8)))

        def page(first: int, version: int) -> Page:
            rows = [
                Change(op="upsert", model="Row", record_id=f"r{n:07}", version=version, data=DATA)
                for n in range(first, first + PAGE)
            ]
            return Page(changes=rows, cursor=str(first), more=True)

        async def plain_rows() -> None:
            for first in range(0, ROWS, PAGE):
                rows = [(f"r{n:07}", 1, orjson.dumps(DATA).decode()) for n in range(first, first + PAGE)]
                plain.execute("BEGIN IMMEDIATE")
                plain.executemany("INSERT INTO r VALUES (?, ?, ?)", rows)
                plain.execute("COMMIT")

        async def rows(version: int) -> None:
            for first in range(0, ROWS, PAGE):
                await store.take(page(first, version))

        empty = SqliteReplica()
        await empty.open(place / "empty")
        await timed("plain: record and queue row", WRITES, plain_writes)
        await timed("a write", WRITES, writes)
        await timed("a write, eight at once", WRITES, writes_at_once)
        await timed("plain: rows in pages", ROWS, plain_rows)
        await timed("pulled rows, while operations wait", ROWS, lambda: rows(1))
        store, waiting = empty, store
        await timed("pulled rows, none waits", ROWS, lambda: rows(1))
        await timed("pulled rows again, of a new version", ROWS, lambda: rows(2))
        await store.close()
        await waiting.close()


if __name__ == "__main__":
    asyncio.run(main())
