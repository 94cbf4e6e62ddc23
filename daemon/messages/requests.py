"""`message.requested`: what brings a message to its worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from adapters.postgres.messages import Request
from daemon.messages.content import from_json
from schemas.envelope import Event, event_id
from schemas.errors import Malformed
from schemas.identity import key
from schemas.messages import Content
from schemas.phone import Phone

OF_CAMPAIGN: Final = "campaign:"
"""How the purpose of a campaign's messages begins; its id follows."""

CAMPAIGNS: Final = "campaigns"
"""The source of the events that bring them: their calls come after all others at a rate limit."""


@dataclass(frozen=True, slots=True, repr=False)
class Requested:
    """A message that is to be sent by an *account* of a *provider*."""

    id: UUID
    provider: str
    account: str
    to: Phone
    content: Content


def event_of(request: Request, now: datetime) -> Event:
    """The event that brings *request* to its worker. Its id is the message's alone, so that it is brought once."""
    data: dict[str, Any] = {
        "message_id": str(request.id),
        "provider": request.provider,
        "account": request.account,
        "phone": request.phone,
        "kind": request.kind,
        "content": request.content,
        "purpose": request.purpose,
    }
    return Event(
        id=request.event_id,
        type="message.requested",
        source=CAMPAIGNS if request.purpose.startswith(OF_CAMPAIGN) else "ferryman",
        subject=key(phone=Phone.parse_e164(request.phone)),
        time=now,
        data=orjson.dumps(data),
    )


def event_id_of(message_id: UUID) -> str:
    """The id of that event."""
    return event_id("ferryman", "message.requested", str(message_id))


def requested(event: Event) -> Requested:
    """The message that *event* brings. Raises: Malformed."""
    told = event.json()
    try:
        return Requested(
            UUID(told["message_id"]),
            told["provider"],
            told["account"],
            Phone.parse_e164(told["phone"]),
            from_json(told["kind"], told["content"]),
        )
    except (TypeError, KeyError, ValueError) as exc:
        raise Malformed("the requested message has not its members") from exc
