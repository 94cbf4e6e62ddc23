"""Finding an event by what an operator has in hand, and following what happens."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from adapters.postgres.operator import dead_letters
from adapters.postgres.operator import trail as paths
from adapters.postgres.operator.dead_letters import Kept
from adapters.postgres.operator.trail import Attempts, Ending, Found
from adapters.postgres.pool import Pool, store_is_down
from daemon.bus.worker import AnyWorker
from schemas.envelope import Event, event_id
from schemas.identity import key
from schemas.phone import parse_phone

MOST: Final = 200
LOOK_S: Final = 0.5
BEHIND: Final = timedelta(seconds=15)
"""How late a commit may become visible after its time was taken, and still be told of."""

NUMBERS_BEHIND: Final = 1000
_PREFIX: Final = re.compile(r"[0-9a-f][0-9a-f-]{3,35}")


@dataclass(frozen=True, slots=True)
class Way:
    """All that is known of one event. *workers*: those that handle its type, in the order of their registration."""

    event: Event
    journaled_at: datetime | None
    workers: tuple[str, ...]
    endings: Sequence[Ending]
    attempts: Sequence[Attempts]
    letters: Sequence[Kept]
    caused: Sequence[Found]
    conflicts: int

    @property
    def open(self) -> list[str]:
        """The workers that have not ended with it."""
        ended = {ending.worker for ending in self.endings if not ending.replay_id}
        return [worker for worker in self.workers if worker not in ended]


def handled(workers: Sequence[AnyWorker]) -> Mapping[str, list[str]]:
    """AnyWorker -> the types it handles."""
    return {worker.name: sorted(worker.types) for worker in workers}


def states(workers: Sequence[AnyWorker], found: Found, endings: Sequence[Ending]) -> dict[str, str]:
    """AnyWorker -> how it ended with the event, "open" where it has not. Replays are left out."""
    ended = {e.worker: e.outcome for e in endings if e.event_id == found.id and not e.replay_id}
    return {w.name: ended.get(w.name, "open") for w in workers if found.type in w.types}


def keys_of(text: str) -> list[str]:
    """The keys that *text* may mean: itself, a phone in E.164 with or without its plus, an e-mail, an order's id."""
    phone = parse_phone(text if text.startswith("+") else f"+{text}")
    named = [key(phone=phone)] if phone else []
    return list(dict.fromkeys([text, *named, key(email=text), key(order_id=text)]))


async def find(pool: Pool, text: str) -> list[Found]:
    """The events that *text* means: an event's id or the beginning of it, an order's id, or a key; at most MOST."""
    wanted = text.strip()
    exact = await paths.by_ids(pool, [wanted.lower(), event_id("orders", wanted)], MOST)
    if exact:
        return exact
    if _PREFIX.fullmatch(wanted.lower()) and (found := await paths.by_prefix(pool, wanted.lower(), MOST)):
        return found
    return await paths.by_keys(pool, keys_of(wanted), MOST) if wanted else []


async def way(pool: Pool, workers: Sequence[AnyWorker], found: Found) -> Way | None:
    """What happened to it. None when it is gone meanwhile."""
    whole = await paths.whole(pool, found.id)
    if whole is None:
        return None
    event, journaled_at = whole
    return Way(
        event,
        journaled_at,
        tuple(worker.name for worker in workers if event.type in worker.types),
        await paths.endings(pool, [event.id]),
        await paths.attempts(pool, event.id),
        await dead_letters.find(pool, None, event.id),
        await paths.caused(pool, event.id, MOST),
        await paths.conflicts(pool, event.id),
    )


async def follow(pool: Pool) -> AsyncIterator[Found | Ending]:
    """Every event as it is journaled and every ending, from now on. A store that is away is asked again."""
    number, at = await paths.newest(pool)
    numbers: set[int] = {n for n, _ in await paths.arrived(pool, number - NUMBERS_BEHIND, NUMBERS_BEHIND)}
    told: dict[tuple[str, str, str], datetime] = {_name(e): e.at for e in await paths.ended(pool, at - BEHIND, 100_000)}
    while True:
        try:
            arrivals = await paths.arrived(pool, number - NUMBERS_BEHIND, 10 * NUMBERS_BEHIND)
            endings = await paths.ended(pool, at - BEHIND, 100_000)
        except Exception as exc:
            if not store_is_down(exc):
                raise
            arrivals, endings = [], []
        for n, found in arrivals:
            if n not in numbers:
                yield found
        for ending in endings:
            if _name(ending) not in told:
                yield ending
        number = max((n for n, _ in arrivals), default=number)
        at = max((e.at for e in endings), default=at)
        numbers |= {n for n, _ in arrivals}
        numbers = {n for n in numbers if n > number - NUMBERS_BEHIND}
        told = {name: when for name, when in told.items() if when > at - BEHIND} | {_name(e): e.at for e in endings}
        await asyncio.sleep(LOOK_S)


def _name(ending: Ending) -> tuple[str, str, str]:
    return ending.event_id, ending.worker, f"{ending.replay_id} {ending.at.isoformat()}"
