"""`why`: gathers what is known, asks the process that holds the event where the tables don't tell, and says it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson

from adapters.postgres.bus import meta, partitions
from adapters.postgres.operator import behind, trail, waiting
from adapters.postgres.operator.trail import FailedAttempts
from adapters.postgres.pool import Pool
from adapters.redis import lease_table, questions, streams
from adapters.redis.stream_states import ahead_of
from adapters.redis.streams import StreamErrors, Streams, stream_key
from daemon.bus.lane_view import LanePlace, place_from
from daemon.bus.losses import PROGRESS
from daemon.bus.marks import Marks
from daemon.bus.worker import AnyWorker
from daemon.operator.trail import EventTrail, trail_of
from daemon.operator.why.circumstances import Circumstances, read_circumstances
from daemon.operator.why.facts import Facts, OnTheBus
from daemon.operator.why.rules import OF_TABLES, first
from daemon.operator.why.sentence import Sentence
from schemas.partitions import partition_of

PATIENCE_S: Final = 0.5
"""How long the process that holds an event is waited for."""

TIMEOUT_S: Final = 2.0
"""Longest wait for one answer of Redis."""

RATE_S: Final = 60.0
"""The time over which a rate is taken."""

MOST_AHEAD: Final = 10_000
"""Entries before an event that are counted, at most."""


@dataclass(frozen=True, slots=True)
class Here:
    """What `why` looks at. *bus*: None: Redis is not asked, as for a list of many events."""

    pool: Pool
    bus: Streams | None = None


@asynccontextmanager
async def looking(pool: Pool, redis_url: str, configured: int) -> AsyncIterator[Here]:
    """What a command looks at. *configured*: the number of partitions of the settings, for a database without one."""
    client = streams.client(redis_url, timeout_s=TIMEOUT_S, connections=2)
    try:
        yield Here(pool, Streams(client, await partitions.number(pool) or configured))
    finally:
        await client.aclose()


async def why(here: Here, found: EventTrail | None, worker: AnyWorker, *, asked: str = "") -> Sentence:
    """Why the event of *found* is where it is for *worker*. *found*: None: nothing here has the name *asked*."""
    now = await read_circumstances(here.pool)
    return await _said(here, replace(_facts(worker, found, now), asked=asked))


async def why_all(
    here: Here, found: EventTrail, workers: Sequence[AnyWorker], now: Circumstances | None = None
) -> dict[str, Sentence]:
    """Worker -> why, of those of *workers* that have something to do with the event. *now*: how things are, where that
    was read already."""
    now = now or await read_circumstances(here.pool)
    theirs = [worker for worker in workers if worker.name in found.workers]
    return {worker.name: await _said(here, _facts(worker, found, now)) for worker in theirs}


def reasons(found: EventTrail, workers: Sequence[AnyWorker], now: Circumstances) -> dict[str, str]:
    """Worker -> why the event is open for it, by what the tables know alone."""
    return {
        worker.name: said.text
        for worker in workers
        if worker.name in found.open and (said := first(_facts(worker, found, now))) is not None
    }


async def why_open(
    pool: Pool, workers: Sequence[AnyWorker], events: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """These events, as a list tells of them, as JSON, each with the reason by worker why it is open."""
    now = await read_circumstances(pool)
    documents = []
    for event in events:
        trails = [await trail_of(pool, workers, one) for one in await trail.by_ids(pool, [event["id"]], 1)]
        told = {worker: reason for one in trails if one for worker, reason in reasons(one, workers, now).items()}
        documents.append({"id": event["id"], "type": event["type"], "time": event["time"], "why": told})
    return documents


def _facts(worker: AnyWorker, found: EventTrail | None, now: Circumstances) -> Facts:
    types = tuple(sorted(worker.types))
    return Facts(worker=worker.name, types=types, channels=worker.channels, trail=found, now=now)


async def _said(here: Here, facts: Facts) -> Sentence:
    """By the tables where they tell; else Redis is asked, and then the process that holds the event."""
    facts = await _from_tables(here.pool, facts)
    known = first(facts, OF_TABLES) is not None or facts.worker in facts.now.pauses
    if not known and here.bus is not None:
        try:
            facts = await _from_redis(here.pool, here.bus, facts)
            if facts.bus is not None and facts.bus.owner is not None and not facts.bus.lost:
                facts = await _from_holder(here.bus, facts, facts.bus.owner)
        except StreamErrors:
            facts = replace(facts, away=True)
    said = first(facts)
    assert said is not None
    if facts.silent:
        return replace(said, text=f"{said.text}; {facts.held_by} did not answer", asked_at=facts.asked_at)
    return replace(said, asked_at=facts.asked_at)


async def _from_tables(pool: Pool, facts: Facts) -> Facts:
    found = facts.trail
    if found is None:
        return facts
    if facts.ending is not None:
        return replace(facts, message=await _message(pool, found)) if facts.ending.outcome == "uncertain" else facts
    event = found.event
    sibling = await behind.first_open(pool, facts.worker, facts.types, event.subject, event.id)
    return replace(
        facts,
        waiting=await waiting.place(pool, event.id, facts.worker),
        sibling=sibling,
        sibling_failed=None if sibling is None else await _failed(pool, sibling, facts.worker),
    )


async def _message(pool: Pool, found: EventTrail) -> tuple[str, str] | None:
    """(id, status) of the message that the event asks for."""
    try:
        id = UUID(orjson.loads(found.event.data)["message_id"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
    status = await waiting.message_status(pool, id)
    return None if status is None else (str(id), status)


async def _failed(pool: Pool, event_id: str, worker: str) -> FailedAttempts | None:
    return next((one for one in await trail.attempts(pool, event_id) if one.worker == worker), None)


async def _from_redis(pool: Pool, bus: Streams, facts: Facts) -> Facts:
    """Who holds the partition, and how far the worker has read there. Raises: StreamErrors."""
    assert facts.trail is not None
    event = facts.trail.event
    partition = partition_of(event.subject, bus.partitions)
    table = await lease_table.read_table(bus.redis)
    mark = await meta.value(pool, "mark")
    lost = ""
    if mark is not None and await Marks(bus).now() != {mark}:
        lost = await meta.value(pool, PROGRESS) or "a process is looking at what Redis has lost"
    entry_id = await waiting.entry_id(pool, event.id)
    place = None
    if entry_id is not None:
        key = stream_key(event.topic, partition)
        place = await ahead_of(bus.redis, key, facts.worker, entry_id, MOST_AHEAD)
    rate = 0.0
    if place is not None:
        rate = await waiting.ended_of_late(pool, facts.worker, RATE_S) / RATE_S / bus.partitions
    on_bus = OnTheBus(
        partition=partition,
        owner=table.owners.get((facts.worker, partition)),
        lost=lost,
        ahead=None if place is None else min(place, MOST_AHEAD),
        more=place is not None and place > MOST_AHEAD,
        rate=rate,
    )
    return replace(facts, bus=on_bus)


async def _from_holder(bus: Streams, facts: Facts, owner: str) -> Facts:
    """What the process says that holds the partition. Raises: StreamErrors."""
    assert facts.trail is not None
    event = facts.trail.event
    asked = {"worker": facts.worker, "event_id": event.id, "replay_id": "", "subject": event.subject}
    at = datetime.now(UTC)
    told = await questions.ask(bus.redis, owner, asked, PATIENCE_S)
    lane = None if told is None else _place(told)
    return replace(facts, lane=lane, silent=lane is None, asked_at=at)


def _place(told: Mapping[str, Any]) -> LanePlace | None:
    """What a process has told, None where one of another version speaks otherwise."""
    try:
        return place_from(told)
    except (KeyError, TypeError, ValueError):
        return None
