"""Replay: events of the journal once more, to one worker alone.

A replayed event carries a replay id that begins with its worker's name; every other worker ignores it. The inbox
counts it under that id, so a replay that was interrupted and goes on delivers nothing twice.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from adapters.postgres.bus import missing, partitions
from adapters.postgres.bus import workers as workers_table
from adapters.postgres.bus.workers import JOURNAL
from adapters.postgres.operator import replay
from adapters.postgres.operator.replay import ReplayFilter, ReplayRun
from adapters.postgres.pool import Pool, locking
from adapters.redis import durability, streams
from adapters.redis.streams import Streams, stream_keys
from daemon.bus.publisher import publish
from daemon.bus.worker import AnyWorker
from schemas.envelope import Event
from schemas.errors import FerrymanError

PAGE: Final = 500
AHEAD: Final = 5_000
"""How many replayed events may wait at most, so that live events do not wait behind more."""

POLL_S: Final = 0.1
TIMEOUT_S: Final = 5.0


class ReplayError(FerrymanError):
    """The replay cannot be done as it was asked for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replay would deliver. *until*: the last journal number. *ended*: how these events ended for the worker the
    first time. *goes_on*: the interrupted replay that this one continues."""

    worker: str
    chosen: ReplayFilter
    total: int
    until: int
    ended: Mapping[str, int]
    goes_on: ReplayRun | None

    def lines(self) -> list[str]:
        """The plan as text for an operator."""
        lines = [f"{self.total} events of the journal for {self.worker}"]
        lines += [f"  {count} ended the first time as: {outcome}" for outcome, count in sorted(self.ended.items())]
        if self.goes_on is not None:
            lines.append(f"  {self.goes_on.published} of {self.goes_on.total} were delivered before an interruption")
        return lines


def worker_named(workers: Sequence[AnyWorker], name: str) -> AnyWorker:
    """The worker *name*. Raises: ReplayError, with the names that there are."""
    worker = next((w for w in workers if w.name == name), None)
    if worker is None:
        raise ReplayError(f"there is no worker {name}: there are {', '.join(w.name for w in workers)}")
    return worker


@asynccontextmanager
async def open_bus(pool: Pool, redis_url: str, configured: int) -> AsyncIterator[Streams]:
    """The streams, in the number of partitions in force, which cannot change until the context ends. *configured*: the
    number of the settings, for a database without one. Raises: ReplayError during a change."""
    async with locking(pool) as conn:
        if not await partitions.take_part(conn):
            raise ReplayError("the partitions are being changed: try again when `ferryman partitions` has ended")
        number = await partitions.number(conn) or configured
        client = streams.client(redis_url, timeout_s=TIMEOUT_S)
        try:
            yield Streams(client, number, await durability.of(client))
        finally:
            await client.aclose()


async def make_plan(pool: Pool, worker: AnyWorker, chosen: ReplayFilter) -> Plan:
    """Count what *worker* would get. Raises: ReplayError when the filter names types that it does not handle."""
    types = worker.types if chosen.types is None else frozenset(chosen.types)
    if not types <= worker.types:
        foreign = ", ".join(sorted(types - worker.types))
        raise ReplayError(f"{worker.name} does not handle {foreign}: it handles {', '.join(sorted(worker.types))}")
    chosen = replace(chosen, types=tuple(sorted(types)))
    total, until = await replay.count(pool, chosen)
    ended = await replay.by_outcome(pool, worker.name, chosen)
    return Plan(worker.name, chosen, total, until, ended, await replay.unfinished(pool, worker.name, chosen))


async def perform(pool: Pool, bus: Streams, worker: AnyWorker, plan: Plan, report: Callable[[int, int], None]) -> int:
    """Publish what *plan* says; returns how many this run published. *report* is called with (published, total)."""
    run = plan.goes_on
    if run is None:
        run = ReplayRun(f"{plan.worker}:{uuid.uuid4().hex}", 0, plan.until, plan.total, 0)
        await replay.begin(pool, run, plan.worker, plan.chosen)
    published = run.published
    async with aclosing(_pages(pool, plan.chosen, run)) as pages:
        async for page in pages:
            await _wait_for_room(bus, worker)
            await publish(pool, bus, [event._replace(replayid=run.id) for _, event in page])
            published += len(page)
            await replay.advance(pool, run.id, page[-1][0], published)
            report(published, run.total)
    await replay.finish(pool, run.id)
    return published - run.published


async def _pages(pool: Pool, chosen: ReplayFilter, run: ReplayRun) -> AsyncGenerator[list[tuple[int, Event]], None]:
    """The rest of *run*. The next page is fetched while the one before is published."""
    page = await replay.page(pool, chosen, run.cursor, run.until, PAGE)
    while page:
        following = asyncio.create_task(replay.page(pool, chosen, page[-1][0], run.until, PAGE))
        try:
            yield page
            page = await following
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _wait_for_room(bus: Streams, worker: AnyWorker) -> None:
    """Wait until at most AHEAD entries wait for the worker."""
    keys = stream_keys(worker.reads, range(bus.partitions))
    while sum(await bus.lag(worker.name, keys)) > AHEAD:  # noqa: ASYNC110 - another process does the work
        await asyncio.sleep(POLL_S)


async def publish_missing(pool: Pool, bus: Streams, days: int, *, dry_run: bool = False) -> int:
    """Publish what the journal has and some worker of the installation has not ended with, in the journal's order;
    returns how many.
    *dry_run*: only count.

    Publishing an event that is still on its stream does no harm: the inbox drops the copy.
    """
    every = [worker for worker in await workers_table.listed(pool) if worker.name != JOURNAL]
    after = count = 0
    while page := await missing.events(pool, every, after, days=days, limit=PAGE):
        if not dry_run:
            await publish(pool, bus, [event for _, event in page])
        after, count = page[-1][0], count + len(page)
    return count
