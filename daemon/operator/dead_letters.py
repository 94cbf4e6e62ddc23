"""What an operator does with dead letters: read them, send them again (also with other data), or discard them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from multidict import CIMultiDict

from adapters.json_guard import parse_object
from adapters.ports import Webhook
from adapters.postgres import audit_log
from adapters.postgres.audit_log import Logged
from adapters.postgres.operator import dead_letters
from adapters.postgres.operator.dead_letters import ChosenLetter, LetterFilter, StoredLetter
from adapters.postgres.pool import Connection, Pool
from adapters.registry import SOURCES
from daemon.operator.edits import new_data
from daemon.operator.faults import NotThere, Unusable
from daemon.operator.standing import order_of
from daemon.operator.trail import data_document
from daemon.telemetry.redaction import redact_text
from schemas.envelope import OF_ONE_THING, Event
from schemas.errors import Malformed

PAGE: Final = 200
"""Letters that are sent again in one transaction."""


REACHING: Final = frozenset({"outbound-messaging", "automatic-messages", "clarification", "delivery-status"})
"""Workers whose events may end as a message to a person."""

NO_EVENT: Final = "it holds no event that could run"
SETTLED: Final = "it was settled meanwhile"


class LetterError(Unusable):
    """What was asked for cannot be done with these letters."""


async def list_groups(pool: Pool, wanted: LetterFilter) -> list[dict[str, Any]]:
    """The open letters that fit as JSON, grouped by worker and fault, error texts redacted; the largest group first."""
    groups = await dead_letters.groups(pool, wanted)
    return [asdict(group) | {"error_text": redact_text(group.error_text)} for group in groups]


def document(letter: StoredLetter) -> dict[str, Any]:
    """*letter* as JSON, with its event's data."""
    event = letter.event
    return {
        "number": letter.id,
        "state": letter.state,
        "worker": letter.worker,
        "error_class": letter.error_class,
        "error_text": letter.error_text,
        "attempts": letter.attempts,
        "buried_at": letter.buried_at,
        "retries": letter.retries,
        "settled_at": letter.settled_at,
        "settled_by": letter.settled_by,
        "edited_at": letter.edited_at,
        "event_id": event.id,
        "replay_id": event.replayid or None,
        "type": event.type,
        "source": event.source,
        "key": event.subject,
        "time": event.time,
        "order_id": order_of(event.data),
        "data": data_document(event.data),
    }


async def show(pool: Pool, number: int) -> dict[str, Any]:
    """The letter *number* as JSON, with its event's data. Raises: NotThere."""
    found = await dead_letters.find(pool, number, None)
    if not found:
        raise NotThere(f"there is no dead letter {number}: see `ferryman dead-letters list`")
    return document(found[0])


async def reaches_somebody(pool: Pool, wanted: LetterFilter) -> bool:
    """Whether a person may get a message where the letters that fit are sent again."""
    return any(letter.worker in REACHING for letter in await dead_letters.chosen(pool, wanted))


async def choose(pool: Pool, wanted: LetterFilter) -> list[ChosenLetter]:
    """The open letters that fit, in the order of their events' times.

    Raises: LetterError when one of the filter's ids is not an open letter that fits.
    """
    found = await dead_letters.chosen(pool, wanted)
    if wanted.ids is None:
        return found
    for missing in sorted(set(wanted.ids) - {letter.id for letter in found}):
        raise LetterError(await _why_not(pool, missing))
    return found


@dataclass(frozen=True, slots=True)
class BulkPlan:
    """What a verb for all letters that fit would do. *count*: letters. *upto*: the last of them, beyond which the verb
    does not go. *skipped*: reason -> how many it would leave alone."""

    count: int
    upto: int
    skipped: Mapping[str, int]


async def plan_retry(pool: Pool, wanted: LetterFilter) -> BulkPlan:
    """What `retry_all` would do now."""
    return _plan(await dead_letters.chosen(pool, wanted), runnable=True)


async def plan_discard(pool: Pool, wanted: LetterFilter) -> BulkPlan:
    """What `discard_all` would do now."""
    return _plan(await dead_letters.chosen(pool, wanted), runnable=False)


def _plan(found: Sequence[ChosenLetter], *, runnable: bool) -> BulkPlan:
    fit = [letter for letter in found if letter.runnable or not runnable]
    return BulkPlan(
        len(fit), max((letter.id for letter in found), default=0), _skipped({NO_EVENT: len(found) - len(fit)})
    )


async def retry_all(pool: Pool, wanted: LetterFilter, upto: int, actor: str, planned: int) -> dict[str, Any]:
    """Send all letters again that fit and were there when *actor* was shown *planned* of them, the last one *upto*."""
    found = await dead_letters.chosen(pool, replace(wanted, upto=upto))
    ids = [letter.id for letter in found if letter.runnable]
    done = await retry(pool, ids, actor, lambda done, of: None)
    return _answer(done, {NO_EVENT: len(found) - len(ids), SETTLED: max(0, planned - done)})


async def discard_all(pool: Pool, wanted: LetterFilter, upto: int, actor: str, planned: int) -> dict[str, Any]:
    """Close all letters that fit and were there when *actor* was shown *planned* of them, the last one *upto*."""
    found = await dead_letters.chosen(pool, replace(wanted, upto=upto))
    done = await discard(pool, [letter.id for letter in found], actor)
    return _answer(done, {SETTLED: max(0, planned - done)})


def _answer(done: int, skipped: Mapping[str, int]) -> dict[str, Any]:
    return {"done": done, "skipped": [{"reason": why, "count": n} for why, n in _skipped(skipped).items()]}


def _skipped(counts: Mapping[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in counts.items() if count}


async def _why_not(pool: Pool, letter_id: int) -> str:
    letters = await dead_letters.find(pool, letter_id, None)
    if not letters:
        return f"there is no dead letter {letter_id}: see `ferryman dead-letters list`"
    letter = letters[0]
    if letter.state == "open":
        return f"dead letter {letter_id} is not of that worker, class or text: see `ferryman dead-letters show`"
    return f"dead letter {letter_id} was {letter.state} at {letter.settled_at:%Y-%m-%d %H:%M:%S} UTC and is not open"


async def edited_event(pool: Pool, letter_id: int, body: bytes) -> Event:
    """The event of an existing letter with other data: *body*, or what the letter's document in *body* has as its data.

    Raises: as `edited`; OtherDocument.
    """
    (letter,) = await dead_letters.find(pool, letter_id, None)
    return edited(letter, new_data(body, {"number": letter.id, "event_id": letter.event.id}, "data"))


def edited(letter: StoredLetter, body: bytes) -> Event:
    """The event of *letter* with *body*, a JSON object, as its data: the same id, the key that the new data name.

    Raises: NotJson; LetterError when the data name another event than the letter's.
    """
    doc = parse_object(body)
    event = letter.event._replace(data=body)
    source = next((source for source in SOURCES if source.name == event.source), None)
    if source is None or not source.keeps_body:
        return event  # its data are not a body, so they do not tell the key
    try:
        events = source.parse(Webhook(CIMultiDict(), body, ""), doc, event.time)
    except Malformed as exc:
        raise LetterError(f"the edited data cannot be an event of {source.name}: {exc}") from exc
    thing = event.id[:OF_ONE_THING]  # another text makes another id: of another state of the same thing
    same = next((found for found in events if found.id[:OF_ONE_THING] == thing), None)
    if same is None:
        raise LetterError("the edited data name another event: its identity (like order.id) must stay as it was")
    return event._replace(subject=same.subject)


async def retry(
    pool: Pool, ids: Sequence[int], operator: str, report: Callable[[int, int], None], *, event: Event | None = None
) -> int:
    """Send these letters again, in this order; returns how many were still open.

    *operator*: the person, for the record. *event*: of a single letter, its event with other data. *report* is called
    with (done, of how many).
    """
    new = None if event is None else (event.data.decode(), event.subject)
    count = 0
    for start in range(0, len(ids), PAGE):
        async with pool.acquire() as conn, conn.transaction():
            sent = await dead_letters.retry(conn, ids[start : start + PAGE], operator, edited=new)
            await _log(conn, operator, "retried", ids[start : start + PAGE], sent, edited=event is not None)
        count += sent
        report(min(start + PAGE, len(ids)), len(ids))
    return count


def require_all(count: int, wanted: int) -> None:
    """Raises: LetterError where only *count* of *wanted* letters were still open when their turn came."""
    if count < wanted:
        raise LetterError(f"{wanted - count} of {wanted} were no longer open: another command settled them meanwhile")


async def discard(pool: Pool, ids: Sequence[int], operator: str) -> int:
    """Close these letters without another run; returns how many were still open. *operator*: the person, for the
    record."""
    async with pool.acquire() as conn, conn.transaction():
        count = await dead_letters.discard(conn, ids, operator)
        await _log(conn, operator, "discarded", ids, count)
    return count


async def _log(
    conn: Connection, actor: str, done: str, ids: Sequence[int], count: int, *, edited: bool = False
) -> None:
    """One row of the audit log for all of them."""
    if count:
        subject = f"letter:{ids[0]}" if len(ids) == 1 else "letters:"
        detail = {"count": count, "first": min(ids), "last": max(ids)} | ({"edited": True} if edited else {})
        await audit_log.add(conn, [Logged(actor, f"letter.{done}", subject, detail)])
