"""Where the open dialog of a person is, and whether what looks like an agent's word is our own."""

from __future__ import annotations

from typing import Final, NamedTuple

from adapters.postgres.pool import Pool

_DIALOG_OF: Final = """
SELECT chat FROM conversations
WHERE line = $1 AND chatwoot_account_id = $2 AND inbox_id = $3 AND context_json ->> 'dialog' IS NOT NULL
ORDER BY last_message_at DESC NULLS LAST, id DESC LIMIT 1
"""
_WORD: Final = """
SELECT
  EXISTS (SELECT FROM messages WHERE provider = 'chatwoot' AND provider_message_id = $2 AND direction = 'out') AS ours,
  EXISTS (SELECT FROM messages WHERE phone = $1 AND status = 'sending' AND provider = 'chatwoot') AS sending
"""


class Place(NamedTuple):
    """A phone line in an inbox of a CRM."""

    line: str
    account: int
    inbox: int


class Word(NamedTuple):
    """Whose a message in Chatwoot is. *ours*: we have sent it. *sending*: a message of ours to that person is under
    way, so it may be that one."""

    ours: bool
    sending: bool


async def dialog_of(pool: Pool, place: Place) -> str | None:
    """The conversation of a person in an inbox whose dialog is open; None: there is none."""
    chat: str | None = await pool.fetchval(_DIALOG_OF, *place)
    return chat


async def word(pool: Pool, phone: str, message_id: str) -> Word:
    """Whose the message *message_id* of Chatwoot to *phone* is."""
    row = await pool.fetchrow(_WORD, phone, message_id)
    assert row is not None, "it is one row"
    return Word(*row)
