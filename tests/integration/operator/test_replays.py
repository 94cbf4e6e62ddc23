"""Replays as a list tells of them: the plan, how far each has come, and who began it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from adapters.postgres.bus import journal
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.operator.replay import ReplayFilter
from adapters.postgres.pool import Pool
from daemon.operator.replay import list_replays, make_plan, perform
from tests.support.bus import Bench, open_bench
from tests.support.toy import TOY, TYPE, make_event


@pytest.fixture
async def bench(redis: Redis, redis_url: str, db: Pool) -> AsyncIterator[Bench]:
    async with open_bench(redis_url, db) as made:
        yield made


async def test_a_replay_says_what_it_delivers_how_far_it_is_and_who_began_it(bench: Bench) -> None:
    assert await list_replays(bench.pool, 20) == []
    async with bench.pool.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(make_event("+972505550001", n), "") for n in range(3)])
    chosen = ReplayFilter(keys=("+972505550001",))
    plan = await make_plan(bench.pool, bench.worker(), chosen)
    assert await perform(bench.pool, bench.bus, bench.worker(), plan, lambda done, of: None, "ann") == 3
    (one,) = await list_replays(bench.pool, 20)
    assert (one["worker"], one["total"], one["published"], one["by"]) == (TOY, 3, 3, "ann")
    assert one["started_at"] <= one["finished_at"]
    assert (one["filter"]["types"], one["filter"]["key"]) == ([TYPE], ["+…01"]), "keys are masked"
    row = await bench.pool.fetchrow("SELECT actor, action, detail ->> 'total' FROM audit_log")
    assert row is not None
    assert tuple(row) == ("ann", "replay.begun", "3")


async def test_the_last_one_comes_first_and_no_more_than_asked_for(bench: Bench) -> None:
    for by in ("ann", "bob", "cid"):
        plan = await make_plan(bench.pool, bench.worker(), ReplayFilter(event_id=by))
        await perform(bench.pool, bench.bus, bench.worker(), plan, lambda done, of: None, by)
    assert [one["by"] for one in await list_replays(bench.pool, 2)] == ["cid", "bob"]
