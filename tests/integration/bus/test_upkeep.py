"""The duties beside the workers: each by itself, whatever store another one waits for."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from adapters.channel import Channels
from adapters.postgres.bus import days, outbox, pauses
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.bus import upkeep as upkeeping
from daemon.bus.upkeep import Upkeep
from daemon.settings.model import Settings
from schemas.envelope import Event
from tests.support.bus import make_metrics, make_upkeep
from tests.support.services import services
from tests.support.toy import make_event
from tests.support.until import until


def upkeep_of(db: Pool, bus: Streams, channels: Channels) -> Upkeep:
    return Upkeep(Settings(), db, bus, [], channels, make_metrics())


async def test_a_duty_that_waits_for_a_frozen_store_delays_no_other(
    db: Pool, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = asyncio.Event()

    async def wait_for_ever(pool: Pool, *, older_than_s: float, limit: int) -> list[tuple[int, Event]]:
        frozen.set()
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(outbox, "left", wait_for_ever)
    channels = Channels()
    channel = channels["test"]
    upkeep = upkeep_of(db, Streams(redis, 2), channels)
    for duty in upkeep.duties:
        duty.start()
    try:
        await asyncio.wait_for(frozen.wait(), 30)
        await pauses.pause(db, "test")
        await until(lambda: channel.paused)
        await pauses.resume(db, "test")
        await until(lambda: not channel.paused)
    finally:
        for duty in upkeep.duties:
            duty.cut()
            await duty.stopped()


async def test_a_duty_whose_store_is_away_goes_on_when_it_is_back(
    db: Pool, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus, answers = Streams(redis, 2), 0
    await days.ensure_days(db)
    append = bus.append

    async def away_twice(events: list[Event]) -> None:
        nonlocal answers
        answers += 1
        if answers <= 2:
            raise ConnectionRefusedError
        await append(events)

    monkeypatch.setattr(bus, "append", away_twice)
    async with db.acquire() as conn:
        await outbox.emit(conn, [make_event("key-1")])
        await conn.execute("UPDATE outbox SET created_at = now() - interval '6 seconds'")
    async with services(*make_upkeep(db, bus).duties):

        async def swept() -> bool:
            return bool(await db.fetchval("SELECT count(*) FROM outbox") == 0)

        await until(swept)
    assert answers == 3


@pytest.mark.parametrize(
    "error", [RuntimeError("a fault of ours"), asyncpg.DataError("bad"), asyncpg.InternalServerError("x")]
)
async def test_no_error_of_a_duty_ends_the_process_and_each_is_told(
    db: Pool, redis: Redis, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    rounds = 0

    async def fails(*_: object, **__: object) -> list[tuple[int, Event]]:
        nonlocal rounds
        rounds += 1
        raise error

    monkeypatch.setattr(upkeeping, "SWEEP_EVERY_S", 0.01)
    monkeypatch.setattr(outbox, "left", fails)
    with capture_logs() as lines:
        async with services(*make_upkeep(db, Streams(redis, 2)).duties):
            await until(lambda: rounds > 5)
    told = [line for line in lines if line["event"] == "upkeep.failed"]
    assert [(line["duty"], line["error_class"]) for line in told] == [("outbox", type(error).__name__)]
