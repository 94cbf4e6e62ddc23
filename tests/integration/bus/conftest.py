"""The bench of the bus, on the test's own stores."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from tests.support.bus import Bench, open_bench


@pytest.fixture
async def bench(redis: Redis, redis_url: str, db: Pool) -> AsyncIterator[Bench]:
    """Four partitions, with the toy worker's group and table."""
    async with open_bench(redis_url, db) as made:
        yield made
