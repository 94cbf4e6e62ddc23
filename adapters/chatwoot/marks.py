"""A message of ours in a conversation of Chatwoot, by the mark that it carries."""

from __future__ import annotations

from typing import Final

from adapters.chatwoot.answers import messages
from adapters.chatwoot.client import ChatwootCalls
from schemas.errors import Transient

MOST_PAGES: Final = 100
"""Pages of 20 messages that are looked through in one conversation."""


async def marked(
    calls: ChatwootCalls, conversation_id: int, name: str, value: str, earliest: float, *, about: str
) -> int | None:
    """The id of the message whose `content_attributes` have *name* as *value*, from the newest back to *earliest*, in
    unix seconds. Raises: Transient where there are too many messages; what the calls raise."""
    before: int | None = None
    for _ in range(MOST_PAGES):
        page = await calls.ask(
            f"/conversations/{conversation_id}/messages",
            messages,
            about=about,
            params=None if before is None else {"before": str(before)},
            known=True,
        )
        for one in page:
            if one.marks.get(name) == value:
                return one.id
        older = [one.id for one in page if before is None or one.id < before]
        if not older or min(one.at for one in page) < earliest:
            return None
        before = min(older)
    raise Transient("Chatwoot: the conversation has too many messages to look through")
