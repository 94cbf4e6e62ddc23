"""What a bot flow of CGB posts: version 1 of the body that deploy/SENDING.md documents.

CGB has no webhooks of its own: a flow's author writes the body into an "External Request" block, with placeholders for
what the contact holds. A placeholder that CGB has no value for arrives as "" or as it was written, `{{email}}`. Both
mean that nothing is said, and so does null.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import orjson
from pydantic import BeforeValidator, Field

from schemas.cleaned import cleaned_fields
from schemas.errors import Malformed
from schemas.moments import from_epoch
from schemas.phone import Phone, parse_phone
from schemas.told import WHATSAPP, is_test_contact
from schemas.webhooks.vizi import Part, parts_from

VERSION: Final = 1
MOST_FIELDS: Final = 100
LONGEST_NAME: Final = 100
LONGEST_DELIVERY_ID: Final = 200

CHANNELS: Final[Mapping[str, str]] = {
    "0": "messenger",
    "2": "sms",
    "5": WHATSAPP,
    "7": "google",
    "8": "telegram",
    "9": "webchat",
}
"""CGB's numbers of channels."""

_UNFILLED: Final = re.compile(r"(?:\s*\{\{[^{}]*\}\})+\s*")
_CONTACT_ID: Final = re.compile(r"[1-9][0-9]{0,18}")
_WITH_FRACTION: Final = re.compile(r"[0-9]{9,10}\.[0-9]+")


def said(value: object) -> object:
    """*value*; None where a flow has not filled it in: blank, or nothing but placeholders."""
    if isinstance(value, str) and (not value.strip() or _UNFILLED.fullmatch(value)):
        return None
    return value


def word(value: object) -> str | None:
    """*value* as text: a number as JSON writes it, a boolean as CGB keeps it, 1 or 0; None where nothing is said.

    Raises: ValueError for an object or an array.
    """
    value = said(value)
    if value is None:
        return None
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int | float):
        return orjson.dumps(value).decode()
    raise ValueError("an object or an array")


def _text(value: object) -> str | None:
    """A message is kept as it was written."""
    return value if isinstance(value, str) and said(value) is not None else word(value)


def _contact_id(value: object) -> str:
    found = contact_id_of({"contact_id": value})
    if found is None or not (_CONTACT_ID.fullmatch(found) or is_test_contact(found)):
        raise Malformed("contact_id is not a number of at most 19 digits")
    return found


def _delivery_id(value: object) -> str | None:
    found = said(value)
    if isinstance(found, bool) or not isinstance(found, str | int | None):
        raise ValueError("neither text nor an integer")
    text = None if found is None else str(found).strip()
    if text is not None and len(text) > LONGEST_DELIVERY_ID:
        raise ValueError("too long")
    return text


def _fields(value: object) -> dict[str, str]:
    if said(value) is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed("fields is not an object")
    if len(value) > MOST_FIELDS:
        raise Malformed(f"fields has more than {MOST_FIELDS} members")
    if not all(0 < len(name.strip()) <= LONGEST_NAME for name in value):
        raise Malformed(f"a name in fields is blank, or has more than {LONGEST_NAME} characters")
    try:
        found = {name.strip(): word(held) for name, held in value.items()}
    except ValueError:
        raise Malformed("a member of fields is an object or an array") from None
    return {name: held for name, held in found.items() if held is not None}


Word = Annotated[str | None, BeforeValidator(word)]
DeliveryId = Annotated[str | None, BeforeValidator(_delivery_id)]


class FlowBody(Part):
    """What both events have. *contact_id*: CGB's id. *phone*, *channel*: of the contact. *sent_at*: when the flow came
    to the block; it is read by `sent_at_of`, as one that cannot be read counts as absent."""

    contact_id: Annotated[str, BeforeValidator(_contact_id)]
    phone: Word = None
    channel: Word = None
    sent_at: Any = None
    id: DeliveryId = None


class ContactBody(FlowBody):
    """`"event": "contact"`: what the contact holds now. *fields*: custom fields by their names in the account."""

    name: Word = None
    email: Word = None
    language: Word = None
    fields: Annotated[dict[str, str], BeforeValidator(_fields)] = Field(default_factory=dict)

    def held(self) -> dict[str, str]:
        """All fields in our spelling, cut and cleaned as we would write them ourselves. A name in *fields* wins."""
        own = {"customer_name": self.name, "Email": self.email, "language": self.language}
        told = {name: value for name, value in own.items() if value is not None} | self.fields
        shown = {name: str(value).strip() for name, value in cleaned_fields(told).items()}
        return {name: value for name, value in shown.items() if value}


class ReplyBody(FlowBody):
    """`"event": "reply"`: what the person wrote, or chose. *text*: None for a message without one."""

    text: Annotated[str | None, BeforeValidator(_text)] = None
    message_id: DeliveryId = None


_MODELS: Final[Mapping[str, type[ContactBody | ReplyBody]]] = {"contact": ContactBody, "reply": ReplyBody}
_NAMES: Final = frozenset({*ContactBody.model_fields, *ReplyBody.model_fields})


def flow_from(body: Mapping[str, Any]) -> ContactBody | ReplyBody:
    """The parts of a body. Raises: Malformed, naming the member that is wrong and never its value."""
    version, event = said(body.get("v")), event_of(body)
    if version is None:
        raise Malformed("v is missing")
    if isinstance(version, bool) or version not in (VERSION, str(VERSION)):
        raise Malformed(f"v is not {VERSION}, the only version that is understood here")
    if event is None:
        raise Malformed("event is missing, or is not text")
    if event not in _MODELS:
        raise Malformed("event is neither contact nor reply")
    return parts_from(body, _MODELS[event], _NAMES)


def event_of(body: Mapping[str, Any]) -> str | None:
    """What a body says that it is; None where it does not say it in text."""
    event = said(body.get("event"))
    return event.strip() if isinstance(event, str) else None


def contact_id_of(body: Mapping[str, Any]) -> str | None:
    """The contact of a body, whose other parts may be missing or wrong: a text, or an integer, as text. A plus before
    the digits is none of CGB's and is taken off."""
    value = said(body.get("contact_id"))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return None
    bare = value.strip().removeprefix("+").strip()
    return bare if said(bare) is not None else None


def delivery_id_of(body: Mapping[str, Any]) -> str | None:
    """The id that the flow gives to this delivery: of a reply `message_id`, else `id`; None without a sound one."""
    for name in ("message_id", "id") if event_of(body) == "reply" else ("id",):
        try:
            if (found := _delivery_id(body.get(name))) is not None:
                return found
        except ValueError:
            continue
    return None


def sent_at_of(body: Mapping[str, Any]) -> datetime | None:
    """When the flow says that it came to the block: seconds, also with a fraction, or milliseconds since 1970, or ISO
    8601 with its offset; None for anything else."""
    value = said(body.get("sent_at"))
    if isinstance(value, str) and _WITH_FRACTION.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, float) and not (10**8 <= value < 10**13):
        return None
    if isinstance(value, float):  # a second may hold both an order's word and the directory's
        value = round(value if value >= 10**11 else value * 1000)
    if (at := from_epoch(value)) is not None or not isinstance(value, str):
        return at
    try:
        at = datetime.fromisoformat(value.strip())
        return at.astimezone(UTC) if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def channel_of(body: Mapping[str, Any]) -> str | None:
    """The name of the contact's channel in lower case; None where the body does not say it.

    Raises: ValueError for an object or an array.
    """
    channel = word(body.get("channel"))
    return None if channel is None else CHANNELS.get(channel, channel.lower())


def phone_of(body: Mapping[str, Any], contact_id: str) -> Phone | None:
    """The phone of a contact on WhatsApp, or of one whose channel is not named: the digits of its id, where they are a
    number; else what `phone` says, with its plus or with 00.

    The id is CGB's own word, while `phone` may be a field that the person has filled in: it must not make them somebody
    else. So the phone that a contact of another channel names is not known to be theirs.
    """
    try:
        phone, channel = word(body.get("phone")), channel_of(body)
    except ValueError:
        return None
    if channel not in (None, WHATSAPP):
        return None
    by_id = parse_phone(f"+{contact_id}")
    if by_id is not None or phone is None:
        return by_id
    bare = said(phone.lstrip("+").strip())
    return None if bare is None else parse_phone(f"+{bare}" if phone.startswith("+") else bare)


def message_channel_of(body: Mapping[str, Any], contact_id: str, phone: Phone | None) -> str | None:
    """The channel by which a reply came, None where that is not known: of a body that names none it is WhatsApp where
    the contact's id is the digits of its *phone*."""
    named = channel_of(body)
    by_id = named is None and phone is not None and phone == parse_phone(f"+{contact_id}")
    return WHATSAPP if by_id else named
