"""The one way in which every verb is told an event, a dead letter or an order.

A name is the event's id or its beginning, its order's id, the number of one of its dead letters, or its key (a phone,
an e-mail address). A name that fits several is refused with what it fits, and never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from adapters.postgres.operator import dead_letters, trail
from adapters.postgres.operator.dead_letters import StoredLetter
from adapters.postgres.operator.trail import FoundEvent
from adapters.postgres.pool import Pool
from daemon.operator.keys import keys_meant, masked_key
from schemas.envelope import OF_ONE_THING, event_id
from schemas.errors import FerrymanError, UsageError

LEAST: Final = 6
"""Characters of an id that name an event at least."""

MOST: Final = 200
"""Events that one name is compared with at most."""

SHOWN: Final = 20
"""Candidates that a refusal lists at most."""

NOT_KEPT: Final = "no event that is kept has this id, order or key: see `ferryman events list`"

_TOO_SHORT: Final = re.compile(rf"[0-9a-f]{{1,{LEAST - 1}}}")
_BEGINNING: Final = re.compile(rf"[0-9a-f][0-9a-f-]{{{LEAST - 1},35}}")
_LONGEST_NUMBER: Final = 18
"""Digits of a letter's number at most: more are beyond what the table can hold."""


class NoSuchEvent(FerrymanError):
    """No stored event, or no dead letter, has the name that was given."""


class SeveralFit(UsageError):
    """The name fits several: *candidates*, each in a line."""

    def __init__(self, candidates: Sequence[str]) -> None:
        lines = [f"{len(candidates)} have this name: take what the line of the one that you mean begins with"]
        lines += [f"  {line}" for line in candidates[:SHOWN]]
        super().__init__("\n".join([*lines, "  …"] if len(candidates) > SHOWN else lines))


def number_of(text: str) -> int | None:
    """*text* as the number of a dead letter, None where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER else None


async def find(pool: Pool, text: str) -> list[FoundEvent]:
    """The events that *text* names, at most MOST. A whole id counts before an order's id and a letter's number, these
    before the beginning of an id, and that before a key."""
    wanted = text.strip()
    if exact := await trail.by_ids(pool, [wanted.lower()], MOST):
        return exact
    number = number_of(wanted)
    letters = [] if number is None else await dead_letters.find(pool, number, None)
    exact = await trail.by_ids(pool, [letter.event.id for letter in letters], MOST)
    if exact := [*(await of_order(pool, wanted)), *exact]:
        return exact
    beginning = wanted.lower()
    if _BEGINNING.fullmatch(beginning) and (found := await trail.by_prefix(pool, beginning, MOST)):
        return found
    return await trail.by_keys(pool, keys_meant(wanted), MOST) if wanted else []


async def of_order(pool: Pool, order_id: str) -> list[FoundEvent]:
    """The webhooks of the order *order_id*, one for each of its states, from old to new; at most MOST."""
    return await trail.by_prefix(pool, event_id("orders", order_id)[:OF_ONE_THING], MOST)


async def the_event(pool: Pool, text: str) -> FoundEvent:
    """The one event that *text* names. Raises: NoSuchEvent; SeveralFit."""
    found = await find(pool, text)
    if not found:
        short = _TOO_SHORT.fullmatch(text.strip().lower())
        raise NoSuchEvent(NOT_KEPT + (f"; the beginning of an id has {LEAST} characters or more" if short else ""))
    if len(found) > 1:
        raise SeveralFit([_line(one) for one in found])
    return found[0]


async def the_letter(pool: Pool, text: str) -> StoredLetter:
    """The one dead letter that *text* names: by its number, else by its event. Raises: NoSuchEvent; SeveralFit."""
    number = number_of(text.strip())
    found = [] if number is None else await dead_letters.find(pool, number, None)
    if not found:
        found = await _of_event(pool, text)
    if len(found) > 1:
        raise SeveralFit([_letter_line(letter) for letter in found])
    return found[0]


async def _of_event(pool: Pool, text: str) -> list[StoredLetter]:
    """The letters of the one event that *text* names. Raises: NoSuchEvent, where there is none; SeveralFit."""
    try:
        event = await the_event(pool, text)
    except NoSuchEvent as exc:
        raise NoSuchEvent(f"there is no dead letter {text}: see `ferryman dead-letters list`") from exc
    if found := await dead_letters.find(pool, None, event.id):
        return found
    raise NoSuchEvent(f"the event {event.id} has no dead letter: see `ferryman events show {event.id}`")


def _line(found: FoundEvent) -> str:
    return f"{found.id}  {found.type}  {found.time:%Y-%m-%d %H:%M:%S}  {masked_key(found.key)}"


def _letter_line(letter: StoredLetter) -> str:
    replay = f"  replay {letter.event.replayid}" if letter.event.replayid else ""
    return f"{letter.id}  {letter.worker}  {letter.state}  {letter.error_class}{replay}"
