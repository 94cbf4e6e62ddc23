"""A server that was started again, or emptied, gets nothing before recovery has looked what it lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from adapters.redis.streams import Streams, Untrusted, stream_key
from schemas.envelope import Event, from_fields

KEY = stream_key("orders", 0)


def event(number: int) -> Event:
    return Event(
        id=f"e{number}",
        type="order.received",
        source="orders",
        subject="+15550000001",
        time=datetime(2031, 2, 14, tzinfo=UTC),
        data=b"{}",
    )


async def kept(redis: Redis) -> list[str]:
    entries: Any = await redis.xrange(KEY)
    return [from_fields(fields).id for _, fields in entries]


async def forget_scripts(redis: Redis) -> None:
    """What a restart does to a server's scripts."""
    untyped: Any = redis
    await untyped.script_flush()


async def trusted(redis: Redis, mark_key: str = "", mark: str = "") -> Streams:
    """The streams of a process whose recovery has looked for the first time."""
    streams = Streams(redis, 1, recovers=True)
    assert await streams.appends.restarted() is True  # a server that this process never saw
    streams.appends.trust(mark_key, mark)
    return streams


async def test_only_what_was_lost_goes_to_a_restarted_server_until_it_is_trusted(redis: Redis) -> None:
    streams = await trusted(redis)
    await streams.append([event(1)])
    assert await streams.appends.restarted() is False
    await forget_scripts(redis)
    for _ in range(2):
        with pytest.raises(Untrusted):
            await streams.append([event(3)])
    assert await streams.appends.restarted() is True
    with pytest.raises(Untrusted):
        await streams.append([event(3)])
    await streams.restore([event(2)])
    streams.appends.trust()
    await streams.append([event(3)])
    assert await kept(redis) == ["e1", "e2", "e3"]


async def test_a_restart_after_the_look_began_is_seen_by_the_next_one(redis: Redis) -> None:
    streams = Streams(redis, 1, recovers=True)
    assert await streams.appends.restarted() is True
    await forget_scripts(redis)
    streams.appends.trust()
    with pytest.raises(Untrusted):
        await streams.append([event(1)])
    assert await kept(redis) == []


@pytest.mark.parametrize("left", [None, "of another process's mending"])
async def test_only_what_was_lost_goes_to_a_server_without_the_mark_until_it_is_trusted(
    redis: Redis, left: str | None
) -> None:
    """FLUSHALL leaves the scripts in place."""
    await redis.set("mark", "one")
    streams = await trusted(redis, "mark", "one")
    await streams.append([event(1)])
    await redis.flushall()
    if left is not None:
        await redis.set("mark", left)
    for _ in range(2):
        with pytest.raises(Untrusted):
            await streams.append([event(3)])
    assert await streams.appends.restarted() is True
    await streams.restore([event(2)])
    await redis.set("mark", "two")
    streams.appends.trust("mark", "two")
    await streams.append([event(3)])
    assert await kept(redis) == ["e2", "e3"]


async def test_a_server_is_untrusted_until_recovery_has_looked_at_it(redis: Redis) -> None:
    streams = Streams(redis, 1, recovers=True)
    with pytest.raises(Untrusted):
        await streams.append([event(1)])
    assert await kept(redis) == []


async def test_an_append_of_one_process_proves_nothing_to_another(redis: Redis) -> None:
    first, second = await trusted(redis), await trusted(redis)
    await first.append([event(1)])
    await second.append([event(2)])
    await forget_scripts(redis)
    assert await first.appends.restarted() is True
    first.appends.trust()
    await first.append([event(3)])
    with pytest.raises(Untrusted):
        await second.append([event(4)])
    assert await kept(redis) == ["e1", "e2", "e3"]


async def test_what_is_gone_of_the_last_appends_is_noticed(redis: Redis) -> None:
    streams = Streams(redis, 1)
    await streams.append([event(1), event(2)])
    assert await streams.lacks_recent() is False
    entries: Any = await redis.xrange(KEY)
    await redis.xdel(KEY, entries[-1][0])
    assert await streams.lacks_recent() is True
    streams.recent.forget_ids()
    assert await streams.lacks_recent() is False


async def test_without_a_recovery_a_restarted_server_is_used_as_before(redis: Redis) -> None:
    streams = Streams(redis, 1)
    await streams.append([event(1)])
    await forget_scripts(redis)
    await streams.append([event(2)])
    assert await kept(redis) == ["e1", "e2"]
