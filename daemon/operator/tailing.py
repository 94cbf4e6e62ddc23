"""What goes on, as it is recorded: each event when it arrives, and each worker's end with it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from adapters.postgres.operator import trail
from adapters.postgres.operator.trail import FoundEvent, WorkerEnding
from adapters.postgres.pool import Pool, store_is_down
from daemon.operator.keys import keys_meant, masked_key
from daemon.operator.trail import follow
from daemon.telemetry.redaction import redact_text

ACCEPTED: Final = "accepted"
"""The outcome of an event that has arrived."""

OUTCOMES: Final = (ACCEPTED, "done", "skipped", "dead", "uncertain")
REMEMBERED: Final = 10_000
"""Events whose source and type are known without asking, once their workers end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TailFilter:
    """What is to be followed; None: anything. *worker*: its ends alone. *key*: whatever `keys_meant` understands."""

    type: str | None = None
    source: str | None = None
    worker: str | None = None
    outcome: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Happened:
    """One line. *at*: of the arrival, or of the end; *ms*: from the one to the other. *worker*: None at the arrival.
    *key*: masked. *replay*: the replay that it belongs to, or ""."""

    at: datetime
    event: str
    type: str
    source: str
    key: str
    outcome: str
    worker: str | None = None
    reason: str | None = None
    ms: int | None = None
    replay: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


async def tail(pool: Pool, wanted: TailFilter) -> AsyncIterator[Happened]:
    """What happens from now on and fits, once each. While Postgres is away it yields nothing; what was recorded in that
    time follows afterwards."""
    keys = None if wanted.key is None else frozenset(keys_meant(wanted.key))
    known: OrderedDict[str, FoundEvent] = OrderedDict()
    async for one in follow(pool):
        if isinstance(one, FoundEvent):
            event, happened = one, _arrival(one)
        elif (found := known.get(one.event_id) or await _asked(pool, one.event_id)) is None:
            continue  # it was deleted since
        else:
            event, happened = found, _ending(one, found)
        known[event.id] = event
        if len(known) > REMEMBERED:
            known.popitem(last=False)
        if _fits(happened, wanted) and (keys is None or event.key in keys):
            yield happened


async def _asked(pool: Pool, event_id: str) -> FoundEvent | None:
    """The event, or None; also where Postgres has gone away meanwhile."""
    try:
        found = await trail.by_ids(pool, [event_id], 1)
    except Exception as exc:
        if not store_is_down(exc):
            raise
        return None
    return found[0] if found else None


def _arrival(found: FoundEvent) -> Happened:
    return Happened(found.time, found.id, found.type, found.source, masked_key(found.key), ACCEPTED)


def _ending(end: WorkerEnding, of: FoundEvent) -> Happened:
    ms = max(0, round((end.at - of.time).total_seconds() * 1000))
    reason = redact_text(end.reason) if end.reason else None
    named = (of.id, of.type, of.source, masked_key(of.key))
    return Happened(end.at, *named, end.outcome, end.worker, reason, ms, end.replay_id)


def _fits(one: Happened, wanted: TailFilter) -> bool:
    pairs = ((wanted.type, one.type), (wanted.source, one.source), (wanted.worker, one.worker))
    return all(asked in (None, found) for asked, found in (*pairs, (wanted.outcome, one.outcome)))
