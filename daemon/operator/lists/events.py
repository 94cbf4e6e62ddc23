"""Events of the journal, the newest first, each with how its workers ended.

What looks is imported when somebody first asks: a daemon starts without the operators' verbs.
"""

from __future__ import annotations

from typing import Final

from adapters.postgres.bus.workers import Registered, listed
from adapters.postgres.operator import event_list, trail
from adapters.postgres.operator.event_list import Events, Wanted
from adapters.postgres.operator.trail import FoundEvent, WorkerEnding
from adapters.postgres.pool import Pool
from daemon.operator import masking
from daemon.operator.lists import cursors
from daemon.operator.lists.cursors import Place
from daemon.operator.lists.pages import Page, Position, slow
from daemon.operator.workers import kept_for
from daemon.workers import WORKERS
from schemas.api.lists import EventFilter
from schemas.envelope import TYPES

_KEYS: Final = ("timestamptz", "bigint")


async def page(pool: Pool, wanted: EventFilter, at: Position) -> Page:
    """The page *at*. Raises: BadCursor; Unusable, where it takes too long."""
    key, of = await cursors.key_of(pool), cursors.digest_of("events", wanted.model_dump())
    place = None if at.cursor is None else cursors.read(key, of, _KEYS, at.cursor)
    workers = kept_for(WORKERS, await listed(pool))
    begins = None if place is None else (place.keys[0], place.keys[1])
    backwards = place is not None and place.backwards
    try:
        found = await event_list.read(pool, _asked(wanted, workers), begins, at.limit, backwards=backwards)
    except TimeoutError:
        raise slow() from None
    endings = await trail.endings(pool, [one.id for one in found.rows])
    older, newer = _around(found, placed=place is not None, backwards=backwards)
    return Page(
        [_document(one, workers, endings) for one in found.rows],
        None if older is None else cursors.written(key, of, Place(older, False)),
        None if newer is None else cursors.written(key, of, Place(newer, True)),
    )


def _asked(wanted: EventFilter, workers: list[Registered]) -> Wanted:
    asked = [worker for worker in workers if wanted.worker in (None, worker.name)]
    handles = [(worker.name, type) for worker in asked for type in sorted(worker.types)]
    types = sorted({type for _, type in handles}) if wanted.worker is not None else sorted(TYPES)
    return Wanted(
        types=[type for type in types if wanted.type in (None, type)],
        handles=handles,
        source=wanted.source,
        outcome=wanted.outcome,
        since=wanted.since,
        until=wanted.until,
    )


def _around(found: Events, *, placed: bool, backwards: bool) -> tuple[event_list.Place | None, event_list.Place | None]:
    """Where the pages of older and of newer events begin; None: there are none."""
    beyond = found.last if found.full else None
    back = found.first if placed else None
    return (back, beyond) if backwards else (beyond, back)


def _document(one: FoundEvent, workers: list[Registered], endings: list[WorkerEnding]) -> dict[str, object]:
    from daemon.operator.trail import handlers, states

    return {
        "id": one.id,
        "type": one.type,
        "source": one.source,
        "key": masking.key(one.key),
        "time": one.time,
        "place": one.place,
        "workers": states(handlers(workers, one.type, one.time), one.id, endings),
    }
