"""The pages on the test's own stores."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from daemon.settings.model import Settings
from tests.support.browsers import Office, opened_office


@pytest.fixture
def settings(redis_url: str, database_url: str) -> Settings:
    return Settings(
        redis_url=SecretStr(redis_url), database_url=SecretStr(database_url), ferryman_admin_token=SecretStr("t" * 20)
    )


@pytest.fixture
async def office(redis: Redis, db: Pool, settings: Settings) -> AsyncIterator[Office]:
    async with opened_office(redis, db, settings) as opened:
        yield opened
