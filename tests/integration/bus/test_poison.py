"""An event that kills its process: how often, who is suspected, and what is done about it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest

from adapters.postgres.bus import inbox
from daemon.bus.consumer import Consumer
from daemon.bus.outcome import Later, Outcome, Row, Turn
from daemon.bus.worker import AnyWorker
from schemas.envelope import Event
from schemas.errors import FerrymanError
from tests.support.bus import Bench
from tests.support.toy import TOY, Spy, make_event, make_events, succeed
from tests.support.until import until

DEADLY = make_event("deadly")


async def lethal(event: Event, deps: object, turn: Turn) -> Outcome:
    """A handler that does not survive DEADLY: the test then ends the process."""
    if event.id == DEADLY.id:
        await asyncio.Event().wait()
    return await succeed(event, deps, turn)


async def later(event: Event, deps: object, turn: Turn) -> Outcome:
    return Later(turn.now + timedelta(hours=1), step="later")


async def die_of_it(bench: Bench, worker: AnyWorker, handler: Spy, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run a process until it would die of DEADLY, and end it there without a word. False: it has ended the event."""

    async def too_late(*args: object) -> None:
        return None

    before = len([call for call in handler.calls if call[0] == "deadly"])

    async def over() -> bool:
        calls = len([call for call in handler.calls if call[0] == "deadly"])
        return calls > before or DEADLY.id in await bench.outcomes()

    async with bench.consumer(worker) as consumer:
        working = asyncio.create_task(consumer.run())
        await until(over)
        if DEADLY.id in await bench.outcomes():
            await until(bench.settled)
        with monkeypatch.context() as patched:
            patched.setattr(inbox, "survived", too_late)
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working
    return DEADLY.id not in await bench.outcomes()


async def forget_deliveries(bench: Bench) -> None:
    """What a restart of an embedded server does: every pending entry counts as delivered once."""
    for key in bench.keys:
        pending: Any = await bench.redis.xpending_range(key, TOY, "-", "+", 1000)
        for entry in pending:
            await cast("Any", bench.redis).xclaim(key, TOY, "owner", 0, [entry["message_id"]], retrycount=1)


async def test_deaths_are_counted_although_the_stream_forgets_its_deliveries(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: five deaths and a letter, the neighbours done, and the worker is given no more than the id."""
    farewells: list[Event] = []
    named: list[str] = []

    def buried(event: Event, error: FerrymanError, turn: Turn) -> Sequence[Row]:
        farewells.append(event)
        return ()

    def poisoned(event_id: str, turn: Turn) -> Sequence[Row]:
        named.append(event_id)
        return ()

    handler = Spy(lethal)
    worker = bench.worker(handler, buried=buried, poisoned=poisoned)
    await bench.publish([DEADLY, *make_events(keys=5, each=3)])
    deaths = 0
    while await die_of_it(bench, worker, handler, monkeypatch):
        deaths += 1
        assert deaths <= 5, "the poison is not buried"
        await forget_deliveries(bench)
    assert deaths == 5
    outcomes = await bench.outcomes()
    assert outcomes.pop(DEADLY.id) == "dead"
    assert set(outcomes.values()) == {"done"}
    assert len(outcomes) == 15
    letter = await bench.pool.fetchrow("SELECT error_class, error_text FROM dead_letters")
    assert letter is not None
    assert letter["error_class"] == "Poison"
    assert (farewells, named) == ([], [DEADLY.id])
    assert await bench.count("attempts") == 0


def has_waited(waiting: Spy, consumer: Consumer) -> bool:
    return len(waiting.calls) == 1 and consumer.lanes.ready == 0


async def test_restarts_alone_bury_nothing_however_small_the_limit(bench: Bench) -> None:
    await bench.publish([DEADLY])
    for _ in range(5):
        waiting = Spy(later)
        async with bench.running(bench.worker(waiting), poison=1) as consumer:
            await until(partial(has_waited, waiting, consumer))
    async with bench.running(bench.worker(), poison=1):
        await until(bench.settled)
    assert await bench.outcomes() == {DEADLY.id: "done"}


async def test_one_death_buries_nothing_however_small_the_limit(bench: Bench) -> None:
    """Promise: what was under way beside the event that killed is begun once more, alone."""
    await bench.publish([DEADLY])
    await bench.read_without_ack()
    await inbox.begin(bench.pool, TOY, DEADLY)  # and there the process died
    async with bench.running(bench.worker(), poison=1):
        await until(bench.settled)
    assert await bench.outcomes() == {DEADLY.id: "done"}
    assert await bench.count("attempts") == 0


async def test_an_event_that_is_new_costs_no_record(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: only what was read before and not ended is counted."""

    async def never(*args: object) -> None:
        raise AssertionError("recorded")

    for name in ("take_over", "begin", "survived"):
        monkeypatch.setattr(inbox, name, never)
    async with bench.running():
        await bench.publish(make_events(keys=5, each=3))
        await until(bench.settled)
    assert len(await bench.outcomes()) == 15
