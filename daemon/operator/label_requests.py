"""Labels that a program asks for: kept, and handed to the worker crm-labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import orjson

from adapters.postgres import crm
from adapters.postgres.bus import outbox
from daemon.conversations.labels.account import why_off
from daemon.conversations.labels.requests import REQUESTED
from daemon.operator.faults import Conflict, Unusable
from schemas.envelope import Event
from schemas.identity import key as key_of
from schemas.phone import Phone

if TYPE_CHECKING:
    from adapters.postgres.pool import Pool
    from daemon.settings.model import Settings
    from schemas.api.labels import LabelsIn


class KeyTaken(Conflict):
    """The idempotency key was used for other labels."""


@dataclass(frozen=True, slots=True)
class Requested:
    """What was asked for. *events*: are in the outbox under the numbers *seqs*; none where an earlier request with the
    same key has asked for it."""

    event_id: str
    events: Sequence[Event] = ()
    seqs: Sequence[int] = ()


async def request(pool: Pool, settings: Settings, given: LabelsIn, *, key: str | None, now: datetime) -> Requested:
    """Keep what is asked for, in the outbox. *key*: an idempotency key. Raises: Unusable where there is no CRM;
    KeyTaken."""
    if (why := why_off(settings)) is not None:
        raise Unusable(f"Chatwoot is not configured: {why}")
    account_id = settings.chatwoot_account_id
    assert account_id is not None
    digest = sha256(orjson.dumps(given.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)).digest()
    event = await _event(pool, account_id, given, now)
    async with pool.acquire() as conn, conn.transaction():
        kept = None if key is None else await crm.keep_key(conn, key, digest, UUID(event.id))
        if kept is None:
            return Requested(event.id, [event], await outbox.emit(conn, [event]))
    if kept.digest != digest:
        raise KeyTaken("this Idempotency-Key was used for other labels: take a new key for new ones")
    return Requested(str(kept.event_id))


async def _event(pool: Pool, account_id: int, given: LabelsIn, now: datetime) -> Event:
    """Its key is the person's, as far as that is known: then it stands behind what the person has written."""
    phone = given.phone
    if phone is None and given.conversation_id is not None:
        phone = await crm.line_of(pool, account_id, given.conversation_id)
    chat = f"chatwoot:{account_id}:conversation:{given.conversation_id}"
    subject = key_of(chat_id=chat) if phone is None else key_of(phone=Phone(phone))
    return Event(
        id=str(uuid4()),
        type=REQUESTED,
        source="api",
        subject=subject,
        time=now,
        data=orjson.dumps(_data(account_id, given)),
    )


def _data(account_id: int, given: LabelsIn) -> dict[str, Any]:
    place = None if given.conversation_id is None else {"account": account_id, "id": given.conversation_id}
    return {
        "phone": given.phone,
        "conversation": place,
        "labels": given.labels,
        "contact_attributes": given.contact_attributes,
        "conversation_attributes": given.conversation_attributes,
        "name": given.name,
    }
