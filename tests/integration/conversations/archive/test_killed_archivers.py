"""Processes that move what waits for the store are killed at any point: nothing is lost, and nothing stays behind."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from adapters.postgres import archive
from adapters.postgres.archive import WaitingObject
from adapters.postgres.pool import Pool

LIVES = 9


def object_of(n: int) -> WaitingObject:
    body = f"{n}:".encode() * (1 + n % 300)
    return WaitingObject(f"demo-bucket-{n % 3}", f"whatsapp-media/2031-02-14/{n % 7}/{n}.bin", "text/plain", body)


async def test_what_waits_outlives_kills_at_any_point(db: Pool, database_url: str, tmp_path: Path) -> None:
    objects = [object_of(n) for n in range(200)]
    async with db.acquire() as conn, conn.transaction():
        await archive.wait(conn, objects)
    lives = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.killed_archivers", str(LIVES),
        env={**os.environ, "STORE_POSTGRES": database_url, "DATA": str(tmp_path / "archive")},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    told, _ = await lives.communicate()
    assert (lives.returncode, int(told)) == (0, LIVES)
    for one in objects:
        assert (tmp_path / "archive" / one.bucket / one.path).read_bytes() == one.body
    found = [file for file in (tmp_path / "archive").rglob("*.bin") if file.is_file()]
    assert len(found) == len(objects)
    assert await archive.count(db) == 0
