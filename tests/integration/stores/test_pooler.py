"""A pooler that shares sessions is found at the start, by the doctor too, and named; sessions of one's own are fine."""

from __future__ import annotations

import asyncpg
import pytest
from redis.asyncio import Redis

from adapters.postgres.pooler import PooledSessions
from daemon.lifecycle import StartError
from daemon.operator.doctor import examine
from daemon.operator.inspection import inspect_installation
from daemon.settings.model import Settings
from daemon.stores.located import located_stores
from daemon.stores.membership import Membership
from tests.support.pooler import transaction_pooler


def settings(redis_url: str, database_url: str) -> Settings:
    return Settings(redis_url=redis_url, database_url=database_url, ferryman_port=0)


async def test_a_process_does_not_start_behind_a_pooler_by_transaction_and_starts_without(database_url: str) -> None:
    async with transaction_pooler(database_url) as pooled:
        behind = Membership(pooled)
        with pytest.raises(PooledSessions, match="a pooler before Postgres works by transaction"):
            await behind.take_part()
        behind.close()
    direct = Membership(database_url)
    await direct.take_part()
    direct.close()


async def test_the_doctor_names_the_pooler(redis: Redis, redis_url: str, database_url: str) -> None:
    async with transaction_pooler(database_url) as pooled:
        found = examine(await inspect_installation(settings(redis_url, pooled)))
    (error,) = [finding for finding in found if finding.level == "error"]
    assert "a pooler before Postgres works by transaction" in error.text


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.DuplicatePreparedStatementError('prepared statement "x" already exists'),
        asyncpg.InvalidSQLStatementNameError('prepared statement "x" does not exist'),
        PooledSessions("shared"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_every_sign_of_such_a_pooler_is_one_line_that_names_it(
    redis_url: str, database_url: str, error: Exception
) -> None:
    with pytest.raises(StartError, match="session mode, or to Postgres itself") as caught:
        async with located_stores(settings(redis_url, database_url), make=False):
            raise error
    assert "\n" not in str(caught.value)
