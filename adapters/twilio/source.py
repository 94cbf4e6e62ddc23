"""The webhook of Twilio: messages that come in, and how those stand that we have sent.

The identity of a message is its id; of a status the message's id and the status, as Twilio gives an event neither an id
nor a time. The address that we give to Twilio for statuses carries our own id of the message, and is signed with it.
"""

from __future__ import annotations

import secrets as randomness
from datetime import datetime
from typing import Final
from urllib.parse import parse_qs, urlencode
from uuid import UUID

from multidict import CIMultiDict

from adapters.json_guard import parse_object
from adapters.ports import Answer, NoIdentity, Secrets, Source, Webhook
from adapters.twilio import signature
from schemas.envelope import Event, event_id
from schemas.identity import key
from schemas.told import message_data, odd_data, status_data
from schemas.webhooks.twilio import (
    BEFORE_SENT,
    STATUSES,
    Posted,
    choice_of,
    files_of,
    from_form,
    from_json,
    is_message,
    kind_of,
    media_of,
    message_id_of,
    person_at,
    sender_of,
    status_of,
    text_of,
)
from schemas.webhooks.twilio_codes import in_words

SYSTEM: Final = "twilio"
PATH: Final = "/webhooks/twilio"
OURS: Final = "message"
"""Names our id of a message in the address for its statuses."""


def status_url(public_url: str, message_id: UUID) -> str:
    """Where Twilio is to tell how the message stands. *public_url*: how the outside reaches us."""
    return f"{public_url.rstrip('/')}{PATH}?{OURS}={message_id}"


def decode(body: bytes) -> Posted:
    """A JSON object where the body begins like JSON, else a form. Raises: Malformed."""
    if body.lstrip()[:1] in (b"{", b"["):
        return from_json(parse_object(body), body)
    return from_form(body)


def parse(request: Webhook, posted: Posted, now: datetime) -> list[Event]:
    """One `message.received`, or one `delivery.updated`; none of what tells of neither, and of a status that tells
    nothing. Decides nothing: what has an unexpected shape fails visibly in the worker.

    Raises: NoIdentity when there is no id of a message.
    """
    message_id = message_id_of(posted)
    if message_id is None:
        raise NoIdentity("the body has no MessageSid")
    if is_message(posted):
        return [_message(posted, message_id, now)]
    status = status_of(posted)
    if status is None or status in BEFORE_SENT:
        return []
    return [_status(request, posted, message_id, status, now)]


def _message(posted: Posted, message_id: str, now: datetime) -> Event:
    person = sender_of(posted)
    if person is None or not person.contact_id:
        subject, data = key(message_id=message_id), odd_data(SYSTEM, "From is missing", posted.json)
    else:
        subject = key(phone=person.phone, bsuid=person.bsuid, message_id=message_id)
        data = message_data(
            system=SYSTEM,
            contact_id=person.contact_id,
            phone=person.phone,
            at=None,
            channel=person.channel,
            text=text_of(posted),
            message_id=message_id,
            received=posted.json,
            kind=kind_of(posted),
            media=media_of(posted),
            files=files_of(posted),
            choice=choice_of(posted),
            reply_to=posted.first("originalrepliedmessagesid"),
            name=posted.first("profilename"),
            bsuid=person.bsuid,
        )
    return Event(
        id=event_id(SYSTEM, "message", message_id),
        type="message.received",
        source=SYSTEM,
        subject=subject,
        time=now,
        data=data,
    )


def _status(request: Webhook, posted: Posted, message_id: str, status: str, now: datetime) -> Event:
    person = person_at(posted.first("to") or "")
    if (told := STATUSES.get(status)) is None:
        data = odd_data(SYSTEM, "MessageStatus is none that is known", posted.json)
    else:
        code = posted.first("errorcode")
        data = status_data(
            system=SYSTEM,
            message_id=message_id,
            our_id=_our_id(request.url),
            phone=person.phone,
            at=None,
            status=told,
            received=posted.json,
            error_code=code if told == "failed" else None,
            error=_why(status, code) if told == "failed" else None,
        )
    return Event(
        id=event_id(SYSTEM, "status", message_id, status),
        type="delivery.updated",
        source=SYSTEM,
        subject=key(phone=person.phone, bsuid=person.bsuid, message_id=message_id),
        time=now,
        data=data,
    )


def _why(status: str, code: str | None) -> str:
    return "it was canceled at Twilio" if status == "canceled" else in_words(code)


def _our_id(url: str) -> str | None:
    """Our id of the message that the address names, None where it names none."""
    try:
        return str(UUID(parse_qs(url.partition("?")[2])[OURS][0]))
    except (KeyError, ValueError):
        return None


def sample(secrets: Secrets, now: datetime) -> Webhook:
    """A message of a person who does not exist; `sign` proves it, as our address belongs to the proof."""
    form = {
        "MessageSid": f"SM{randomness.token_hex(16)}",
        "SmsStatus": "received",
        "From": f"whatsapp:{now:%y%m%d}{randomness.randbelow(10**9)}-TEST",
        "To": "whatsapp:+15550001234",
        "Body": "ok",
        "NumMedia": "0",
    }
    headers = CIMultiDict({"Content-Type": "application/x-www-form-urlencoded"})
    return Webhook(headers, urlencode(form).encode(), "")


SOURCE = Source(
    name=SYSTEM,
    path=PATH,
    secrets=signature.SECRETS,
    early=signature.early,
    verify=signature.verify,
    doubt=signature.doubt,
    sign=signature.sign,
    decode=decode,
    parse=parse,
    keeps_body=False,
    answer=lambda ids: Answer(204),
    sample=sample,
    scheme=signature.HEADER,
    advice=signature.ADVICE,
    addressed=("twilio_auth_token",),
    entered="console.twilio.com → Messaging → Senders → WhatsApp senders → the number → Webhook URL for incoming"
    " messages, by POST; a message that is sent names the address for its statuses itself",
)
