"""The duties beside the workers: each by itself, whatever store another one waits for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from adapters.channel import Channels
from adapters.postgres.bus import burials, days, outbox, pauses, spool
from adapters.postgres.pool import Pool
from adapters.redis.limits import RateLimiter
from adapters.redis.pauses import resume
from adapters.redis.streams import Streams, stream_keys
from daemon.bus import upkeep as upkeeping
from daemon.bus.metrics import METRICS
from daemon.bus.upkeep import Upkeep
from daemon.settings.model import Settings
from schemas.envelope import Event
from schemas.errors import ChannelDown
from tests.support.bus import make_metrics, make_upkeep
from tests.support.services import services
from tests.support.toy import TOPIC, TOY, make_event
from tests.support.until import until


def upkeep_of(db: Pool, bus: Streams, channels: Channels) -> Upkeep:
    return Upkeep(Settings(), db, bus, [], channels, make_metrics())


async def test_what_is_kept_with_events_is_removed_after_their_days(db: Pool, redis: Redis) -> None:
    await days.ensure_days(db)
    await db.execute(
        "INSERT INTO label_requests (key, digest, event_id, created_at)"
        " SELECT n::text, '', gen_random_uuid(), now() - make_interval(days => n) FROM unnest(ARRAY[5, 8]) AS n"
    )
    settings = Settings(ferryman_inbox_days=7)
    upkeep = Upkeep(settings, db, Streams(redis, 2), [], Channels(), make_metrics())
    async with services(*[one for one in upkeep.duties if one.name == "retention"]):

        async def removed() -> bool:
            return [row["key"] for row in await db.fetch("SELECT key FROM label_requests")] == ["5"]

        await until(removed)


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


def value(upkeep: Upkeep, name: str, **labels: str) -> float | None:
    """What the page of metrics has, or None."""
    text = upkeep._metrics.render()[0].decode()
    wanted = (
        name + ("{" + ",".join(f'{key}="{it}"' for key, it in sorted(labels.items())) + "}" if labels else "") + " "
    )
    return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(wanted)), None)


async def waiting_for(db: Pool, bus: Streams) -> tuple[Upkeep, Any]:
    """The upkeep of a consumer that has not read the three events that wait for it."""
    consumer: Any = SimpleNamespace(
        name=TOY,
        paused=False,
        worker=SimpleNamespace(name=TOY, reads=[TOPIC]),
        lanes=SimpleNamespace(oldest=lambda: None),
    )
    await bus.ensure_groups(TOY, stream_keys([TOPIC], range(bus.partitions)))
    await bus.append([make_event(f"key-{n}") for n in range(3)])
    channels = Channels()
    _ = channels["test"]
    return Upkeep(Settings(), db, bus, [consumer], channels, make_metrics()), consumer


async def away(*_: object) -> int:
    raise ConnectionRefusedError


async def test_what_waits_in_redis_is_measured_while_postgres_is_away(
    db: Pool, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    upkeep, _ = await waiting_for(db, Streams(redis, 2))
    monkeypatch.setattr(spool, "size", away)
    monkeypatch.setattr(burials, "open_letters", away)
    async with services(*upkeep.duties):
        await until(lambda: value(upkeep, "ferryman_lag", worker=TOY) == 3)
        await until(lambda: (value(upkeep, "ferryman_oldest_seconds", worker=TOY) or 0) > 0)
        assert value(upkeep, "ferryman_spool") is None


async def test_what_waits_in_postgres_is_measured_while_redis_is_away(
    db: Pool, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = Streams(redis, 2)
    upkeep, _ = await waiting_for(db, bus)
    monkeypatch.setattr(bus, "lag", away)
    async with services(*upkeep.duties):
        await until(lambda: value(upkeep, "ferryman_spool") == 0)
        await until(lambda: value(upkeep, "ferryman_dead_letters", worker=TOY) == 0)
        assert value(upkeep, "ferryman_lag", worker=TOY) is None


async def test_what_no_process_has_read_is_in_the_gauges_of_every_process_and_their_help_says_how_to_add_them_up(
    db: Pool, redis: Redis
) -> None:
    one, consumer = await waiting_for(db, Streams(redis, 2))
    consumer.paused = True
    other = Upkeep(Settings(), db, Streams(redis, 2), [consumer], Channels(), make_metrics())
    async with services(*one.duties, *other.duties):
        both = (one, other)
        await until(lambda: [value(process, "ferryman_lag", worker=TOY) for process in both] == [3, 3])
        await until(lambda: all((value(process, "ferryman_oldest_seconds", worker=TOY) or 0) > 0 for process in both))
    helps = {metric.name: metric.help for metric in METRICS}
    for name in ("lag", "oldest_seconds", "unattended_seconds", "dead_letters", "spool"):
        assert "take their max, not their sum" in helps[f"ferryman_{name}"]


async def test_a_pause_is_a_gauge_of_the_worker_and_of_the_provider(db: Pool, redis: Redis) -> None:
    upkeep, consumer = await waiting_for(db, Streams(redis, 2))
    async with services(*upkeep.duties):
        await until(lambda: value(upkeep, "ferryman_worker_paused", worker=TOY) == 0)
        await pauses.pause(db, TOY)
        await pauses.pause(db, "test")
        await until(lambda: consumer.paused)
    again = Upkeep(Settings(), db, Streams(redis, 2), [consumer], upkeep._channels, make_metrics())
    async with services(*again.duties):
        await until(lambda: value(again, "ferryman_worker_paused", worker=TOY) == 1)
        await until(lambda: value(again, "ferryman_provider_paused", provider="test") == 1)


async def test_a_provider_that_nobody_calls_here_has_its_gauges_too(db: Pool, redis: Redis) -> None:
    """Promise: what an operator paused, and what the provider itself asked for, is seen without a call."""
    channels = Channels()
    _ = channels["test"]
    bus = Streams(redis, 2)
    upkeep = Upkeep(Settings(), db, bus, [], channels, make_metrics(), scopes={"test": "test:account"})
    async with services(*upkeep.duties):
        await until(lambda: value(upkeep, "ferryman_provider_wait_seconds", provider="test") == 0)
        await pauses.pause(db, "test")
        await until(lambda: value(upkeep, "ferryman_provider_paused", provider="test") == 1)
        assert value(upkeep, "ferryman_breaker_open", provider="test") == 1
        await RateLimiter(redis, per_minute=90).pause("test:account", 200)
        await until(lambda: (value(upkeep, "ferryman_provider_wait_seconds", provider="test") or 0) > 100)
        assert channels["test"].asked_s > 100
        await pauses.resume(db, "test")
        await until(lambda: value(upkeep, "ferryman_provider_paused", provider="test") == 0)
    assert channels["test"].state.word == "asked"


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


async def test_an_account_is_paused_by_its_own_name_and_by_its_provider_s(db: Pool, redis: Redis) -> None:
    channels = Channels(["test"])
    first, second = channels["test"], channels["test/second"]
    upkeep = upkeep_of(db, Streams(redis, 2), channels)
    for name, wanted in (
        ("test", (True, True)),
        ("test/second", (False, True)),
        ("test/default", (True, False)),
        ("test/third", (False, False)),
        ("second", (False, False)),
    ):
        await pauses.pause(db, name)
        await upkeep._follow_pauses()
        assert (first.paused, second.paused) == wanted, name
        assert value(upkeep, "ferryman_provider_paused", provider="test") == float(any(wanted))
        await pauses.resume(db, name)
    await upkeep._follow_pauses()
    assert (first.paused, second.paused) == (False, False)


async def test_a_wait_that_one_account_is_asked_for_is_heard_by_it_alone(db: Pool, redis: Redis) -> None:
    channels = Channels(["test"])
    second = channels["test/second"]
    _ = channels["elsewhere/second"]
    upkeep = Upkeep(Settings(), db, Streams(redis, 2), [], channels, make_metrics(), scopes={"test": "test:sender"})
    await RateLimiter(redis, per_minute=90).pause("test:sender:second", 60)
    await upkeep._follow_waits()
    assert channels["test"].asked_s == 0 < second.asked_s
    assert (value(upkeep, "ferryman_provider_wait_seconds", provider="test") or 0) > 0


async def test_what_an_operator_resumes_is_tried_again_at_once_in_a_process_that_had_stopped_calling_it(
    db: Pool, redis: Redis
) -> None:
    channels = Channels(["test"])

    async def down() -> None:
        raise ChannelDown("the account is refused", channel="test")

    for name in ("test", "test/second"):
        with pytest.raises(ChannelDown):
            await channels[name].call("write", down)
    upkeep = Upkeep(Settings(), db, Streams(redis, 2), [], channels, make_metrics(), scopes={"test": "test:sender"})
    for _ in range(2):
        await upkeep._follow_waits()
        assert not channels["test"].may_probe
    await resume(redis, "test:sender")
    await upkeep._follow_waits()
    assert channels["test"].may_probe
    assert not channels["test/second"].may_probe
    with pytest.raises(ChannelDown):
        await channels["test"].call("write", down)
    await upkeep._follow_waits()
    assert not channels["test"].may_probe, "a resumption counts once"


async def test_a_breaker_of_any_account_is_measured_by_the_name_of_the_provider(db: Pool, redis: Redis) -> None:
    channels = Channels(["test"])

    async def down() -> None:
        raise ChannelDown("of a made-up account", channel="test/second")

    with pytest.raises(ChannelDown):
        await channels["test/second"].call("write", down)
    upkeep = upkeep_of(db, Streams(redis, 2), channels)
    await upkeep._measure_process()
    assert value(upkeep, "ferryman_breaker_open", provider="test") == 1
    assert value(upkeep, "ferryman_breaker_open", provider="test/second") is None
