"""The webhook of a Whapi channel: messages and statuses, several in one body, and our own sends among them.

Whapi signs nothing. The proof is a secret in a header that the channel is told to send. The identity of a message is
its id, of a status the message and the word, as the same one may come again in another body.

What we send comes back as a message of ours. It tells that the message is on its way, and so it counts as a status; it
has no word from anybody. What somebody types on the linked phone is none of our messages and tells nothing.
"""

from __future__ import annotations

import secrets as randomness
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import orjson
from multidict import CIMultiDict, MultiMapping

from adapters import secret_header
from adapters.ports import Doubt, NoIdentity, Secrets, Source, Webhook
from schemas.envelope import Event, content_digest, event_id
from schemas.errors import Malformed
from schemas.identity import key
from schemas.told import WHATSAPP, message_data, odd_data, status_data
from schemas.webhooks.whapi import (
    NO_STATUS,
    PERSON,
    STATUSES,
    chat_of,
    contact_of,
    listed,
    phone_of,
    said_in,
    time_of,
    word,
)

SYSTEM: Final = "whapi"
SECRET: Final = "whapi_webhook_secret"  # noqa: S105 - the name of a setting
MOST: Final = 10**9
"""Tests of one day that have different ids."""

_BY_US: Final = "api"
"""The `source` of a message that was sent by a call."""

_FAILED: Final = "Whapi could not send it"


def early(headers: MultiMapping[str], secrets: Secrets) -> bool:
    """The header decides: no body is read of a sender without the secret."""
    return secret_header.has_secret(headers, secrets.get(SECRET, ()))


def verify(request: Webhook, secrets: Secrets) -> bool:
    """Whether the request has one of the secrets."""
    return early(request.headers, secrets)


def doubt(request: Webhook, secrets: Secrets) -> Doubt:
    """A wrong secret, or none."""
    return secret_header.doubt(request.headers)


def parse(request: Webhook, doc: Mapping[str, Any], now: datetime) -> list[Event]:
    """A `message.received` of each message from others, a `delivery.updated` of each status and of each of our own
    sends that comes back. A part of an unexpected shape fails visibly in the worker, the others beside it do not. Of
    anything else that Whapi tells (chats, calls, its own state) there is no event.

    Raises: NoIdentity for a body that is not one of Whapi's.
    """
    messages, statuses = listed(doc, "messages"), listed(doc, "statuses")
    if not (messages or statuses or isinstance(doc.get("event"), dict) or word(doc, "channel_id")):
        raise NoIdentity("the body has neither messages nor statuses, nor does it name its event or its channel")
    events = [_of_message(part, now) for part in messages]
    events += [_of_status(part, now) for part in statuses]
    return [event for event in events if event is not None]


def _of_message(part: Any, now: datetime) -> Event | None:
    ours = isinstance(part, dict) and part.get("from_me") is True
    if not ours:
        return _event("message.received", part, "message", _message_data(part), now)
    return _event("delivery.updated", part, "echo", _echo_data(part), now) if word(part, "source") == _BY_US else None


def _of_status(part: Any, now: datetime) -> Event | None:
    status = word(part, "status")
    if status in NO_STATUS:
        return None
    chat = chat_of(part)
    # In a group each of many reads the message; of a person's chat the other devices tell nothing new.
    viewer = (word(part, "viewer_id") or "") if phone_of(chat) is None else ""
    return _event("delivery.updated", part, "status", _status_data(part), now, status or "", viewer)


def _event(type: str, part: Any, of: str, data: bytes, now: datetime, *further: str) -> Event:
    """*further*: what tells the event from others that are *of* the same message."""
    chat, message_id = chat_of(part), word(part, "id")
    content = content_digest({"part": part}).hex() if message_id is None else ""
    identity = (of, message_id, *further) if message_id is not None else (of, "content", content)
    return Event(
        id=event_id(SYSTEM, *identity),
        type=type,
        source=SYSTEM,
        subject=key(phone=phone_of(chat), chat_id=chat, message_id=message_id or content),
        time=now,
        data=data,
    )


def _message_data(part: Any) -> bytes:
    received = orjson.dumps(part)
    try:
        message_id, chat = _sound(part)
        said = said_in(part)
    except Malformed as exc:
        return odd_data(SYSTEM, str(exc), received)
    return message_data(
        system=SYSTEM,
        contact_id=contact_of(chat),
        phone=phone_of(chat),
        at=time_of(part),
        channel=WHATSAPP,
        message_id=message_id,
        received=received,
        name=word(part, "from_name"),
        **said._asdict(),
    )


def _echo_data(part: Any) -> bytes:
    try:
        message_id, chat = _sound(part)
    except Malformed as exc:
        return odd_data(SYSTEM, str(exc), orjson.dumps(part))
    return _told(part, message_id, chat, STATUSES.get(word(part, "status") or "", "sent"))


def _status_data(part: Any) -> bytes:
    try:
        message_id, chat = _sound(part)
        if (status := STATUSES.get(word(part, "status") or "")) is None:
            raise Malformed("status is none that is known here")
    except Malformed as exc:
        return odd_data(SYSTEM, str(exc), orjson.dumps(part))
    return _told(part, message_id, chat, status)


def _told(part: Mapping[str, Any], message_id: str, chat: str, status: str) -> bytes:
    return status_data(
        system=SYSTEM,
        message_id=message_id,
        our_id=None,  # Whapi takes no id of ours
        phone=phone_of(chat),
        at=time_of(part),
        status=status,
        received=orjson.dumps(part),
        error=_FAILED if status == "failed" else None,
    )


def _sound(part: Any) -> tuple[str, str]:
    """The id and the chat of a message or a status. Raises: Malformed."""
    if not isinstance(part, dict):
        raise Malformed("it is not an object")
    message_id, chat = word(part, "id"), chat_of(part)
    if message_id is None:
        raise Malformed("id is missing, or is not text")
    if chat is None:
        raise Malformed("chat_id is missing, or is not text")
    return message_id, chat


def sample(secrets: Secrets, now: datetime) -> Webhook:
    """A message of a contact that does not exist, marked as a test."""
    day = f"{now:%y%m%d}"
    number = randomness.randbelow(MOST)
    message = {
        "id": f"{day}.{number}-TEST",
        "from_me": False,
        "type": "text",
        "chat_id": f"{day}{number}-TEST{PERSON}",
        "timestamp": int(now.timestamp()),
        "text": {"body": "ok"},
    }
    body = {"messages": [message], "event": {"type": "messages", "event": "post"}, "channel_id": "TEST"}
    headers = CIMultiDict({"Content-Type": "application/json"})
    if given := secrets.get(SECRET):
        headers[secret_header.HEADER] = given[0]
    return Webhook(headers, orjson.dumps(body), "")


SOURCE = Source(
    name=SYSTEM,
    path="/webhooks/whapi",
    secrets=(SECRET,),
    early=early,
    verify=verify,
    doubt=doubt,
    parse=parse,
    keeps_body=False,
    sample=sample,
    scheme=secret_header.HEADER,
    advice="let the channel send the header X-Webhook-Secret with the secret that is set as WHAPI_WEBHOOK_SECRET",
    entered="panel.whapi.cloud → the channel → Settings → Webhooks: mode body, the events messages and statuses, the"
    " header X-Webhook-Secret",
)
