"""Stores that are frozen: they hold their connections and answer nothing. Every sender is answered in time.

The servers here are this file's own, since they are stopped by signals.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import pytest
from redis.asyncio import Redis

from adapters.postgres import pool
from adapters.postgres.bus import payloads
from adapters.redis import streams
from adapters.redis.streams import Streams
from daemon.bus.intake import ANSWER_S, Intake, NotAccepted
from daemon.stores.embedded.servers import Servers
from daemon.stores.health import Stores, postgres_watch, redis_watch
from daemon.stores.membership import Membership
from schemas.envelope import Event, event_id
from tests.support.servers import frozen, migrate_at, own_servers
from tests.support.services import services

PATIENCE_S: Final = 60.0
SLACK_S: Final = 1.0
"""For a machine that others use as well."""


@pytest.fixture(scope="module")
def own() -> Iterator[Servers]:
    with own_servers(fsync=False) as servers, asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(migrate_at(str(servers.database_url)))
        yield servers


@pytest.fixture
async def intake(own: Servers) -> AsyncIterator[Intake]:
    """An intake as it runs in the daemon: with the client's time limit, and watchers of both stores at work."""
    bus = streams.client(str(own.redis_url), timeout_s=2.0)
    watched = streams.client(str(own.redis_url), timeout_s=2.0, connections=2)
    await bus.flushall()
    membership = Membership(str(own.database_url))
    stores = Stores(redis_watch(watched), postgres_watch(membership.look))
    async with pool.connect(str(own.database_url)) as connected, services(stores.redis, stores.postgres):
        await connected.execute("TRUNCATE spool, payloads")
        async with running(bus, connected, stores) as made:
            yield made
    membership.close()
    await bus.aclose()
    await watched.aclose()


@asynccontextmanager
async def running(bus: Redis, connected: pool.Pool, stores: Stores) -> AsyncIterator[Intake]:
    made = Intake(Streams(bus, 1), connected, stores)
    async with services(made):
        await until(made, "redis")
        yield made


async def until(intake: Intake, place: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while intake.accepting != place:
            await asyncio.sleep(0.02)


def event(n: int, *, size: int = 20) -> Event:
    return Event(
        id=event_id("orders", str(n)),
        type="order.received",
        source="orders",
        subject="+97250555012",
        time=datetime(2031, 2, 14, 9, 0, tzinfo=UTC),
        data=b'{"order":"' + b"x" * size + b'"}',
    )


async def answered(intake: Intake, event: Event) -> tuple[float, bool | NotAccepted]:
    """How many seconds the answer took, and what it was."""
    began = time.monotonic()
    try:
        found: bool | NotAccepted = await intake.append([event])
    except NotAccepted as exc:
        found = exc
    return time.monotonic() - began, found


async def test_with_both_stores_frozen_every_sender_is_answered_in_time(own: Servers, intake: Intake) -> None:
    assert own.valkey is not None
    assert own.postgres is not None
    with frozen(own.valkey), frozen(own.postgres):
        asked = []
        for n in range(25):
            asked.append(asyncio.create_task(answered(intake, event(n))))
            await asyncio.sleep(0.1)
        answers = await asyncio.gather(*asked)
        assert max(took for took, _ in answers) < ANSWER_S + SLACK_S
        first = answers[0][1]
        assert isinstance(first, NotAccepted)
        assert first.perhaps  # it was sent, and no store said whether it has it
        await until(intake, "no")
        took, refused = await answered(intake, event(99))
        assert isinstance(refused, NotAccepted)
        assert not refused.perhaps
        assert took < SLACK_S / 2  # where no store can take it the answer needs no attempt
    async with asyncio.timeout(PATIENCE_S):
        while isinstance((await answered(intake, event(100)))[1], NotAccepted):
            await asyncio.sleep(0.1)


async def test_a_large_event_that_waits_for_a_frozen_postgres_is_accepted_whole_and_delays_no_small_one(
    own: Servers, intake: Intake
) -> None:
    assert await intake.append([event(0)]) is False
    assert own.postgres is not None
    with frozen(own.postgres):
        large = [asyncio.create_task(answered(intake, event(n, size=payloads.LARGE_BYTES))) for n in range(1000, 1015)]
        small = []
        for n in range(1, 30):
            small.append(asyncio.create_task(answered(intake, event(n))))
            await asyncio.sleep(0.05)
        quick = await asyncio.gather(*small)
        slow = await asyncio.gather(*large)
    assert {found for _, found in (*quick, *slow)} == {False}
    assert max(took for took, _ in quick) < 1.0 + SLACK_S / 2
    assert max(took for took, _ in slow) < ANSWER_S + SLACK_S
