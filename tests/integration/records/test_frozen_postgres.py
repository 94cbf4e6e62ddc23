"""A Postgres that stands still (SIGSTOP): it holds its connections, and answers nothing. Every push is answered.

The server here is this file's own, since it is stopped by signals.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

import pytest
from aiohttp import ClientSession

from adapters.postgres.pool import connect
from adapters.sync.exchange import TIMEOUT_S
from daemon.api.stored_tokens import FIND_S
from daemon.records.pushing.service import ANSWER_S
from daemon.stores.embedded.servers import Servers
from tests.support.offices import hub_on
from tests.support.records import operation
from tests.support.servers import frozen, migrate_at, own_servers
from tests.support.tokens import made

SLACK_S: Final = 2.0
"""For a machine that others use as well."""

DOCUMENTED_S: Final = 25.0
"""As `daemon/records/README.md` promises it: the wait for whose token it is, and then that of the push."""

WAITING: Final = 60
"""Pushes at once: some fifteen times as many as the statements that are under way together take."""


def push(name: str, who: str, **more: Any) -> dict[str, Any]:
    return {"replica": f"{who}-{name}", **more, "operations": [operation("CREATE", name, name="Ada")]}


@pytest.fixture
def own() -> Iterator[Servers]:
    with own_servers(redis=False, fsync=False) as servers:
        yield servers


async def test_every_push_behind_a_frozen_postgres_is_told_to_come_again_within_the_documented_time(
    own: Servers,
) -> None:
    assert own.postgres is not None
    await migrate_at(str(own.database_url))
    async with connect(str(own.database_url)) as db, hub_on(db) as hub, ClientSession() as session:

        async def ask(token: str, body: dict[str, Any]) -> tuple[float, int, dict[str, str], Any]:
            began, proof = time.monotonic(), {"Authorization": f"Bearer {token}"}
            async with session.post(f"{hub.url}/api/v1/sync/push", json=body, headers=proof) as answer:
                return time.monotonic() - began, answer.status, dict(answer.headers), await answer.json()

        seen, unseen = [(await made(db, user=name))["token"] for name in ("alice", "bob")]
        assert (await ask(seen, push("l0", "alice")))[1] == 200
        proof = {"Authorization": f"Bearer {seen}"}
        async with session.get(f"{hub.url}/api/v1/sync/pull", headers=proof) as answer:
            pulled = {"cursor": (await answer.json())["cursor"]}
        bodies = [push(f"l{n}", "alice", **(pulled if n % 2 else {})) for n in range(1, WAITING)]
        with frozen(own.postgres):
            late = asyncio.create_task(ask(unseen, push(str(uuid4()), "bob")))
            answers = await asyncio.gather(*(ask(seen, body) for body in bodies))
            answers.append(await late)
        assert max(took for took, *_ in answers[:-1]) < ANSWER_S + SLACK_S
        assert answers[-1][0] < FIND_S + SLACK_S
        assert ANSWER_S + FIND_S <= DOCUMENTED_S < TIMEOUT_S, "a replica waits for the answer"
        for _, status, headers, document in answers:
            assert (status, document["type"], int(headers["Retry-After"]) > 0) == (503, "busy", True)
        again = await asyncio.gather(*(ask(seen, body) for body in bodies))
        assert {status for _, status, *_ in again} == {200}
        results = {one["results"][0]["result"] for *_, one in again}
        assert results <= {"applied", "duplicate"}
        assert await db.fetchval("SELECT count(*) FROM records WHERE version = 1") == WAITING
