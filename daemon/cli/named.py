"""What an operator names an event or a dead letter by."""

from __future__ import annotations

from typing import Final

from adapters.postgres.operator.dead_letters import StoredLetter
from adapters.postgres.operator.trail import FoundEvent
from adapters.postgres.pool import Pool
from daemon.cli.exits import UsageError
from daemon.operator import naming
from daemon.operator.naming import LEAST, SeveralFit

HELP: Final = (
    f"An event's id or its beginning ({LEAST} characters or more), its order's id, the number of its dead letter,"
    " or its phone or e-mail address."
)

LETTER_HELP: Final = f"The number of a dead letter, as `list` names it, or its event. {HELP}"


async def the_event(pool: Pool, text: str) -> FoundEvent:
    """The one event that *text* names. Raises: NoSuchEvent; UsageError, which lists what it fits, where it fits
    several."""
    try:
        return await naming.the_event(pool, text)
    except SeveralFit as exc:
        raise UsageError(str(exc)) from exc


async def the_letter(pool: Pool, text: str) -> StoredLetter:
    """The one dead letter that *text* names. Raises: as `the_event`."""
    try:
        return await naming.the_letter(pool, text)
    except SeveralFit as exc:
        raise UsageError(str(exc)) from exc
