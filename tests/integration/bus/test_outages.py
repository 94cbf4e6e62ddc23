"""Stores that die under load: every event has its effect once and in order, and what was done is not lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from adapters.postgres import pool as pools
from adapters.redis.streams import StreamErrors
from daemon.bus.outcome import Done, Outcome, Turn
from daemon.stores.embedded.servers import Server, Servers
from schemas.envelope import Event
from tests.support.bus import Bench, make_upkeep, open_bench
from tests.support.members import Member
from tests.support.servers import ensure_running, forgiving, frozen, migrated_database
from tests.support.services import services
from tests.support.toy import Spy, effect, make_events
from tests.support.until import until

KEYS: Final = 12
TTL_S: Final = 3.0
AWAY_S: Final = 3.0


@pytest.fixture
async def postgres(own: Servers) -> Server:
    """The Postgres of this module, running."""
    assert own.postgres is not None
    await ensure_running(own.postgres)
    return own.postgres


@pytest.fixture
async def valkey(own: Servers) -> Server:
    """The Valkey of this module, running."""
    assert own.valkey is not None
    await ensure_running(own.valkey)
    return own.valkey


@pytest.fixture
async def bench(own: Servers, postgres: Server, valkey: Server) -> AsyncIterator[Bench]:
    """A bench on an empty Valkey and a database of its own."""
    assert own.redis_url is not None
    assert own.database_url is not None
    async with migrated_database(own.database_url) as url:
        try:
            async with pools.connect(url, size=5) as pool, open_bench(own.redis_url, pool) as made:
                await made.redis.flushall()
                await made.bus.ensure_groups("toy", made.keys)
                yield made
        finally:
            await ensure_running(postgres, valkey)


async def append_surely(bench: Bench, event: Event) -> None:
    """Append *event* as a sender does that gets no answer: again, until it gets one."""
    async with asyncio.timeout(60):
        while True:
            try:
                await bench.publish([event])
            except StreamErrors:
                await asyncio.sleep(0.05)
            else:
                return


class Load:
    """Events of several keys, appended one by one while a consumer works on them."""

    def __init__(self, bench: Bench, each: int) -> None:
        self.bench = bench
        self.each = each
        self.appended = 0
        self.handler = Spy(self._handle)

    async def _handle(self, event: Event, deps: object, turn: Turn) -> Outcome:
        await asyncio.sleep(0.001)
        return Done(rows=(effect(event),), emit=(event.emit("contact.synced", 0, event.json(), time=turn.now),))

    async def append(self) -> None:
        for event in make_events(KEYS, self.each):
            await append_surely(self.bench, event)
            self.appended += 1

    async def share(self, part: float) -> None:
        """Wait until this part of the load has had its effect."""
        wanted = int(part * KEYS * self.each)
        await until(lambda: len(set(self.handler.calls)) >= wanted, within_s=60)

    async def check(self) -> None:
        """Everything has had its effect, once and in order, and what it emitted is on the bus in order."""
        await until(forgiving(self._all_there), within_s=60)
        await until(forgiving(self.bench.settled), within_s=60)
        wanted = list(range(self.each))
        assert await self.bench.numbers() == {f"key-{k}": wanted for k in range(KEYS)}
        assert set((await self.bench.outcomes()).values()) == {"done"}
        assert await self.bench.attempts() == {}
        await until(forgiving(self._all_published), within_s=60)
        seen: dict[str, list[str]] = {}
        for _, fields in await self.bench.entries("contacts"):
            ids = seen.setdefault(fields["subject"], [])
            if fields["data"] not in ids:  # a second copy of an entry is harmless: the inbox knows its id
                ids.append(fields["data"])
        assert seen == {f"key-{k}": [f'{{"n":{n}}}' for n in wanted] for k in range(KEYS)}

    async def _all_there(self) -> bool:
        return await self.bench.count("effects") >= KEYS * self.each

    async def _all_published(self) -> bool:
        return await self.bench.count("outbox") == 0


@asynccontextmanager
async def under_load(bench: Bench, each: int) -> AsyncIterator[Load]:
    """A load on a consumer with leases of its own, and the upkeep beside it; checked in the end."""
    load = Load(bench, each)
    member = Member(bench, "a", ttl_s=TTL_S)
    async with services(*make_upkeep(bench.pool, bench.bus).duties):
        await member.start(bench.worker(load.handler, lanes=KEYS))
        appending = asyncio.create_task(load.append())
        try:
            yield load
            await appending
            await load.check()
            await member.stop()
        finally:
            appending.cancel()
            (ended,) = await asyncio.gather(appending, return_exceptions=True)
            await member.end()
        assert not ended


# --- Valkey ------------------------------------------------------------------


async def test_valkey_killed_twice_under_load_loses_and_doubles_nothing(bench: Bench, valkey: Server) -> None:
    async with under_load(bench, each=60) as load:
        for part in (0.2, 0.6):
            await load.share(part)
            valkey.kill()
            await asyncio.sleep(0.3)  # the length of the outage
            await valkey.start()
    assert load.appended == KEYS * load.each


async def test_valkey_away_for_longer_than_the_leases_loses_and_doubles_nothing(bench: Bench, valkey: Server) -> None:
    async with under_load(bench, each=40) as load:
        await load.share(0.3)
        valkey.kill()
        await asyncio.sleep(TTL_S + 1)
        await valkey.start()
    assert load.appended == KEYS * load.each


# --- Postgres ----------------------------------------------------------------


async def test_postgres_stopped_under_load_pauses_the_work_and_loses_and_doubles_nothing(
    bench: Bench, postgres: Server
) -> None:
    async with under_load(bench, each=60) as load:
        await load.share(0.3)
        await postgres.stop()
        await asyncio.sleep(AWAY_S / 2)
        begun = len(load.handler.calls)
        await asyncio.sleep(AWAY_S / 2)
        assert len(load.handler.calls) == begun  # nothing can be recorded, so nothing is begun
        assert begun < KEYS * load.each
        await postgres.start()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in /proc")
async def test_postgres_frozen_under_load_loses_and_doubles_nothing(bench: Bench, postgres: Server) -> None:
    async with under_load(bench, each=60) as load:
        await load.share(0.3)
        with frozen(postgres):
            await asyncio.sleep(AWAY_S)  # the length of the outage


async def test_postgres_killed_under_load_loses_and_doubles_nothing(bench: Bench, postgres: Server) -> None:
    async with under_load(bench, each=60) as load:
        await load.share(0.3)
        postgres.kill()
        await postgres.start()
    assert load.appended == KEYS * load.each


async def test_connections_ended_again_and_again_lose_and_double_nothing(
    bench: Bench, own: Servers, postgres: Server
) -> None:
    assert own.database_url is not None
    conn = await asyncpg.connect(own.database_url)
    ended = 0
    try:
        async with under_load(bench, each=60) as load:
            for part in range(1, 10):
                await load.share(part / 10)
                ended += await conn.fetchval(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'ferryman'"
                )
    finally:
        await conn.close()
    assert ended >= 9


async def test_what_handlers_finish_while_postgres_is_away_is_written_when_it_is_back(
    bench: Bench, postgres: Server
) -> None:
    gate = asyncio.Event()

    async def slow(event: Event, deps: object, turn: Turn) -> Outcome:
        await gate.wait()
        return Done(rows=(effect(event),))

    handler = Spy(slow)
    events = make_events(KEYS, 2)
    async with bench.running(bench.worker(handler, lanes=KEYS)):
        await bench.publish(events)
        await until(lambda: handler.active == KEYS)
        await postgres.stop()
        gate.set()
        await until(lambda: handler.active == 0 and not bench.stores.postgres.up)
        assert len(handler.calls) == KEYS
        await postgres.start()
        await until(forgiving(bench.settled))
        assert bench.stores.postgres.up
    assert sorted(handler.calls) == sorted((event.subject, event.json()["n"]) for event in events)
    assert await bench.numbers() == {f"key-{k}": [0, 1] for k in range(KEYS)}


async def test_nothing_is_held_while_postgres_is_away_and_all_of_it_when_it_is_back(
    bench: Bench, postgres: Server
) -> None:
    member = Member(bench, "a", ttl_s=TTL_S, workers=("toy", "toy-2"))
    await postgres.stop()
    try:
        await member.start()

        async def leased() -> bool:
            assert member.epochs == {}
            return int(await bench.redis.hlen("ferryman:{bus}:leases")) == len(member.pairs)

        await until(leased)
        assert member.readable == set()
        await postgres.start()
        await until(lambda: member.readable == set(member.pairs))
        assert set(member.epochs) == set(member.pairs)
    finally:
        await member.end()
