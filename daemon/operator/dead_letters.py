"""What an operator does with dead letters: send them again, also with other data, or settle them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from adapters.json_guard import parse_object
from adapters.ports import Webhook
from adapters.postgres.operator import dead_letters
from adapters.postgres.operator.dead_letters import Choice, Kept, Target
from adapters.postgres.pool import Pool
from adapters.registry import SOURCES
from schemas.envelope import Event
from schemas.errors import FerrymanError, Malformed

PAGE: Final = 200


class LetterError(FerrymanError):
    """What was asked for cannot be done with these letters."""


async def chosen(pool: Pool, choice: Choice) -> list[Target]:
    """The open letters that fit, in the order of their events' times.

    Raises: LetterError when one of the ids is not an open letter; nothing is done then.
    """
    found = await dead_letters.targets(pool, choice)
    if choice.ids is None:
        return found
    for missing in sorted(set(choice.ids) - {target.id for target in found}):
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


def edited(letter: Kept, body: bytes) -> Event:
    """The event of *letter* with *body*, a JSON object, as its data: the same id, the key that the new data name.

    Raises: NotJson; LetterError when the data name another event than the letter's.
    """
    parse_object(body)
    event = replace(letter.event, data=body)
    source = next((source for source in SOURCES if source.name == event.source), None)
    if source is None:
        return event
    try:
        events = source.parse(Webhook({}, body, ""), source.decode(body), event.time)
    except Malformed as exc:
        raise LetterError(f"the edited data cannot be an event of {source.name}: {exc}") from exc
    same = next((found for found in events if found.id == event.id), None)
    if same is None:
        raise LetterError("the edited data name another event: what tells it from others (like order.id) must stay")
    return replace(event, subject=same.subject)


async def retry(
    pool: Pool, ids: Sequence[int], who: str, report: Callable[[int, int], None], *, event: Event | None = None
) -> int:
    """Send these letters again, in this order; *event*: with its data and key, for a single one. Returns how many were
    still open. *report* hears (done, of how many)."""
    new = None if event is None else (event.data.decode(), event.subject)
    count = 0
    for start in range(0, len(ids), PAGE):
        async with pool.acquire() as conn, conn.transaction():
            count += await dead_letters.retry(conn, ids[start : start + PAGE], who, edited=new)
        report(min(start + PAGE, len(ids)), len(ids))
    return count


async def discard(pool: Pool, ids: Sequence[int], who: str) -> int:
    """Settle these letters without another run. Returns how many were still open."""
    async with pool.acquire() as conn, conn.transaction():
        return await dead_letters.discard(conn, ids, who)
