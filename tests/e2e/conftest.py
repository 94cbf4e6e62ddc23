"""A simulated CGB and the settings of a real process that uses it, on the stores of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from daemon.sandbox.cgb import TOKEN, CgbSandbox


@pytest.fixture
async def cgb() -> AsyncIterator[CgbSandbox]:
    """A CGB in live style, without a rate limit of its own."""
    async with CgbSandbox("live") as sandbox:
        sandbox.switches.limit = None
        yield sandbox


@pytest.fixture
def stores(redis: Redis, redis_url: str, database_url: str) -> dict[str, str]:
    """Settings that name the test's stores."""
    return {"REDIS_URL": redis_url, "DATABASE_URL": database_url, "FERRYMAN_ADMIN_TOKEN": "e2e-admin-token-0123456789"}


@pytest.fixture
def settings(stores: dict[str, str], cgb: CgbSandbox) -> dict[str, Any]:
    """Settings of a process that syncs to `cgb`, with short leases."""
    return stores | {
        "CGB_API_URL": cgb.url,
        "CGB_API_KEY": TOKEN,
        "CGB_RATE_PER_MINUTE": 1_000_000,
        "CGB_TIMEOUT": 3000,
        "FERRYMAN_LEASE_SECONDS": 2,
    }
