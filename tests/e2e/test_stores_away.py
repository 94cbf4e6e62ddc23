"""Stores that are away when the process starts: it listens, says so, and works by itself once they are there."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientError

from adapters.postgres.pool import connect, single_connection
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from daemon.stores.embedded.servers import Server, Servers
from tests.support.daemons import (
    API_KEY,
    Running,
    answering,
    ended,
    environment,
    ferryman,
    free_port,
    running,
    some_orders,
)
from tests.support.proxy import proxied
from tests.support.servers import ensure_running, frozen, migrated_database, own_servers
from tests.support.until import until

STOPS_S: Final = 10.0
"""Longest time from SIGTERM to the end of a process that has nothing in hand."""

BOTH: Final = ("redis", "postgres")


@pytest.fixture(scope="module")
def own() -> Iterator[Servers]:
    """Servers of this module alone, which its tests stop and start again."""
    with own_servers(fsync=False) as started:
        yield started


@pytest.fixture
async def own_database(own: Servers) -> AsyncIterator[str]:
    await ensure_running(own.valkey, own.postgres)
    async with migrated_database(str(own.database_url)) as url:
        yield url
        await ensure_running(own.valkey, own.postgres)


@pytest.fixture
def own_settings(own: Servers, own_database: str, cgb: CgbSandbox) -> dict[str, Any]:
    return {
        "REDIS_URL": own.redis_url,
        "DATABASE_URL": own_database,
        "FERRYMAN_ADMIN_TOKEN": "away-admin-token-0123456789",
        "CGB_API_URL": cgb.url,
        "CGB_API_KEY": TOKEN,
        "CGB_RATE_PER_MINUTE": 1_000_000,
        "FERRYMAN_LEASE_SECONDS": 2,
    }


def server(own: Servers, name: str) -> Server:
    found = own.valkey if name == "redis" else own.postgres
    assert found is not None
    return found


def events(here: Running, name: str) -> list[dict[str, Any]]:
    """The log's lines of *name*."""
    lines = [json.loads(line) for line in here.lines if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


@pytest.mark.parametrize(
    ("away", "comes"),
    [
        (["postgres"], ["postgres"]),
        (["redis"], ["redis"]),
        (BOTH, ["redis", "postgres"]),
        (BOTH, ["postgres", "redis"]),
    ],
    ids=["postgres", "redis", "both, redis comes first", "both, postgres comes first"],
)
async def test_a_store_that_is_away_at_the_start_is_waited_for(
    tmp_path: Path, own: Servers, own_database: str, own_settings: dict[str, Any], away: list[str], comes: list[str]
) -> None:
    first, second = some_orders(2)
    for name in away:
        await server(own, name).stop()
    async with answering(tmp_path, **own_settings) as here:
        document = await here.ready()
        assert {name for name in BOTH if document[name] == "down"} == set(away)
        spools = "postgres" not in away
        assert document["ready"] is spools
        assert document["accepting"] == ("spool" if spools else "no")
        async with here.session.get(f"{here.url}/livez") as answer:
            assert answer.status == 200
        async with here.session.get(f"{here.url}/readyz") as answer:
            assert answer.status == (200 if spools else 503)
        async with here.session.post(
            f"{here.url}/webhooks/orders", data=json.dumps(first), headers={"X-API-Key": API_KEY}
        ) as answer:
            assert answer.status == (202 if spools else 503)
            assert spools or int(answer.headers["Retry-After"]) >= 1
        for name in comes:
            await server(own, name).start()
        await until(lambda: events(here, "daemon.started"), "a process that works")
        assert (await here.ready())["accepting"] == "redis"
        assert (await here.post(first))[0] == (await here.post(second))[0] == 202
        async with connect(own_database, size=1) as db:
            await ended(db, 2)
        assert sorted(line["store"] for line in events(here, "store.awaited")) == sorted(away)
        assert sorted(line["store"] for line in events(here, "store.up")) == sorted(away)
        assert not events(here, "store.down")
        assert len(events(here, "daemon.started")) == 1
        assert await here.stop() == 0


async def test_a_port_that_was_closed_at_the_start_is_waited_for(
    tmp_path: Path, own: Servers, own_settings: dict[str, Any]
) -> None:
    port = free_port()
    behind = own_settings | {"REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    async with answering(tmp_path, **behind) as here:
        await until(lambda: events(here, "store.awaited"), "the line that names the store")
        (told,) = events(here, "store.awaited")
        assert str(port) in told["place"]
        async with proxied(str(own.redis_url).removeprefix("unix://"), random.Random(1), port):
            await until(lambda: _works(here), "a Redis that is used")
            assert await here.stop() == 0
    assert len(events(here, "store.awaited")) == 1


async def _works(here: Running) -> bool:
    return (await here.ready()).get("accepting") == "redis"


@pytest.mark.parametrize("name", BOTH)
async def test_a_store_that_is_frozen_at_the_start_is_waited_for(
    tmp_path: Path, own: Servers, own_settings: dict[str, Any], name: str
) -> None:
    with frozen(server(own, name)):
        async with answering(tmp_path, **own_settings) as here:
            assert (await here.ready())[name] == "down"
            assert await asyncio.wait_for(here.stop(), STOPS_S) == 0


async def test_a_connection_to_a_frozen_postgres_is_left_at_once(own: Servers, own_database: str) -> None:
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(single_connection(own_database))
        with frozen(server(own, "postgres")):
            asking = asyncio.create_task(connection.fetchval("SELECT 1"))
            await asyncio.wait({asking}, timeout=0.3)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            left = asyncio.create_task(stack.pop_all().__aexit__(TimeoutError, TimeoutError(), None))
            await asyncio.wait_for(left, STOPS_S)


@pytest.mark.parametrize("away", [["postgres"], ["redis"], BOTH], ids=["postgres", "redis", "both"])
async def test_sigterm_ends_the_wait(
    tmp_path: Path, own: Servers, own_settings: dict[str, Any], away: list[str]
) -> None:
    for name in away:
        await server(own, name).stop()
    async with answering(tmp_path, **own_settings) as here:
        await until(lambda: len(events(here, "store.awaited")) == len(away), "the lines that name the stores")
        assert await asyncio.wait_for(here.stop(), STOPS_S) == 0
    assert not [line for line in here.lines if "Traceback" in line]
    assert sorted(line["store"] for line in events(here, "store.awaited")) == sorted(away)


async def test_orders_that_came_while_redis_was_away_at_the_start_outlive_the_process(
    tmp_path: Path, own: Servers, own_database: str, own_settings: dict[str, Any]
) -> None:
    sent = some_orders(5)
    await server(own, "redis").stop()
    async with answering(tmp_path, **own_settings) as here:
        for order in sent:
            assert (await here.post(order))[0] == 202
        assert await here.stop() == 0
    await server(own, "redis").start()
    async with running(tmp_path, **own_settings) as here, connect(own_database, size=1) as db:
        await ended(db, 5)
        assert await here.stop() == 0


@pytest.mark.parametrize("away", ["REDIS_URL", "DATABASE_URL"])
async def test_wrong_settings_of_one_store_end_the_process_also_while_the_other_is_away(
    tmp_path: Path, own: Servers, own_settings: dict[str, Any], away: str
) -> None:
    nobody = {
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
        "DATABASE_URL": f"postgresql://a@127.0.0.1:{free_port()}/a",
    }
    base = str(own_settings["DATABASE_URL"])
    wrong = {
        "REDIS_URL": f"{own.redis_url}?username=nobody&password=wrong",
        "DATABASE_URL": base.replace("/ferryman_test_", "/no_such_"),
    }
    other = "DATABASE_URL" if away == "REDIS_URL" else "REDIS_URL"
    env = environment(**own_settings | {away: nobody[away], other: wrong[other]}, FERRYMAN_PORT=free_port())
    code, _, err = await asyncio.wait_for(ferryman("run", cwd=tmp_path, env=env), STOPS_S)
    assert code == 1
    (line,) = [line for line in err.splitlines() if line]
    assert other in line


@pytest.mark.parametrize(
    ("away", "verb"),
    [
        ("DATABASE_URL", ("audit",)),
        ("DATABASE_URL", ("migrate",)),
        ("DATABASE_URL", ("dead-letters", "list")),
        ("REDIS_URL", ("partitions", "8", "--yes")),
    ],
    ids=str,
)
async def test_the_other_verbs_do_not_wait(
    tmp_path: Path, own_settings: dict[str, Any], away: str, verb: tuple[str, ...]
) -> None:
    scheme = "redis" if away == "REDIS_URL" else "postgresql"
    address = f"{scheme}://user:hunter2@127.0.0.1:{free_port()}/0"
    env = environment(**own_settings | {away: address})
    code, _, err = await asyncio.wait_for(ferryman(*verb, cwd=tmp_path, env=env), STOPS_S)
    assert code == 1
    (line,) = [line for line in err.splitlines() if line]
    assert away in line
    assert "hunter2" not in line
    assert "connect" in line.lower(), "the sentence that names the cause"


async def test_the_number_of_partitions_is_taken_from_a_postgres_that_was_away_at_the_start(
    tmp_path: Path, own: Servers, own_database: str, own_settings: dict[str, Any]
) -> None:
    async with running(tmp_path, **own_settings, FERRYMAN_PARTITIONS=4) as here:
        assert await here.stop() == 0
    await server(own, "postgres").stop()
    (order,) = some_orders(1)
    async with answering(tmp_path, **own_settings) as here, connect(own_database, size=2, at_once=False) as db:
        await server(own, "postgres").start()

        async def taken() -> bool:
            try:
                return (await here.post(order))[0] == 202
            except (OSError, ClientError):  # for a moment it does not listen, or ends with the connection open
                return False

        await until(taken, "an order that is taken")
        await ended(db, 1)
        assert [line["event"] for line in events(here, "daemon.assembled_anew")] == ["daemon.assembled_anew"]
        assert await here.stop() == 0
