"""What a worker's own rows say of an event that waits: why, in one sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import structlog

from adapters.channel import Channel
from daemon.bus.lanes import Entry
from daemon.bus.outcome import Row, Turn
from daemon.bus.settle import Retry, StandInLine
from daemon.bus.worker import AnyWorker

log = structlog.get_logger(__name__)


def closed(channel: Channel) -> str:
    """Why events wait for *channel*; "" where they need not."""
    why = channel.why_closed
    return f"waits: {why}" if why else ""


def failed(verdict: Retry, now: datetime) -> str:
    """Why an event waits after a failed attempt; "" where nothing has failed."""
    if verdict.limited:
        return ""
    at = f"{(now + timedelta(seconds=verdict.delay_s)).astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return f"waits: the last attempt failed ({verdict.error.full_text}), the next one is at {at} UTC"


def asked(verdict: StandInLine) -> str:
    """Why an event waits although its channel is open; "" where it only waits for its place."""
    return f"waits: {verdict.why}" if verdict.why else ""


def rows(worker: AnyWorker, entry: Entry, why: str, now: datetime, *, after_failure: bool = False) -> tuple[Row, ...]:
    """The rows of *worker* that say why *entry* waits; none where *why* is empty, or they say so already. A fault in
    making them ends no process: the event waits all the same."""
    if why in ("", entry.told):
        return ()
    entry.told = why
    try:
        turn = Turn(now, entry.attempts + 1, entry.step, entry.memo, failed=after_failure)
        return tuple(worker.waits(entry.event, why, turn))
    except Exception:
        log.exception("event.waits_failed", worker=worker.name, event_id=entry.event.id)
        return ()
