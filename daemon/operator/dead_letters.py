"""What an operator does with dead letters: read them, send them again (also with other data), or discard them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

from multidict import CIMultiDict

from adapters.json_guard import parse_object
from adapters.ports import Webhook
from adapters.postgres.operator import dead_letters
from adapters.postgres.operator.dead_letters import ChosenLetter, LetterFilter, StoredLetter
from adapters.postgres.pool import Pool
from adapters.registry import SOURCES
from daemon.operator.edits import new_data
from daemon.operator.standing import order_of
from daemon.operator.trail import data_document
from daemon.telemetry.redaction import redact_text
from schemas.envelope import OF_ONE_THING, Event
from schemas.errors import FerrymanError, Malformed

PAGE: Final = 200
"""Letters that are sent again in one transaction."""


class LetterError(FerrymanError):
    """What was asked for cannot be done with these letters."""


async def list_groups(pool: Pool, wanted: LetterFilter) -> list[dict[str, Any]]:
    """The open letters that fit as JSON, grouped by worker and error, error texts redacted; the largest group
    first."""
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
            count += await dead_letters.retry(conn, ids[start : start + PAGE], operator, edited=new)
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
        return await dead_letters.discard(conn, ids, operator)
