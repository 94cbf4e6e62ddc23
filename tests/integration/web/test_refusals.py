"""Every refused request is in the table: as a row, or in the count of one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from structlog.testing import capture_logs

from adapters.postgres.pool import Pool, connect
from daemon.web.refusals import PER_WINDOW, WINDOW_S, Refusals

NOON: Final = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)


def refuse(refusals: Refusals, reason: str, count: int) -> None:
    for n in range(count):
        at = NOON + timedelta(milliseconds=n)
        refusals.note("orders", reason, 401, at=at, remote="127.0.0.1", headers={"Host": "h"}, body=b"x")


async def counted(db: Pool) -> dict[str, list[int]]:
    rows = await db.fetch("SELECT reason, suppressed FROM refused_requests ORDER BY id")
    found: dict[str, list[int]] = {}
    for row in rows:
        found.setdefault(row["reason"], []).append(row["suppressed"])
    return found


async def test_what_was_only_counted_is_written_at_the_stop(db: Pool) -> None:
    refusals, stop = Refusals(db), asyncio.Event()
    running = asyncio.create_task(refusals.run(stop))
    refuse(refusals, "signature", PER_WINDOW + 40)
    refuse(refusals, "not_json", PER_WINDOW + 1)
    refuse(refusals, "size", PER_WINDOW)
    stop.set()
    await running
    kept = await counted(db)
    assert kept == {
        "signature": [0] * PER_WINDOW + [39],
        "not_json": [0] * (PER_WINDOW + 1),
        "size": [0] * PER_WINDOW,
    }
    row = await db.fetchrow("SELECT * FROM refused_requests WHERE suppressed > 0")
    assert row is not None
    assert (row["source"], row["status"], row["remote"], row["headers"]) == ("orders", 401, "127.0.0.1", "{}")
    assert row["at"] == NOON + timedelta(milliseconds=PER_WINDOW + 39)


async def test_a_count_is_written_once(db: Pool) -> None:
    refusals, stop = Refusals(db), asyncio.Event()
    refuse(refusals, "signature", PER_WINDOW + 5)
    refusals.note(
        "orders", "signature", 401, at=NOON + timedelta(seconds=2 * WINDOW_S), remote=None, headers={}, body=None
    )
    stop.set()
    await refusals.run(stop)
    assert await counted(db) == {"signature": [0] * PER_WINDOW + [5]}


async def test_what_no_store_takes_at_the_stop_is_logged(database_url: str) -> None:
    async with connect(database_url, size=1) as gone:
        refusals, stop = Refusals(gone), asyncio.Event()
    refuse(refusals, "signature", PER_WINDOW + 5)
    stop.set()
    with capture_logs() as lines:
        await refusals.run(stop)
    assert [(line["event"], line["count"]) for line in lines] == [("refusals.lost", PER_WINDOW + 5)]
