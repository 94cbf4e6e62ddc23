"""How many messages a second the archive keeps in files: `python -m tests.bench.archive [--json]` (30 s).

The real worker, in one process: read, look up whose the message is, write the object durably, one commit per batch with
the row, the inbox and the outbox, acknowledge. The limit, measured in the same run, is a loop that only writes the same
files (each synced, renamed, its directory synced) in one thread after the other, and the same rows in batches of 200.
MESSAGES messages of Chatwoot, of 2 KB, by 500 people. Best of two, taking turns. Bar: 500 a second, or half of the
loop.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from adapters.postgres import notes
from adapters.postgres.pool import Pool, connect
from daemon.conversations.archive import archive
from daemon.conversations.archive.notes import document_of, heard, note_of
from daemon.process import settle_memory
from daemon.settings.model import Settings
from schemas.envelope import Event
from tests.bench.rig import Figure, main, stores
from tests.support.archive_worker import archive_worker, events_of, incoming

MESSAGES: Final = 4000
PEOPLE: Final = 500
ROWS: Final = 200
TIMES: Final = 2
ENOUGH: Final = 500


def messages(turn: int) -> list[Event]:
    """MESSAGES messages that nobody has seen."""
    now = datetime.now(UTC)
    bodies = [
        incoming(
            1 + turn * MESSAGES + n,
            text="x" * 900,
            contact=n % PEOPLE,
            conversation=n % PEOPLE,
            phone=f"+1{201 + n % PEOPLE // 100:03d}55501{n % PEOPLE % 100:02d}",
        )
        for n in range(MESSAGES)
    ]
    return events_of(*bodies, at=now)


async def by_hand(pool: Pool, root: Path, events: Sequence[Event]) -> float:
    """The limit, in seconds."""
    read = [heard(event) for event in events]
    bodies = [document_of(message) for message in read]
    begun = time.perf_counter()
    for start in range(0, len(read), ROWS):
        batch = list(zip(read[start : start + ROWS], bodies[start : start + ROWS], strict=True))
        for message, body in batch:
            await asyncio.to_thread(_write, root / "bucket" / message.path, body)
        rows = [note_of(message, None, "bucket", "", body, 1) for message, body in batch]
        async with pool.acquire() as conn, conn.transaction():
            await notes.keep(conn, rows)
    return time.perf_counter() - begun


def _write(file: Path, body: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(handle, "wb") as out:
        out.write(body)
        out.flush()
        os.fsync(out.fileno())
    Path(name).replace(file)
    directory = os.open(file.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


async def by_ferryman(redis_url: str, pool: Pool, root: Path, events: Sequence[Event]) -> float:
    """The worker, in seconds: what is on the streams before counts for neither."""
    settings = Settings(ferryman_data_dir=root)
    async with archive_worker(redis_url, pool, settings) as rig:
        await rig.publish(events)
        keys = rig.keys(archive.WORKER)
        begun = time.perf_counter()
        async with rig.working(archive.WORKER):
            while await rig.bus.lag(archive.WORKER.name, keys) != (0, 0):
                await asyncio.sleep(0.01)
            return time.perf_counter() - begun


async def measure() -> list[Figure]:
    took: dict[str, list[float]] = {"by hand": [], "ferryman": []}
    async with stores() as addresses, connect(addresses.database_url) as pool:
        settle_memory()
        for turn in range(TIMES):
            with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
                took["by hand"].append(await by_hand(pool, Path(name) / "hand", messages(2 * turn)))
                ours = messages(2 * turn + 1)
                took["ferryman"].append(await by_ferryman(addresses.redis_url, pool, Path(name), ours))
            kept = await pool.fetchval("SELECT count(*) FROM meeting_notes WHERE processing_status = 'stored'")
            assert kept == 2 * MESSAGES * (turn + 1), kept
    loop, rate = (MESSAGES / min(took[kind]) for kind in ("by hand", "ferryman"))
    ratio = Figure("archive: part of the loop", rate / loop, "", at_least=0.5)
    figure = Figure("archive: messages kept", rate, "messages/s", at_least=ENOUGH)
    if rate >= ENOUGH:
        ratio = replace(ratio, at_least=None)
    elif ratio.kept:
        figure = replace(figure, at_least=None)
    return [Figure("a loop that writes files and rows", loop, "messages/s"), figure, ratio]


if __name__ == "__main__":
    main(measure, __doc__)
