"""Replay: the journal's events once more, to one worker alone.

A replayed event carries a replay id that begins with its worker's name; every other worker lets it pass. The inbox
counts it under that id, so a replay that was interrupted, and goes on, delivers nothing twice.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from adapters.postgres.bus import payloads
from adapters.postgres.operator import replay
from adapters.postgres.operator.replay import Filter, Run
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams, stream_key
from daemon.bus.worker import AnyWorker
from schemas.envelope import Event
from schemas.errors import FerrymanError

PAGE: Final = 500
AHEAD: Final = 5_000
"""How many replayed events may wait at most: live ones are not to wait behind more."""

LOOK_S: Final = 0.1


class ReplayError(FerrymanError):
    """The replay cannot be done as it was asked for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replay would deliver. *ended*: how these events ended for the worker the first time. *goes_on*: after a
    break."""

    worker: str
    chosen: Filter
    total: int
    until: int
    ended: Mapping[str, int]
    goes_on: Run | None


async def planned(pool: Pool, worker: AnyWorker, chosen: Filter) -> Plan:
    """Count what *worker* would get. Raises: ReplayError when the filter names types that it does not handle."""
    types = worker.types if chosen.types is None else frozenset(chosen.types)
    if not types <= worker.types:
        foreign = ", ".join(sorted(types - worker.types))
        raise ReplayError(f"{worker.name} does not handle {foreign}: it handles {', '.join(sorted(worker.types))}")
    chosen = replace(chosen, types=tuple(sorted(types)))
    total, until = await replay.count(pool, chosen)
    ended = await replay.by_outcome(pool, worker.name, chosen)
    return Plan(worker.name, chosen, total, until, ended, await replay.unfinished(pool, worker.name, chosen))


async def perform(
    pool: Pool, streams: Streams, worker: AnyWorker, plan: Plan, report: Callable[[int, int], None]
) -> int:
    """Publish what *plan* says; *report* hears (published, total). Returns how many were published by this run."""
    run = plan.goes_on
    if run is None:
        run = Run(f"{plan.worker}:{uuid.uuid4().hex}", 0, plan.until, plan.total, 0)
        await replay.begin(pool, run, plan.worker, plan.chosen)
    published = run.published
    async with aclosing(_pages(pool, plan.chosen, run)) as pages:
        async for page in pages:
            await _room(streams, worker)
            events = [replace(event, replayid=run.id) for _, event in page]
            await streams.append(await payloads.set_aside(pool, events))
            published += len(page)
            await replay.advance(pool, run.id, page[-1][0], published)
            report(published, run.total)
    await replay.finish(pool, run.id)
    return published - run.published


async def _pages(pool: Pool, chosen: Filter, run: Run) -> AsyncGenerator[list[tuple[int, Event]], None]:
    """What is left of *run*. The next page is fetched while the one before is published."""
    page = await replay.page(pool, chosen, run.cursor, run.until, PAGE)
    while page:
        following = asyncio.create_task(replay.page(pool, chosen, page[-1][0], run.until, PAGE))
        try:
            yield page
            page = await following
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _room(streams: Streams, worker: AnyWorker) -> None:
    """Wait until the worker has not too much before it."""
    keys = _keys(streams, worker)
    while sum(await streams.lag(worker.name, keys)) > AHEAD:  # noqa: ASYNC110 - another process does the work
        await asyncio.sleep(LOOK_S)


def _keys(streams: Streams, worker: AnyWorker) -> Sequence[str]:
    return [stream_key(topic, p) for topic in worker.reads for p in range(streams.partitions)]


async def publish_missing(
    pool: Pool, streams: Streams, workers: Sequence[AnyWorker], days: int, *, dry_run: bool = False
) -> int:
    """Publish what the journal has and some worker has not ended with, in the journal's order; returns how many.

    What is on the stream all the same is harmless twice. With *dry_run* it is only counted.
    """
    types = {worker.name: sorted(worker.types) for worker in workers if worker.name != "journal"}
    after = count = 0
    while page := await replay.missing(pool, types, after, days=days, limit=PAGE):
        if not dry_run:
            await streams.append(await payloads.set_aside(pool, [event for _, event in page]))
        after, count = page[-1][0], count + len(page)
    return count
