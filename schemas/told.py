"""What an outside system tells of a person, in one form for every system: the data of events that are not ours.

    {"system": "cgb", "contact_id": "972505550142", "phone": "+972505550142", "at": "2031-02-14T09:15:00+00:00", …}
    {"system": "cgb", "odd": "fields is not an object", "received": …}

`contact_id`: the system's own id of the person, as text. `phone`: E.164, or null. `at`: when it happened, as the sender
tells it, or null where it does not; the data of one delivery are the same whenever it arrives. `received`: the body as
it came. With `odd`, the body was not understood, and every reader fails on it with that text.

`contact.changed` has `fields` besides (schemas/contact_changes.py), `conversation.changed` what
schemas/conversations.py has. `message.received` has `text`, `message_id`, and
`channel`: `whatsapp` or another name; null where it is not known; without this member it is WhatsApp. What a system
tells more of a message is in `kind`, `media`, `choice`, `reply_to`, `name`, `bsuid`, `number`, `conversation`, `files`.

`delivery.updated` has `message_id` (the system's own), `our_id` (ours, where the system gives it back), `status` (one
of STATUSES), and of a failure `error_code`, the system's own as text, and `error`, words of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.phone import Phone

STATUSES: Final = ("sent", "delivered", "read", "played", "failed")

WHATSAPP: Final = "whatsapp"
"""The name of WhatsApp as a channel."""

SPOKEN: Final = frozenset({"voice", "audio"})
"""Kinds of messages, and of files, whose words are spoken: their text comes later."""

SILENT: Final = frozenset({"system", "reaction", "user_preferences"})
"""Kinds of messages that tell something of a person who says nothing by them."""


def is_test_contact(contact_id: object) -> bool:
    """Whether the contact is a test, marked as Vizi marks its test orders."""
    return isinstance(contact_id, str) and contact_id.endswith("-TEST")


def odd_data(system: str, odd: str, received: bytes) -> bytes:
    """The data of an event whose body, the JSON text *received*, was not understood. *odd*: what is wrong, naming the
    member and never its value."""
    return orjson.dumps({"system": system, "odd": odd, "received": orjson.Fragment(received)})


def message_data(
    *,
    system: str,
    contact_id: str,
    phone: Phone | None,
    at: datetime | None,
    channel: str | None,
    text: str | None,
    message_id: str | None,
    received: bytes,
    kind: str = "text",
    media: Mapping[str, str] | None = None,
    choice: str | None = None,
    reply_to: str | None = None,
    name: str | None = None,
    bsuid: str | None = None,
    number: str | None = None,
    conversation: Mapping[str, str | None] | None = None,
    files: Sequence[Mapping[str, str]] = (),
) -> bytes:
    """The data of `message.received`. *text*: of the message, None where it has none. *message_id*: the system's own
    id of it. *received*: the JSON text of the part of the body that tells of it.

    *kind*: `text`, `image`, `video`, `audio`, `voice`, `document`, `sticker`, `location`, `contacts`, `choice`,
    `reaction`, `system`, or the system's own name of another kind. *media*: `id` or `url`, `mime_type`, `sha256`,
    `filename`. *choice*: the value of what was tapped. *reply_to*: the system's id of the message that is answered.
    *name*: what the person calls themselves there. *bsuid*: WhatsApp's business-scoped user id of them. *number*: the
    system's own id of our number that it came to, where it tells one. *conversation*: of a CRM: `account`, `id`,
    `inbox`, as text. *files*: all of a message that may have several, each as *media*, with `kind` and `id`; where none
    are given, the *media* is the only one.
    """
    listed = [dict(one) for one in files] or ([{"kind": kind, **media}] if media else [])
    told = {"kind": kind, "media": None if media is None else dict(media), "choice": choice}
    return orjson.dumps(
        {
            "system": system,
            "contact_id": contact_id,
            "phone": None if phone is None else phone.e164,
            "at": None if at is None else at.isoformat(),
            "channel": channel,
            "text": text,
            "message_id": message_id,
            **told,
            "reply_to": reply_to,
            "name": name,
            "bsuid": bsuid,
            **({} if number is None else {"number": number}),
            **({} if conversation is None else {"conversation": dict(conversation)}),
            **({"files": listed} if listed else {}),
            "received": orjson.Fragment(received),
        }
    )


def status_data(
    *,
    system: str,
    message_id: str | None,
    our_id: str | None,
    phone: Phone | None,
    at: datetime | None,
    status: str,
    received: bytes,
    error_code: str | None = None,
    error: str | None = None,
) -> bytes:
    """The data of `delivery.updated`. *status*: one of STATUSES. *our_id*: the id under which we have sent the message,
    where the system gives it back. *error_code*: the system's own; *error*: what it means, in words of ours that name
    no person."""
    return orjson.dumps(
        {
            "system": system,
            "message_id": message_id,
            "our_id": our_id,
            "phone": None if phone is None else phone.e164,
            "at": None if at is None else at.isoformat(),
            "status": status,
            "error_code": error_code,
            "error": error,
            "received": orjson.Fragment(received),
        }
    )


def came_by_whatsapp(told: dict[str, Any]) -> bool:
    """Whether the message of a `message.received` is known to have come by WhatsApp."""
    return bool(told.get("channel", WHATSAPP) == WHATSAPP)


def told_in(event: Event) -> dict[str, Any]:
    """The data of *event*. Raises: Malformed where they are no object, or their body was not understood."""
    told = event.json()
    if not isinstance(told, dict):
        raise Malformed("the event's data is not an object")
    if "odd" in told:
        odd = told["odd"]
        raise Malformed(odd if isinstance(odd, str) and odd else "the body was not understood")
    return told


def phone_told(told: dict[str, Any]) -> Phone | None:
    """The phone of what an event tells. Raises: Malformed."""
    phone = told.get("phone")
    if phone is None:
        return None
    if not isinstance(phone, str):
        raise Malformed("the event's phone is not text")
    return Phone.parse_e164(phone)


def time_told(told: dict[str, Any], arrival: datetime) -> datetime:
    """When it happened: at *arrival* where that is not told, and where it is told to be later, as another clock runs
    ahead. Raises: Malformed."""
    text = told.get("at")
    if text is None:
        return arrival
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return min(at.astimezone(UTC), arrival)
    except (TypeError, ValueError, OverflowError) as exc:
        raise Malformed("the event's time is not ISO 8601") from exc
    raise Malformed("the event's time has no offset")
