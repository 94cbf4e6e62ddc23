"""The trail of an event, from its arrival to the end of every worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

import orjson

from adapters.postgres.bus.workers import Registered, listed
from adapters.postgres.operator import dead_letters, trail
from adapters.postgres.operator.dead_letters import StoredLetter
from adapters.postgres.operator.trail import EventFilter, FailedAttempts, FoundEvent, WorkerEnding
from adapters.postgres.pool import Pool, store_is_down
from daemon.bus.worker import AnyWorker
from daemon.operator.keys import keys_meant, masked_key
from daemon.operator.workers import kept_for
from schemas.envelope import Event

OUTCOMES: Final = ("done", "skipped", "dead", "uncertain", "open")
"""How a worker may have ended with an event; "open": not yet."""

MOST: Final = 200
"""Events that were emitted by handling one, at most."""

POLL_S: Final = 0.5
BEHIND: Final = timedelta(seconds=15)
"""How long after its time an ending may still become visible: its transaction takes the time and commits later."""

NUMBERS_BEHIND: Final = 1000
"""The same for arrivals, in journal numbers."""

ENDINGS_AT_ONCE: Final = 100_000
_EndingId: TypeAlias = tuple[str, str, str, datetime]


@dataclass(frozen=True, slots=True)
class EventTrail:
    """All that is known of one event. *place*: where it is stored, as of a FoundEvent. *workers*: those that handle its
    type, in the order of their registration. *put_off*: worker -> what it waits for, by its own word."""

    event: Event
    place: str
    journaled_at: datetime | None
    workers: tuple[str, ...]
    endings: Sequence[WorkerEnding]
    attempts: Sequence[FailedAttempts]
    letters: Sequence[StoredLetter]
    caused: Sequence[FoundEvent]
    conflicts: int
    put_off: Mapping[str, str] = field(default_factory=dict)

    @property
    def open(self) -> list[str]:
        """The workers that have not ended with it."""
        ended = {ending.worker for ending in self.endings if not ending.replay_id}
        return [worker for worker in self.workers if worker not in ended]

    def document(self) -> dict[str, Any]:
        """As JSON: what a list of events says of it, its key not masked, and all the rest."""
        return {
            **event_document(self.event),
            "place": self.place,
            "workers": states(self.workers, self.event.id, self.endings),
            "journaled_at": self.journaled_at,
            "endings": [asdict(ending) for ending in self.endings],
            "attempts": [asdict(failed) for failed in self.attempts],
            "open": self.open,
            "dead_letters": [_letter_document(letter) for letter in self.letters],
            "caused": [_masked(found) for found in self.caused],
            "other_bodies": self.conflicts,
        }


def event_document(event: Event) -> dict[str, Any]:
    """*event* as JSON, with its data. Attributes that are empty are left out."""
    given = {"key" if name == "subject" else name: value for name, value in event._asdict().items() if value != ""}
    return given | {"data": data_document(event.data)}


def data_document(data: bytes) -> Any:
    """The JSON that *data* is; as text what is not JSON, as of a stream entry that no worker could read."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return data.decode(errors="replace")


def _letter_document(letter: StoredLetter) -> dict[str, Any]:
    return {
        "number": letter.id,
        "worker": letter.worker,
        "state": letter.state,
        "error_class": letter.error_class,
        "error_text": letter.error_text,
        "attempts": letter.attempts,
        "buried_at": letter.buried_at,
        "retries": letter.retries,
        "settled_at": letter.settled_at,
        "edited_at": letter.edited_at,
    }


def _masked(found: FoundEvent) -> dict[str, Any]:
    return asdict(found) | {"key": masked_key(found.key)}


def handled_types(workers: Sequence[AnyWorker | Registered]) -> Mapping[str, list[str]]:
    """Worker -> the types it handles."""
    return {worker.name: sorted(worker.types) for worker in workers}


def states(names: Sequence[str], event_id: str, endings: Sequence[WorkerEnding]) -> dict[str, str]:
    """Worker -> how it ended with the event, "open" where it has not. Replays are left out. *names*: the workers that
    handle its type."""
    ended = {e.worker: e.outcome for e in endings if e.event_id == event_id and not e.replay_id}
    return {name: ended.get(name, "open") for name in names}


def handlers(workers: Sequence[Registered], type: str, at: datetime) -> tuple[str, ...]:
    """The names of the workers that handle an event of *type* that was accepted *at* that time."""
    return tuple(worker.name for worker in workers if type in worker.types and at >= worker.since)


async def handled_by(pool: Pool, workers: Sequence[AnyWorker], event: Event) -> list[str]:
    """The names of those of *workers* that handle *event* in this installation."""
    return list(handlers(kept_for(workers, await listed(pool)), event.type, event.time))


async def list_events(
    pool: Pool, workers: Sequence[AnyWorker], wanted: EventFilter, limit: int
) -> list[dict[str, Any]]:
    """The newest events that fit as JSON, newest first, keys masked, each with the state of its workers. The filter's
    key may be anything that `keys_meant` understands."""
    theirs, found = kept_for(workers, await listed(pool)), list[FoundEvent]()
    for key in [None] if wanted.key is None else keys_meant(wanted.key):
        found += await trail.listed(pool, replace(wanted, key=key), handled_types(theirs), limit)
    return await _with_states(pool, theirs, found[:limit])


async def _with_states(pool: Pool, workers: Sequence[Registered], found: Sequence[FoundEvent]) -> list[dict[str, Any]]:
    endings = await trail.endings(pool, [one.id for one in found])
    return [_masked(one) | {"workers": states(handlers(workers, one.type, one.time), one.id, endings)} for one in found]


async def trail_of(pool: Pool, workers: Sequence[AnyWorker], found: FoundEvent) -> EventTrail | None:
    """Everything that happened to *found*; None when the event was deleted meanwhile."""
    whole = await trail.whole(pool, found.id)
    if whole is None:
        return None
    event, journaled_at = whole
    return EventTrail(
        event,
        found.place,
        journaled_at,
        tuple(await handled_by(pool, workers, event)),
        await trail.endings(pool, [event.id]),
        await trail.attempts(pool, event.id),
        await dead_letters.find(pool, None, event.id),
        await trail.caused(pool, event.id, MOST),
        await trail.conflicts(pool, event.id),
        await trail.put_off(pool, event.id),
    )


async def follow(pool: Pool) -> AsyncIterator[FoundEvent | WorkerEnding]:
    """Every event when it is journaled, and every ending, from now on, once each. While Postgres is away it yields
    nothing; what was recorded in that time follows afterwards."""
    number, at = await trail.newest(pool)
    numbers: set[int] = {n for n, _ in await trail.arrived(pool, number - NUMBERS_BEHIND, NUMBERS_BEHIND)}
    known: dict[_EndingId, datetime] = {_id(e): e.at for e in await trail.ended(pool, at - BEHIND, ENDINGS_AT_ONCE)}
    while True:
        try:
            arrivals = await trail.arrived(pool, number - NUMBERS_BEHIND, 10 * NUMBERS_BEHIND)
            endings = await trail.ended(pool, at - BEHIND, ENDINGS_AT_ONCE)
        except Exception as exc:
            if not store_is_down(exc):
                raise
            arrivals, endings = [], []
        for n, found in arrivals:
            if n not in numbers:
                yield found
        for ending in endings:
            if _id(ending) not in known:
                yield ending
        number = max((n for n, _ in arrivals), default=number)
        at = max((e.at for e in endings), default=at)
        numbers |= {n for n, _ in arrivals}
        numbers = {n for n in numbers if n > number - NUMBERS_BEHIND}
        known = {id: when for id, when in known.items() if when > at - BEHIND} | {_id(e): e.at for e in endings}
        await asyncio.sleep(POLL_S)


def _id(ending: WorkerEnding) -> _EndingId:
    return ending.event_id, ending.worker, ending.replay_id, ending.at
