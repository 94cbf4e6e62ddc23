"""Long polls: one look serves all who wait, and wakes those whom a change concerns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from adapters.postgres.pool import Pool, connect
from adapters.postgres.records.rows import ExitRow
from daemon.bus.worker import utc_now
from daemon.records.bell import Bell
from daemon.records.pulling import rates, watching
from daemon.records.pulling.cursor import Cursor
from daemon.records.pulling.pulls import Expired, PullIn, PullOut
from daemon.records.pulling.rates import Busy
from daemon.records.pulling.service import Pulls
from daemon.records.pulling.watching import EVERY_S
from schemas.principals import Principal
from tests.support.record_feed import Counted, Reader, Row, change, person, pulls_on, put
from tests.support.until import until

ALICE: Final = person("alice")
BOB: Final = person("bob")


async def begun(pulls: Pulls, principal: Principal) -> Cursor:
    reader = Reader(pulls, principal)
    await reader.round()
    assert reader.cursor is not None
    return reader.cursor


def waiting(
    pulls: Pulls, principal: Principal, since: Cursor, wait_s: float = 30.0, gone: Callable[[], bool] = lambda: False
) -> asyncio.Task[PullOut]:
    async def reader() -> Principal:
        return principal

    return asyncio.create_task(pulls.pull(reader, PullIn(since=since, wait_s=wait_s), gone))


def waiters(pulls: Pulls) -> int:
    return len(pulls.watching._waiters)


@asynccontextmanager
async def many(pulls: Pulls, principal: Principal, since: Cursor, count: int) -> AsyncIterator[list[Any]]:
    tasks = [waiting(pulls, principal, since) for _ in range(count)]
    try:
        await until(lambda: waiters(pulls) == count, "all wait")
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_thousand_who_wait_cost_one_look_and_are_all_woken(db: Pool) -> None:
    counted: Any = Counted(db)
    pulls = pulls_on(counted)
    since = await begun(pulls, ALICE)
    async with many(pulls, ALICE, since, 1000) as tasks:
        counted.count, began = 0, time.monotonic()
        await until(lambda: counted.count >= 3)
        looked = time.monotonic() - began
        assert counted.count <= looked / EVERY_S + 2, "a look serves all"
        await put(db, Row("a", 1, "alice"))
        pages = await asyncio.wait_for(asyncio.gather(*tasks), 20)
    assert {page.changes[0]["id"] for page in pages} == {"a"}
    assert waiters(pulls) == 0
    await until(lambda: pulls.watching._task is None, "nobody waits: nobody looks")


async def test_a_change_that_concerns_others_wakes_nobody(db: Pool) -> None:
    counted: Any = Counted(db)
    pulls = pulls_on(counted)
    since = await begun(pulls, ALICE)
    async with many(pulls, ALICE, since, 50) as tasks:
        counted.count = 0
        head = await put(db, Row("b", 1, "bob"), Row("c", 1, None, "il"))
        await until(lambda: pulls.watching._seq >= head)
        await until(lambda: counted.count >= 4)
        assert counted.count < 20, "those who wait ask nothing"
        assert not any(task.done() for task in tasks)


@pytest.mark.parametrize("how", ["upsert", "delete", "remove"])
async def test_whatever_concerns_a_reader_wakes_it(db: Pool, how: str) -> None:
    pulls = pulls_on(db)
    await put(db, Row("a", 1, "alice"))
    task = waiting(pulls, ALICE, await begun(pulls, ALICE))
    await until(lambda: waiters(pulls) == 1)
    changed = {"upsert": {"data": {"x": 1}}, "delete": {"deleted": True}, "remove": {"owner": "bob"}}[how]
    await change(db, "a", lambda row: row and replace(row, **changed))  # type: ignore[arg-type]
    page = await asyncio.wait_for(task, 10)
    assert [one["op"] for one in page.changes] == [how]


async def test_what_this_process_writes_wakes_at_once(db: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "EVERY_S", 3600.0)  # no look comes by itself
    bell = Bell()
    pulls = pulls_on(db, bell)
    for n in range(3):
        task = waiting(pulls, ALICE, await begun(pulls, ALICE))
        await until(lambda: waiters(pulls) == 1)
        await put(db, Row(f"a{n}", 1, "alice"))
        bell.ring()
        assert [one["id"] for one in (await asyncio.wait_for(task, 20)).changes] == [f"a{n}"]


async def test_who_begins_to_wait_just_as_something_comes_does_not_miss_it(db: Pool) -> None:
    """Another one waits already, and its look has seen the change before the late one waits."""
    pulls = pulls_on(db)
    since = await begun(pulls, ALICE)
    other = waiting(pulls, BOB, await begun(pulls, BOB))
    await until(lambda: waiters(pulls) == 1)
    await put(db, Row("a", 1, "alice"))
    await until(lambda: pulls.watching._seq == 1)
    assert await asyncio.wait_for(pulls.watching.changed(frozenset({"o:alice"}), since.seq, 30), 5)
    other.cancel()


async def test_a_wait_ends_without_a_change_where_it_began(db: Pool) -> None:
    pulls = pulls_on(db)
    since = await begun(pulls, ALICE)
    began = utc_now()
    page = await waiting(pulls, ALICE, since, 0.2)
    assert (page.changes, page.more, page.cursor) == ([], False, since)
    assert page.server_time - began >= timedelta(seconds=0.2), "the time is that of the answer"


async def test_a_stop_answers_all_who_wait_at_once_and_nobody_waits_any_more(db: Pool) -> None:
    pulls, stop = pulls_on(db), asyncio.Event()
    service = asyncio.create_task(pulls.watching.run(stop))
    since = await begun(pulls, ALICE)
    async with many(pulls, ALICE, since, 100) as tasks:
        stop.set()
        pages = await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert all(page.cursor == since for page in pages)
    await asyncio.wait_for(waiting(pulls, ALICE, since), 5)
    await service


async def test_who_has_gone_is_not_waited_for(db: Pool) -> None:
    pulls = pulls_on(db)
    since = await begun(pulls, ALICE)
    left: list[bool] = []
    task = waiting(pulls, ALICE, since, gone=lambda: bool(left))
    await until(lambda: waiters(pulls) == 1)
    left.append(True)
    assert (await asyncio.wait_for(task, 5)).changes == []


async def test_while_the_store_is_away_a_waiter_waits_on(db: Pool, database_url: str) -> None:
    async with connect(database_url, size=2) as own:
        pulls = pulls_on(own)
        since = await begun(pulls, ALICE)
        task = waiting(pulls, ALICE, since)
        await until(lambda: waiters(pulls) == 1)
        await db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await put(db, Row("a", 1, "alice"))
        assert [one["id"] for one in (await asyncio.wait_for(task, 20)).changes] == ["a"]


async def test_rights_are_looked_at_again_before_what_was_waited_for_is_given(db: Pool) -> None:
    pulls = pulls_on(db)
    await put(db, Row("a", 1, "alice"))
    since = await begun(pulls, ALICE)
    told = [ALICE, BOB]

    async def reader() -> Principal:
        return told.pop(0)

    task = asyncio.create_task(pulls.pull(reader, PullIn(since=since, wait_s=30)))
    await until(lambda: waiters(pulls) == 1)
    await put(db, Row("b", 1, "alice"))
    with pytest.raises(Expired, match="other records"):
        await asyncio.wait_for(task, 10)


async def test_one_token_has_so_many_waiters_and_the_next_is_told_to_come_later(
    db: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "MOST_WAITERS", 3)
    pulls = pulls_on(db)
    since, other = await begun(pulls, ALICE), await begun(pulls, BOB)
    async with many(pulls, ALICE, since, 3):
        with pytest.raises(Busy) as raised:
            await waiting(pulls, ALICE, since)
        assert raised.value.retry_after_s > 0
        assert (await waiting(pulls, BOB, other, 0.1)).changes == []
    assert (await waiting(pulls, ALICE, since, 0.1)).changes == []


async def test_a_wait_of_a_reader_who_reads_all_is_ended_by_anything(db: Pool) -> None:
    pulls = pulls_on(db)
    admin = Principal(kind="user", name="ann", role="admin")
    task = waiting(pulls, admin, await begun(pulls, admin))
    await until(lambda: waiters(pulls) == 1)
    await put(db, Row("b", 1), exits=[ExitRow("o:x", "Lead", "b")])
    assert len((await asyncio.wait_for(task, 10)).changes) == 1
