"""What providers tell of messages that we have sent: `delivery_updates`, and whose message each is.

A status may arrive before we have recorded the id that the provider gave. Whoever writes of a provider's id takes a
lock on it first, so either finds what the other has written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from adapters.postgres.messages import Ended
from adapters.postgres.pool import Connection
from schemas.phone import aliases

CORRELATED_WITHIN: Final = timedelta(minutes=15)
"""So long after a message was sent through CGB, which gives it no id, the first status of its phone counts as its."""

EARLY: Final = timedelta(seconds=30)
"""By so much a provider's clock may be behind ours."""

FAMILIES: Final = {
    "meta": ("meta", "cgb"),
    "360dialog": ("meta", "cgb"),
    "twilio": ("twilio",),
    "whapi": ("whapi",),
    "chatwoot": ("chatwoot",),
}
"""By whose messages a system's statuses may be. CGB sends by a number of Meta."""

_LOCK: Final = """
SELECT pg_advisory_xact_lock(hashtext('ferryman.message'), place)
FROM (SELECT DISTINCT hashtext(id) AS place FROM unnest($1::text[]) AS id ORDER BY 1) wanted
"""
_BY_ID: Final = """
SELECT id FROM messages
WHERE provider_message_id = $1 AND provider = ANY ($2::text[]) AND direction = 'out' LIMIT 1
"""
_BY_OUR_ID: Final = "SELECT id FROM messages WHERE id = $1 AND provider = ANY ($2::text[]) AND direction = 'out'"
_BY_PHONE: Final = """
SELECT id FROM messages
WHERE phone = ANY ($1::text[]) AND provider = 'cgb' AND provider_message_id IS NULL AND direction = 'out'
  AND status IN ('sending', 'uncertain', 'sent') AND claimed_at BETWEEN $2 AND $3
ORDER BY created_at LIMIT 2
"""
_KEEP: Final = """
INSERT INTO delivery_updates (message_id, provider, provider_message_id, status, error_code, error, at, event_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (provider, provider_message_id, status) DO NOTHING
"""
_LINK: Final = """
UPDATE delivery_updates SET message_id = $1
WHERE provider = $2 AND provider_message_id = $3 AND message_id IS NULL
RETURNING status, at, error, error_code
"""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Told:
    """A status that *system* has told, by the event *event_id*. *phone*: of the recipient (E.164), where it says so."""

    system: str
    provider_id: str
    our_id: UUID | None
    phone: str | None
    status: str
    at: datetime
    event_id: str
    error_code: str | None = None
    error: str | None = None


class Sent(NamedTuple):
    """The provider has given its id to one of our messages."""

    id: UUID
    provider: str
    provider_id: str


async def lock(conn: Connection, provider_ids: Sequence[str]) -> None:
    """Take the locks of these ids until the transaction ends. Call it before messages are locked."""
    if provider_ids:
        await conn.execute(_LOCK, provider_ids)


async def keep(conn: Connection, told: Sequence[Told]) -> list[Ended]:
    """Keep statuses; returns what they say of messages that are known. Call `lock` before."""
    ended = []
    for one in told:
        message = await _message_of(conn, one)
        provider = FAMILIES[one.system][0]
        row = (one.provider_id, one.status, one.error_code, one.error, one.at, one.event_id)
        await conn.execute(_KEEP, message, provider, *row)
        if message is not None:
            ended.append(_ended(message, one))
    return ended


async def link(conn: Connection, sent: Sequence[Sent]) -> list[Ended]:
    """What was told already of messages whose ids are known now. Call `lock` before."""
    ended = []
    for one in sent:
        for status, at, error, code in await conn.fetch(_LINK, one.id, _of(one.provider), one.provider_id):
            ended.append(Ended(id=one.id, status=status, at=at, error=error, error_code=code))
    return ended


async def _message_of(conn: Connection, told: Told) -> UUID | None:
    family = FAMILIES[told.system]
    found: UUID | None = await conn.fetchval(_BY_ID, told.provider_id, family)
    if found is None and told.our_id is not None:
        found = await conn.fetchval(_BY_OUR_ID, told.our_id, family)
    if found is None and told.phone is not None and "cgb" in family:
        since = told.at - CORRELATED_WITHIN
        rows = await conn.fetch(_BY_PHONE, aliases(told.phone), since, told.at + EARLY)
        found = rows[0][0] if len(rows) == 1 else None
    return found


def _ended(message: UUID, told: Told) -> Ended:
    return Ended(
        id=message,
        status=told.status,
        at=told.at,
        provider_id=told.provider_id,
        error=told.error,
        error_code=told.error_code,
    )


def _of(provider: str) -> str:
    """Under which name the statuses of *provider*'s messages are kept."""
    return next(family[0] for family in FAMILIES.values() if provider in family)
