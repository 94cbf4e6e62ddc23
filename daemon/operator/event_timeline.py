"""What has happened to an event, in the order of time: how it came, every attempt of every worker, how each ended, and
what it brought about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from adapters.postgres.operator import trail, waiting
from adapters.postgres.operator.trail import PastAttempt, WorkerEnding
from adapters.postgres.pool import Pool
from adapters.redis.values import parsed_id
from daemon.operator.trail import EventTrail
from daemon.operator.why.sentence import Sentence
from daemon.telemetry.redaction import redact_text

MOST: Final = 500
"""Attempts that are told, the last ones, at most."""

What: TypeAlias = Literal["accepted", "appended", "journaled", "attempt", "outcome", "buried", "settled", "emitted"]
"""*appended*: it is on its stream, from where the workers read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """*text*: what happened, in words. *worker*: whose step it is. *took_s*: of an attempt. *delay_s*: from the end of
    an attempt to the next one. *counted*: the attempt cost the event one of those that it has. *id*: of the event that
    was emitted, or the number of the dead letter."""

    at: datetime
    what: What
    text: str
    worker: str | None = None
    replay_id: str | None = None
    host: str | None = None
    outcome: str | None = None
    error_class: str | None = None
    error_code: str | None = None
    error_text: str | None = None
    took_s: float | None = None
    delay_s: float | None = None
    counted: bool | None = None
    id: str | None = None


async def steps_of(pool: Pool, found: EventTrail) -> list[Step]:
    """Everything that is known to have happened to the event, oldest first; its arrival is the first, whatever the
    clocks of several hosts say."""
    past = await trail.history(pool, found.event.id, MOST)
    entry_id = await waiting.entry_id(pool, found.event.id)
    later = [
        *_arrival(found, entry_id),
        *_attempts(past),
        *_last_errors(found, past),
        *(_ending(one) for one in found.endings),
        *_letters(found),
        *(Step(at=one.time, what="emitted", text=f"emitted {one.type} {one.id}", id=one.id) for one in found.caused),
    ]
    arrived = Step(at=found.event.time, what="accepted", text="arrived")
    return [arrived, *sorted(later, key=lambda step: step.at)]


def document(found: EventTrail, steps: Sequence[Step], why: Mapping[str, Sentence]) -> dict[str, Any]:
    """As JSON: the event's own document, its steps, and for each worker why it is where it is."""
    return {
        **found.document(),
        "steps": [asdict(step) for step in steps],
        "why": {worker: said.document() for worker, said in why.items()},
    }


def _arrival(found: EventTrail, entry_id: str | None) -> Iterator[Step]:
    if entry_id is not None:
        at = datetime.fromtimestamp(parsed_id(entry_id)[0] / 1000, UTC)
        yield Step(at=at, what="appended", text="on its stream")
    if found.journaled_at is not None:
        yield Step(at=found.journaled_at, what="journaled", text="in the journal")


def _attempts(past: Sequence[PastAttempt]) -> Iterator[Step]:
    numbers: dict[tuple[str, str], int] = {}
    for one in past:
        number = numbers[one.worker, one.replay_id] = numbers.get((one.worker, one.replay_id), 0) + 1
        took, error = (one.ended_at - one.began_at).total_seconds(), redact_text(one.error_text)
        delay = None if one.next_at is None else (one.next_at - one.ended_at).total_seconds()
        again = "" if one.next_at is None else f", again at {_shown(one.next_at)}"
        free = "" if one.counted else "; it does not count"
        text = f"{one.worker}: attempt {number} failed on {one.host} after {took:.1f} s"
        yield Step(
            at=one.ended_at,
            what="attempt",
            text=f"{text} ({one.error_class}: {error}){again}{free}{_replay(one.replay_id)}",
            worker=one.worker,
            replay_id=one.replay_id or None,
            host=one.host,
            error_class=one.error_class,
            error_code=one.error_code,
            error_text=error,
            took_s=round(took, 3),
            delay_s=None if delay is None else round(delay, 3),
            counted=one.counted,
        )


def _last_errors(found: EventTrail, past: Sequence[PastAttempt]) -> Iterator[Step]:
    """The last error of a worker whose attempts an older version has not kept."""
    kept = {(one.worker, one.replay_id) for one in past}
    for one in found.attempts:
        if (one.worker, one.replay_id) in kept:
            continue
        error = redact_text(one.error_text)
        of_them = "" if one.attempts == one.failures else f"; {one.attempts} of them count"
        text = f"{one.worker}: attempt {one.failures} failed ({one.error_class}: {error}), again at"
        yield Step(
            at=one.at,
            what="attempt",
            text=f"{text} {_shown(one.next_at)}{of_them}",
            worker=one.worker,
            replay_id=one.replay_id or None,
            error_class=one.error_class,
            error_code=one.error_code,
            error_text=error,
            delay_s=round((one.next_at - one.at).total_seconds(), 3),
        )


def _ending(one: WorkerEnding) -> Step:
    text = f"{one.worker}: {one.outcome}" + (f" ({redact_text(one.reason)})" if one.reason else "")
    text += f", after {one.attempts} failed attempts" if one.attempts else ""
    text += f", on {one.host}" if one.host else ""
    return Step(
        at=one.at,
        what="outcome",
        text=text + _replay(one.replay_id),
        worker=one.worker,
        replay_id=one.replay_id or None,
        host=one.host,
        outcome=one.outcome,
    )


def _letters(found: EventTrail) -> Iterator[Step]:
    for one in found.letters:
        error = redact_text(one.error_text)
        text = f"{one.worker}: dead letter {one.id} after {one.attempts} attempts ({one.error_class}: {error})"
        about: dict[str, Any] = {"worker": one.worker, "replay_id": one.event.replayid or None, "id": str(one.id)}
        yield Step(at=one.buried_at, what="buried", text=text, **about, error_class=one.error_class, error_text=error)
        if one.settled_at is not None:
            edited = f", with edited data: `ferryman dead-letters show {one.id}`" if one.edited_at is not None else ""
            text = f"{one.worker}: dead letter {one.id} {one.state} by {one.settled_by}{edited}"
            yield Step(at=one.settled_at, what="settled", text=text, **about)


def _replay(replay_id: str) -> str:
    return f" [replay {replay_id}]" if replay_id else ""


def _shown(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
