"""An edge that is killed, or fails, between any two steps of a round: in the end everything is there once."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Coroutine, Sequence
from random import Random
from typing import Any, TypeVar

import pytest

from adapters.http import open_session
from adapters.postgres import pool
from adapters.postgres.pool import Pool
from adapters.sync.exchange import Upstream
from adapters.sync.round import run_round
from adapters.sync.store import Identity, Page, Queued, RebuildReason, Verdict
from daemon.bus.worker import utc_now
from daemon.records.edge.store import PostgresReplica
from tests.support.edges import Edge
from tests.support.hubs import Hub, serving
from tests.support.until import until


async def _equal(edge: Edge, hub: Hub) -> bool:
    rows = await edge.db.fetch("SELECT record_id FROM records WHERE NOT deleted")
    here = {one[0]: (await edge.row(one[0]) or {})["data"] for one in rows}
    return here == hub.data() and not await edge.db.fetchval("SELECT count(*) FROM sync_queue WHERE NOT settled")


async def _edit(edge: Edge, hub: Hub, random: Random, n: int) -> None:
    """Something is written at the edge, and sometimes at the hub."""
    record = f"l{random.randrange(12)}"
    there = await edge.row(record)
    await edge.write("UPDATE" if there else "CREATE", record, owner_id="alice", **{f"f{random.randrange(3)}": n})
    if random.random() < 0.3:
        hub.put("Lead", f"h{random.randrange(6)}", {"owner_id": "alice", "n": n})


async def test_a_killed_edge_goes_on_and_everything_is_there_once(database_url: str, db: Pool) -> None:
    random, edge = Random(12), Edge(db, utc_now)
    async with serving(Hub()) as hub:
        for turn in range(8):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.support.killed_edges",
                database_url,
                hub.url,
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdout is not None
            await process.stdout.readline()
            for n in range(15):
                await _edit(edge, hub, random, turn * 100 + n)
            if turn == 7:
                await until(lambda: _equal(edge, hub))
            else:
                await asyncio.sleep(random.random() * 0.15)  # a place in the round, not a wait
            process.kill()
            await process.wait()
        sent = {op["op_id"] for push in hub.pushes for op in push}
        assert len(hub.ledger) == len(sent) == 120
        assert sum(row["version"] for key, row in hub.rows.items() if key[1].startswith("l")) == 120


T = TypeVar("T")


class Killed(BaseException):
    """The process ends here."""


class Dying:
    """A store that dies before or after its *n*-th step."""

    def __init__(self, store: PostgresReplica, n: int, *, after: bool) -> None:
        self._store = store
        self._left = n
        self._after = after

    async def _do(self, step: Coroutine[Any, Any, T]) -> T:
        self._left -= 1
        if self._left == 0 and not self._after:
            step.close()
            raise Killed
        done = await step
        if self._left == 0:
            raise Killed
        return done

    async def identity(self) -> Identity:
        return await self._do(self._store.identity())

    def turn(self) -> contextlib.AbstractAsyncContextManager[None]:
        return self._store.turn()

    async def due(self, limit: int, max_bytes: int) -> Sequence[Queued]:
        return await self._do(self._store.due(limit, max_bytes))

    async def settle(self, ack: str | None, verdicts: Sequence[Verdict]) -> None:
        await self._do(self._store.settle(ack, verdicts))

    async def take(self, page: Page) -> int:
        return await self._do(self._store.take(page))

    async def begin_rebuild(self, reason: RebuildReason) -> None:
        await self._do(self._store.begin_rebuild(reason))

    async def end_rebuild(self) -> None:
        await self._do(self._store.end_rebuild())

    async def renew_identity(self) -> None:
        await self._do(self._store.renew_identity())

    async def heard(self, error: str | None) -> None:
        await self._do(self._store.heard(error))


@pytest.mark.parametrize("after", [False, True])
async def test_a_death_at_any_step_of_rounds_and_rebuilds_loses_and_doubles_nothing(db: Pool, after: bool) -> None:
    random, edge = Random(7), Edge(db, utc_now)
    async with serving(Hub()) as hub, open_session() as session:
        upstream = Upstream(session, hub.url, hub.token)
        for n in range(1, 14):
            for m in range(4):
                await _edit(edge, hub, random, n * 10 + m)
            if n % 4 == 0:
                hub.epoch += 1  # its history is another one from now on: all is built anew
            with contextlib.suppress(Killed):
                await run_round(Dying(edge.store, n, after=after), upstream, stamps=True)
        for _ in range(3):
            assert (await run_round(edge.store, upstream, stamps=True)).error is None
        assert await _equal(edge, hub)
        assert len(hub.ledger) == 13 * 4


async def test_pages_that_are_taken_while_phones_write_lose_nothing(database_url: str, db: Pool) -> None:
    """The compare-and-swap of records, from both sides."""
    edge = Edge(db, utc_now)
    async with serving(Hub()) as hub, open_session() as session, pool.connect(database_url, size=3) as other:
        upstream, phone = Upstream(session, hub.url, hub.token), Edge(other, utc_now)
        for n in range(300):
            hub.put("Lead", f"l{n}", {"owner_id": "alice", "n": n})
        await run_round(edge.store, upstream, stamps=True)

        async def write() -> None:
            for n in range(0, 300, 3):
                await phone.write("UPDATE", f"l{n}", mine=n)

        writing = asyncio.create_task(write())
        while not writing.done():
            for n in range(300):
                hub.put("Lead", f"l{n}", {"theirs": hub.seq})
            assert (await run_round(edge.store, upstream, stamps=True)).error is None
        await writing
        for _ in range(3):
            await run_round(edge.store, upstream, stamps=True)
        assert await _equal(edge, hub)
        assert all(hub.data()[f"l{n}"]["mine"] == n for n in range(0, 300, 3))
