"""Workers and providers that an operator pauses, and pending entries that no process holds."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams, stream_key
from daemon.sandbox import orders
from daemon.sandbox.cgb import CgbSandbox
from tests.support.daemons import environment, ferryman, running, synced
from tests.support.until import until


@pytest.mark.parametrize("name", ["contact-sync", "cgb"])
async def test_what_is_paused_waits_and_intake_goes_on(
    name: str, tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    env = environment(**settings)
    rng = random.Random(9)
    async with running(tmp_path, **settings) as here:
        code, out, _ = await ferryman("pause", name, cwd=tmp_path, env=env)
        assert (code, out.strip()) == (0, f"{name} is paused")

        async def heard() -> bool:
            return any("operator.paused" in line for line in here.lines)

        await until(heard, "the pause")
        for n in range(5):
            assert (await here.post(orders.make_order(rng, n, branch="il")))[0] == 202

        async def journaled() -> bool:
            return bool(await db.fetchval("SELECT count(*) >= 5 FROM event_journal"))

        await until(journaled, "five journaled events")
        assert cgb.ledger.writes() == []
        assert await db.fetchval("SELECT count(*) FROM orders WHERE cgb_sync_status = 'synced'") == 0
        assert (await ferryman("resume", name, cwd=tmp_path, env=env))[1].strip() == f"{name} goes on"
        await synced(db, 5)
        assert await db.fetchval("SELECT count(*) FROM dead_letters") == 0


async def test_pausing_what_does_not_exist_says_what_does(tmp_path: Path, settings: dict[str, Any]) -> None:
    code, _, err = await ferryman("pause", "contact-snyc", cwd=tmp_path, env=environment(**settings))
    assert code == 1
    assert "contact-sync" in err


async def test_pending_entries_that_no_process_holds_are_found_and_done(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, redis: Redis
) -> None:
    rng = random.Random(10)
    env = environment(**settings)
    async with running(tmp_path, **settings) as here:
        await ferryman("pause", "contact-sync", cwd=tmp_path, env=env)

        async def heard() -> bool:
            return any("operator.paused" in line for line in here.lines)

        await until(heard, "the pause")
        await asyncio.sleep(1.2)  # the read that is under way ends within its BLOCK
        for n in range(10):
            assert (await here.post(orders.make_order(rng, n, branch="il")))[0] == 202
        keys = [stream_key("orders", p) for p in range(16)]
        stolen = await Streams(redis, 16).read("contact-sync", dict.fromkeys(keys, ">"), count=100, epochs={})
        assert len(stolen) == 10
        await ferryman("resume", "contact-sync", cwd=tmp_path, env=env)
        await synced(db, 10)
