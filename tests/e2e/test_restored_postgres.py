"""Postgres is put back from a backup, on the same Redis: what came after the backup is read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from adapters.postgres.pool import Pool, connect
from daemon.bus import recovery
from daemon.sandbox.cgb import CgbSandbox
from tests.support.daemons import environment, ferryman, running, some_orders, synced
from tests.support.servers import copied, dropped
from tests.support.until import until


async def test_what_came_after_a_backup_is_read_again_and_no_contact_is_made_twice(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, database_url: str
) -> None:
    before, after, later = some_orders(4), some_orders(9)[4:], some_orders(10)[9:]
    async with running(tmp_path, **settings) as here:
        for order in before:
            assert (await here.post(order))[0] == 202
        await synced(db, 4)
        assert await here.stop() == 0
    name = f"restored_{urlsplit(database_url).path[1:]}"
    backup = await copied(database_url, name)
    try:
        async with running(tmp_path, **settings) as here:
            for order in after:
                assert (await here.post(order))[0] == 202
            await synced(db, 9)

            async def past_a_checkpoint() -> bool:
                return bool(await db.fetchval("SELECT count(*) FROM ferryman_meta WHERE key = 'checkpoint'"))

            await until(past_a_checkpoint, "a checkpoint", recovery.CHECKPOINT_EVERY * 4)
            assert await here.stop() == 0
        restored = settings | {"DATABASE_URL": backup}
        async with running(tmp_path, **restored) as here, connect(backup, size=2) as pool:
            await synced(pool, 9, within_s=90)  # the streams are read again from before the backup
            for order in later:
                assert (await here.post(order))[0] == 202
            await synced(pool, 10)
            code, out, _ = await ferryman("audit", "--json", cwd=tmp_path, env=environment(**restored))
            sums = json.loads(out)["workers"]["contact-sync"]
            assert (code, sums["accepted"], sums["open"]) == (0, 10, 0)
            assert sum("postgres.went_back" in line for line in here.lines) == 1
            assert await here.stop() == 0
    finally:
        await dropped(database_url, name)
    assert set(cgb.ledger.creates_by_contact().values()) == {1}


@pytest.mark.parametrize("stopped_in_between", [True, False])
async def test_a_postgres_that_did_not_go_back_has_nothing_read_again(
    tmp_path: Path, settings: dict[str, Any], db: Pool, stopped_in_between: bool
) -> None:
    lines: list[str] = []
    for _ in range(2 if stopped_in_between else 1):
        async with running(tmp_path, **settings) as here:
            (order,) = some_orders(1)
            assert (await here.post(order))[0] == 202
            await synced(db, 1)
            before = await db.fetchval("SELECT value FROM ferryman_meta WHERE key = 'checkpoint'")

            async def another_checkpoint(before: str | None = before) -> bool:
                return bool(await db.fetchval("SELECT value FROM ferryman_meta WHERE key = 'checkpoint'") != before)

            await until(another_checkpoint, "another checkpoint", recovery.CHECKPOINT_EVERY * 4)
            lines += here.lines
    assert not [line for line in lines if 'went_back":true' in line or "postgres.went_back" in line]
