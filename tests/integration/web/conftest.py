"""The listener's rig, on the test's own stores."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from tests.support.listening import Open, Rig, opener


@pytest.fixture
def open_rig(redis: Redis, db: Pool) -> Open:
    """Opens rigs."""
    return opener(redis, db)


@pytest.fixture
async def rig(open_rig: Open) -> AsyncIterator[Rig]:
    """A rig as it is by default: `orders` is served, with a key."""
    async with open_rig() as opened:
        yield opened
