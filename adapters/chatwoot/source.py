"""Chatwoot's webhook: what people write, and how our own messages fare.

    message_created    incoming ──► message.received; one of ours ──► delivery.updated
    message_updated    one of ours ──► delivery.updated: its channel could not send it, or the person has it

The identity of a message is its id and the event, as Chatwoot tells one event several times under other ids of
delivery. An update is told by the status that it shows. Chatwoot tells each event once at most and never repeats it.

The signature is the HMAC-SHA256 of the time, a dot and the raw body (v4.11.2 and later):
https://github.com/chatwoot/chatwoot, lib/webhooks/trigger.rb.
"""

from __future__ import annotations

import hmac
import secrets as randomness
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson
from multidict import CIMultiDict, MultiMapping, istr

from adapters.body_signature import digest
from adapters.ports import Doubt, NoIdentity, Secrets, Source, Webhook
from schemas.envelope import Event, event_id
from schemas.errors import Malformed
from schemas.identity import key
from schemas.told import message_data, odd_data, status_data
from schemas.webhooks.chatwoot import (
    MESSAGES,
    Person,
    account_of,
    channel_of,
    conversation_of,
    event_of,
    id_of,
    kept,
    marker_of,
    part,
    person_of,
    said_in,
    status_of,
    time_of,
    told_of,
    type_of,
)

SYSTEM: Final = "chatwoot"
SECRET: Final = "chatwoot_webhook_secret"  # noqa: S105 - the name of a setting
SIGNATURE, TIMESTAMP = istr("X-Chatwoot-Signature"), istr("X-Chatwoot-Timestamp")
TOLERANCE_S: Final = 300
"""How far a signature's time may be from our clock."""

_LONGEST_STAMP: Final = 12
_MOST_REPEATS: Final = 3
_MOST: Final = 10**9
"""Tests of one day that have different ids."""


def early(headers: MultiMapping[str], secrets: Secrets) -> bool | None:
    """Without a signature no body is looked at."""
    return None if any(headers.getall(SIGNATURE, ())) else False


def verify(request: Webhook, secrets: Secrets) -> bool:
    """Whether the request is signed with one of the secrets, at about this time."""
    return any(_is_recent(stamp) for stamp in _signed_at(request, secrets.get(SECRET, ())))


def doubt(request: Webhook, secrets: Secrets) -> Doubt:
    """A right signature of another time, a wrong one, or none."""
    if not any(request.headers.getall(SIGNATURE, ())):
        return "missing"
    return "clock" if any(True for _ in _signed_at(request, secrets.get(SECRET, ()))) else "signature"


def _signed_at(request: Webhook, secrets: Sequence[str]) -> Iterator[str]:
    """The times, as text, for which the request has a right signature. Constant-time."""
    headers = request.headers
    given = [text.strip().lower().encode(errors="replace") for text in headers.getall(SIGNATURE, ())[:_MOST_REPEATS]]
    for stamp in headers.getall(TIMESTAMP, ())[:_MOST_REPEATS]:
        body = stamp.encode(errors="replace") + b"." + request.body
        wanted = [b"sha256=" + digest(secret, body).encode() for secret in secrets if secret]
        if any(hmac.compare_digest(one, other) for one in given for other in wanted):
            yield stamp


def _is_recent(stamp: str) -> bool:
    is_number = stamp.isascii() and stamp.isdigit() and len(stamp) <= _LONGEST_STAMP
    return is_number and abs(time.time() - int(stamp)) <= TOLERANCE_S


def parse(request: Webhook, doc: Mapping[str, Any], now: datetime) -> list[Event]:
    """At most one event; none of what tells of nothing that is used. Decides nothing: what has an unexpected shape
    fails visibly in the worker.

    Raises: NoIdentity for a body that names no event, or a message without its id.
    """
    event = event_of(doc)
    if event is None:
        raise NoIdentity("the body has no event: it is none of Chatwoot's webhooks")
    if event not in MESSAGES:
        return []
    message_id = id_of(doc.get("id"))
    if message_id is None:
        raise NoIdentity("the message has no id, a number")
    if (our_id := marker_of(doc)) is not None:
        return _statuses(event, doc, message_id, our_id, now)
    if event != "message_created" or doc.get("private") is True:
        return []
    try:
        incoming = type_of(doc) == "incoming"
    except Malformed as exc:
        return [_received(doc, message_id, person_of(doc), odd_data(SYSTEM, str(exc), _text(doc)), now)]
    return [_message(doc, message_id, now)] if incoming else []


def _message(doc: Mapping[str, Any], message_id: str, now: datetime) -> Event:
    person, account, conversation = person_of(doc), account_of(doc), conversation_of(doc)
    lacks = "account" if account is None else "conversation" if id_of(conversation.get("id")) is None else None
    if lacks is None and person.id is None:
        lacks = "sender"
    if lacks is not None:
        return _received(doc, message_id, person, odd_data(SYSTEM, f"{lacks} has no id", _text(doc)), now)
    data = message_data(
        system=SYSTEM,
        contact_id=f"{account}:{person.id}",
        phone=person.phone,
        at=time_of(doc),
        channel=channel_of(conversation),
        message_id=message_id,
        received=_text(doc),
        name=person.name,
        bsuid=person.bsuid,
        conversation={
            "account": account,
            "id": id_of(conversation.get("id")),
            "inbox": id_of(conversation.get("inbox_id")) or id_of(part(doc, "inbox").get("id")),
        },
        **said_in(doc),
    )
    return _received(doc, message_id, person, data, now)


def _received(doc: Mapping[str, Any], message_id: str, person: Person, data: bytes, now: datetime) -> Event:
    account = account_of(doc)
    chat = f"chatwoot:{account}:{person.id}" if account and person.id else None
    return Event(
        id=event_id(SYSTEM, "message", message_id),
        type="message.received",
        source=SYSTEM,
        subject=key(phone=person.phone, bsuid=person.bsuid, chat_id=chat, message_id=message_id),
        time=now,
        data=data,
    )


def _statuses(event: str, doc: Mapping[str, Any], message_id: str, our_id: str, now: datetime) -> list[Event]:
    """The status that is told: of an update only one that is new."""
    person, (status, code) = person_of(doc), status_of(doc)
    if event == "message_updated" and status == "sent":
        return []
    data = status_data(
        system=SYSTEM,
        message_id=message_id,
        our_id=our_id,
        phone=person.phone,
        at=time_of(doc) if status == "sent" else None,
        status=status,
        received=orjson.dumps(told_of(doc)),
        error_code=code,
        error="Chatwoot's channel could not send it" if status == "failed" else None,
    )
    told = Event(
        id=event_id(SYSTEM, "status", message_id, status),
        type="delivery.updated",
        source=SYSTEM,
        subject=key(phone=person.phone, bsuid=person.bsuid, message_id=message_id),
        time=now,
        data=data,
    )
    return [told]


def _text(doc: Mapping[str, Any]) -> bytes:
    return orjson.dumps(kept(doc))


def sample(secrets: Secrets, now: datetime) -> Webhook:
    """A message of a contact that does not exist, marked as a test."""
    number = f"{now:%y%m%d}{randomness.randbelow(_MOST)}"
    contact = {"id": 1, "identifier": f"{number}-TEST", "name": "Test", "phone_number": None}
    conversation = {"id": 1, "inbox_id": 1, "channel": "Channel::Whatsapp"}
    message = {"id": int(number), "message_type": "incoming", "content": "ok", "created_at": int(now.timestamp())}
    beside = {"account": {"id": 1}, "sender": contact, "conversation": conversation}
    body = {"event": "message_created", **message, **beside}
    return signed(orjson.dumps(body), (secrets.get(SECRET) or ("",))[0], int(now.timestamp()))


def signed(body: bytes, secret: str, at: int) -> Webhook:
    """*body* as Chatwoot sends it at *at*, in unix seconds."""
    stamp = str(at)
    signature = "sha256=" + digest(secret, stamp.encode() + b"." + body)
    headers = {"Content-Type": "application/json", TIMESTAMP: stamp, SIGNATURE: signature}
    return Webhook(CIMultiDict(headers), body, "")


SOURCE = Source(
    name=SYSTEM,
    path="/webhooks/chatwoot",
    secrets=(SECRET,),
    early=early,
    verify=verify,
    doubt=doubt,
    parse=parse,
    keeps_body=False,
    sample=sample,
    scheme="X-Chatwoot-Signature",
    entered="`ferryman chatwoot setup` does it. By hand: Chatwoot → Settings → Integrations → Webhooks, all events of"
    " messages, conversations and contacts; set its secret, as that page shows it, as CHATWOOT_WEBHOOK_SECRET",
    advice="run `ferryman chatwoot setup`, or set the webhook's secret, as Chatwoot's page of it shows it, as"
    " CHATWOOT_WEBHOOK_SECRET",
)
