"""`ferryman records queue` at a hub, which has none, and at an edge."""

from __future__ import annotations

import asyncio
import json

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner, Result

from adapters.postgres.pool import Pool
from daemon.cli.main import commands
from tests.support.edges import Edge

HUB = "this server is a hub: the queue is an edge's"


@pytest.fixture
def env(redis: Redis, redis_url: str, database_url: str, db: Pool) -> dict[str, str]:
    return {"REDIS_URL": redis_url, "DATABASE_URL": database_url, "FERRYMAN_ADMIN_TOKEN": "0123456789abcdef" * 2}


async def ran(env: dict[str, str], *argv: str) -> Result:
    answer = await asyncio.to_thread(CliRunner().invoke, commands("records"), ["records", "queue", *argv], env=env)
    assert answer.exit_code == 0, answer.output
    return answer


async def test_a_hub_says_that_it_has_no_queue(env: dict[str, str]) -> None:
    answer = await ran(env)
    assert (HUB in answer.stdout, "SYNC_UPSTREAM_URL" in answer.stdout, "no such" in answer.stdout) == (
        True,
        True,
        False,
    )
    answer = await ran(env, "--json")
    assert (json.loads(answer.stdout), HUB in answer.stderr) == ([], True)


async def test_an_edge_says_what_waits(env: dict[str, str], db: Pool) -> None:
    edge = env | {"SYNC_UPSTREAM_URL": "http://127.0.0.1:9", "SYNC_UPSTREAM_TOKEN": "fmt_" + "x" * 43}
    answer = await ran(edge)
    assert (answer.stdout, answer.stderr) == ("no such operations\n", "")
    assert json.loads((await ran(edge, "--json")).stdout) == []
    op = await Edge(db).write("CREATE", "l1", name="Ada")
    assert json.loads((await ran(edge, "--json")).stdout)[0]["op_id"] == str(op)
    assert "l1" in (await ran(env)).stdout, "also of the time when it was an edge"
