"""A conversation with a person, by one name over all systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from schemas.errors import Malformed
from schemas.phone import Phone

CHATWOOT: Final = "chatwoot"


class Chat(NamedTuple):
    """A conversation. *key*: its name over all systems. *account*, *conversation*, *inbox*: Chatwoot's numbers of it,
    None where it is none of Chatwoot's."""

    system: str
    key: str
    account: int | None = None
    conversation: int | None = None
    inbox: int | None = None


def chat_of(told: Mapping[str, Any]) -> Chat:
    """The conversation that a message belongs to, of the data of its `message.received`. Raises: Malformed."""
    system, contact_id = told.get("system"), told.get("contact_id")
    if not isinstance(system, str) or not isinstance(contact_id, str):
        raise Malformed("the event's system or contact_id is not text")
    found = told.get("conversation")
    if system == CHATWOOT and isinstance(found, Mapping):
        account, conversation, inbox = (_number(found.get(name)) for name in ("account", "id", "inbox"))
        if account is None or conversation is None:
            raise Malformed("the conversation has no numbers")
        return Chat(system, f"{system}:{account}:{conversation}", account, conversation, inbox)
    return Chat(system, f"{system}:{told.get('number') or ''}:{contact_id}")


def conversation_data(
    *,
    system: str,
    contact_id: str,
    phone: Phone | None,
    at: datetime | None,
    conversation: Mapping[str, str | None],
    what: str,
    status: str | None,
    assignee: bool | None,
    labels: Sequence[str] | None,
    received: bytes,
) -> bytes:
    """The data of `conversation.changed`, in the form of schemas/told.py with *conversation* as of `message.received`.

    *what*: `agent_replied` (a human agent has written), `created`, `status` (it has another one), or `updated` (its
    status, its labels or who answers it). *status*: `open`, `resolved`, `pending` or `snoozed`. *assignee*: a human
    agent is to answer. None of these three: not told.
    """
    return orjson.dumps(
        {
            "system": system,
            "contact_id": contact_id,
            "phone": None if phone is None else phone.e164,
            "at": None if at is None else at.isoformat(),
            "conversation": dict(conversation),
            "what": what,
            "status": status,
            "assignee": assignee,
            "labels": None if labels is None else list(labels),
            "received": orjson.Fragment(received),
        }
    )


def message_key(told: Mapping[str, Any]) -> str | None:
    """The name of a message over all systems; None where its system gives it no id."""
    id = told.get("message_id")
    return f"{told.get('system')}:{id}" if isinstance(id, str) and id else None


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18 else None
