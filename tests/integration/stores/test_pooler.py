"""A pooler that shares sessions is found by the start, by migrate and by the doctor, and named. Behind one that lends
whole sessions everything works, with the pooler's own defaults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import asyncpg
import pytest
from redis.asyncio import Redis

from adapters.postgres import pool
from adapters.postgres.pooler import PooledSessions
from daemon.lifecycle import StartError
from daemon.operator.doctor import examine
from daemon.operator.inspection import inspect_installation
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from daemon.settings.model import Settings
from daemon.stores.located import located_stores
from daemon.stores.membership import Membership
from tests.support.daemons import API_KEY, ended, environment, ferryman, free_port, running, some_orders
from tests.support.pgbouncer import pgbouncer
from tests.support.pooler import session_pooler, transaction_pooler

Pooler: TypeAlias = Callable[[str], AbstractAsyncContextManager[str]]

NAMED: Final = "a pooler before Postgres works by transaction"

by_transaction: Final = pytest.mark.parametrize(
    "pooler", [transaction_pooler, partial(pgbouncer, mode="transaction")], ids=["simulated", "pgbouncer"]
)
by_session: Final = pytest.mark.parametrize(
    "pooler", [session_pooler, partial(pgbouncer, mode="session")], ids=["simulated", "pgbouncer"]
)


@pytest.fixture
async def cgb() -> AsyncIterator[CgbSandbox]:
    async with CgbSandbox("live") as sandbox:
        sandbox.switches.limit = None
        yield sandbox


def store_settings(redis_url: str, database_url: str) -> dict[str, Any]:
    return {
        "REDIS_URL": redis_url,
        "DATABASE_URL": database_url,
        "FERRYMAN_ADMIN_TOKEN": "pooler-admin-token-0123456789",
        "FERRYMAN_PORT": free_port(),
    }


@by_transaction
@pytest.mark.parametrize("verb", [("run",), ("migrate",), ("partitions", "8", "--yes")], ids=" ".join)
async def test_a_pooler_by_transaction_is_refused_in_one_line_that_names_it(
    tmp_path: Path, redis: Redis, redis_url: str, database_url: str, pooler: Pooler, verb: tuple[str, ...]
) -> None:
    async with pooler(database_url) as pooled:
        code, _, err = await ferryman(*verb, cwd=tmp_path, env=environment(**store_settings(redis_url, pooled)))
    assert code == 1
    (line,) = [line for line in err.splitlines() if line]
    assert NAMED in line
    assert "session mode, or to Postgres itself" in line


@by_transaction
async def test_the_doctor_names_a_pooler_by_transaction(
    redis: Redis, redis_url: str, database_url: str, pooler: Pooler
) -> None:
    async with pooler(database_url) as pooled:
        found = examine(await inspect_installation(Settings(redis_url=redis_url, database_url=pooled, ferryman_port=0)))
    (error,) = [finding for finding in found if finding.level == "error"]
    assert NAMED in error.text


@by_session
async def test_behind_a_pooler_by_session_everything_works(
    tmp_path: Path, redis: Redis, redis_url: str, empty_database_url: str, cgb: CgbSandbox, pooler: Pooler
) -> None:
    async with pooler(empty_database_url) as pooled:
        settings = store_settings(redis_url, pooled) | {
            "CGB_API_URL": cgb.url,
            "CGB_API_KEY": TOKEN,
            "CGB_RATE_PER_MINUTE": 1_000_000,
        }
        code, out, err = await ferryman("migrate", cwd=tmp_path, env=environment(**settings))
        assert code == 0, out + err
        del settings["FERRYMAN_PORT"]
        async with running(tmp_path, **settings) as here, pool.connect(empty_database_url, size=1) as db:
            for order in some_orders(3):
                assert (await here.post(order))[0] == 202
            await ended(db, 3)
            code, out, err = await ferryman("audit", cwd=tmp_path, env=environment(**settings))
            assert code == 0, out + err
            code, out, err = await ferryman("doctor", cwd=tmp_path, env=environment(**settings, ORDERS_API_KEY=API_KEY))
            assert NAMED not in out
            assert "ok     the schema is up to date" in out, out + err
            assert await here.stop() == 0


async def test_a_process_does_not_start_behind_a_pooler_by_transaction_and_starts_without(database_url: str) -> None:
    async with transaction_pooler(database_url) as pooled:
        behind = Membership(pooled)
        with pytest.raises(PooledSessions, match=NAMED):
            await behind.take_part()
        behind.close()
    direct = Membership(database_url)
    await direct.take_part()
    direct.close()


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
        async with located_stores(Settings(redis_url=redis_url, database_url=database_url), make=False):
            raise error
    assert "\n" not in str(caught.value)
