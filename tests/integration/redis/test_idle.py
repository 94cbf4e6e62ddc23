"""The connections that a burst has opened do not stay open."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from adapters.redis import idle
from adapters.redis.client import client
from tests.support.until import until

NAME = "burst"


async def test_the_connections_of_a_burst_are_closed_when_nothing_has_used_them_for_a_while(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle, "IDLE_S", 0.2)

    async def opened() -> int:
        return sum(found["name"] == NAME for found in await redis.client_list())

    own = client(redis_url + ("&" if "?" in redis_url else "?") + f"client_name={NAME}", timeout_s=5, connections=20)
    try:
        await asyncio.gather(*(own.blpop([f"nothing-{n}"], timeout=0.2) for n in range(12)))
        assert await opened() == 12

        async def one_is_left() -> bool:
            assert await own.ping()
            return await opened() == 1

        await until(one_is_left, "a pool with one connection")
        await asyncio.gather(*(own.ping() for _ in range(12)))  # those that were closed connect again
    finally:
        await own.aclose()
