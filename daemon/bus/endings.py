"""How verdicts are written: the rows of the bus's own tables, and which verdicts tell of a failure."""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final

import orjson
import structlog

from adapters.postgres.bus import burials, inbox
from daemon.bus.aside import LARGE_BYTES
from daemon.bus.lanes import Entry
from daemon.bus.outcome import Row, Turn
from daemon.bus.settle import Finish, Park, Poison, Retry, StandInLine, Written
from daemon.bus.worker import AnyWorker
from schemas.envelope import Event
from schemas.errors import FerrymanError

TEXT_CAP: Final = 500

log = structlog.get_logger(__name__)


def body_hash(event: Event) -> bytes:
    """A digest of the payload that spacing and the order of keys do not change. Of a large one each byte counts: to
    read its objects would hold the event loop for seconds."""
    if len(event.data) > LARGE_BYTES:
        return blake2b(event.data, digest_size=16).digest()
    try:
        canonical = orjson.dumps(orjson.loads(event.data), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, TypeError):
        canonical = event.data
    return blake2b(canonical, digest_size=16).digest()


def is_failure(verdict: Written) -> bool:
    """Whether it is written to the tables of failures: `attempts` or `dead_letters`."""
    return isinstance(verdict, Retry) or (isinstance(verdict, Finish) and verdict.outcome == "dead")


def is_bare_letter(verdict: Written) -> bool:
    """Whether it is a dead letter without rows of the worker: no plainer one can be made of it."""
    return isinstance(verdict, Finish) and verdict.outcome == "dead" and not verdict.rows


def without_rows(verdict: Written) -> Written | None:
    """The same, without the worker's rows, where these only tell of what is known elsewhere: of a dead letter, or of an
    event that waits. None: they are the result itself, or there are none."""
    if isinstance(verdict, Finish) and verdict.outcome == "dead":
        return verdict._replace(rows=())
    return verdict._replace(rows=()) if isinstance(verdict, Retry | Park | StandInLine) and verdict.rows else None


def farewell(worker: AnyWorker, event: Event, error: FerrymanError, turn: Turn) -> tuple[Row, ...]:
    """The rows of *worker* for a dead letter. A fault in making them must not keep the letter from being written; and
    what kills the process when the worker reads it is not given to the worker again."""
    try:
        if isinstance(error, Poison):
            return tuple(worker.poisoned(event.id, turn))
        return tuple(worker.buried(event, error, turn))
    except Exception:
        log.exception("event.buried_failed", worker=worker.name, event_id=event.id)
        return ()


def inbox_row(entry: Entry, verdict: Finish) -> inbox.InboxRow:
    """That the event has ended for the worker."""
    event = entry.event
    reason = _text(verdict.reason) if verdict.reason else None
    return inbox.InboxRow(event.id, event.replayid, verdict.outcome, reason, entry.attempts, body_hash(event))


def letter(entry: Entry, verdict: Finish) -> burials.DeadLetter:
    """The dead letter of an event that ended so."""
    error = verdict.error
    return burials.DeadLetter(
        entry.event, type(error).__name__, _text(error.full_text if error else ""), entry.attempts + 1
    )


def failure_row(entry: Entry, verdict: Retry, now: datetime) -> inbox.Failure:
    """That an attempt has failed at *now*, and when the next one begins."""
    return inbox.Failure(
        entry.event.id,
        entry.event.replayid,
        entry.attempts,
        type(verdict.error).__name__,
        _text(verdict.error.full_text),
        verdict.error.code,
        now + timedelta(seconds=verdict.delay_s),
    )


def _text(text: str) -> str:
    """*text* as Postgres can keep it: errors may quote what an outside system wrote."""
    return text[:TEXT_CAP].replace("\x00", "\ufffd").encode(errors="replace").decode()
