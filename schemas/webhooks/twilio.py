"""What Twilio posts: a message that has come in, or how one stands that we have sent. One of them in a request.

It is a form (`MessageSid`), or a JSON object (`sid`, `message_sid`, `messageSid`). So a name counts without its case
and its underscores. New members come without notice, and a value may be missing: nothing here is refused for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

import orjson

from schemas.errors import Malformed
from schemas.phone import Phone, parse_phone
from schemas.told import WHATSAPP

LONGEST_FORM: Final = 262_144
"""Bytes of a form. Twilio's have some thousand; a longer one is not worth the time that its percent signs take."""

MOST_MEMBERS: Final = 1000
LONGEST_ID: Final = 128
LONGEST_KIND: Final = 40
MOST_FILES: Final = 10
"""Files of one message."""

_VOICE: Final = "audio/ogg"
"""WhatsApp records voice notes so."""

RECEIVED: Final = "received"
"""The status of a message that has come in."""

STATUSES: Final[Mapping[str, str]] = {
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "failed": "failed",
    "undelivered": "failed",
    "canceled": "failed",
}
"""What Twilio's statuses tell."""

BEFORE_SENT: Final = frozenset({"queued", "accepted", "scheduled", "sending", "receiving", "partially_delivered"})
"""Statuses that tell nothing: the message is on its way, and another status follows."""

_KINDS: Final[Mapping[str, str]] = {"button": "choice", "contact": "contacts"}
"""Twilio's names of kinds that have another name here."""

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_DIGITS: Final = re.compile(r"[1-9][0-9]{6,14}")
_BSUID: Final = re.compile(r"[A-Z]{2}\.[A-Za-z0-9.]{1,200}")


class Posted(NamedTuple):
    """A body. *said*: its members that are texts or numbers, as texts, by their names in lower case without
    underscores. *json*: all of it as JSON."""

    said: Mapping[str, str]
    json: bytes

    def first(self, *names: str) -> str | None:
        """The first of these members that is not blank, stripped."""
        return next((text for name in names if (text := self.said.get(name, "").strip())), None)


class Person(NamedTuple):
    """Who a message is from or to. *contact_id*: the WhatsApp id, else what stands in the address. *bsuid*: WhatsApp's
    business-scoped user id. *channel*: of WhatsApp or another one, by its prefix; `sms` for none."""

    contact_id: str
    phone: Phone | None
    bsuid: str | None
    channel: str


def pairs_of(body: bytes) -> list[tuple[str, str]]:
    """The names and values of a form, blank values too. Raises: Malformed."""
    if len(body) > LONGEST_FORM:
        raise Malformed(f"the form has more than {LONGEST_FORM} bytes")
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=MOST_MEMBERS)
    except ValueError:  # also of bytes that are not UTF-8
        raise Malformed("the body is neither a form nor a JSON object") from None


def from_form(body: bytes) -> Posted:
    """A form. A name that comes twice has the list of its values in JSON, and its first value in *said*.

    Raises: Malformed.
    """
    held: dict[str, list[str]] = {}
    for name, value in pairs_of(body):
        held.setdefault(name, []).append(value)
    if any("\x00" in text for name, values in held.items() for text in (name, *values)):
        raise Malformed("a text holds U+0000")
    document = {name: values[0] if len(values) == 1 else values for name, values in held.items()}
    return Posted(_said((name, values[0]) for name, values in held.items()), orjson.dumps(document))


def from_json(document: Mapping[str, object], body: bytes) -> Posted:
    """A JSON object, and the *body* that it was read from."""
    return Posted(_said(document.items()), body)


def _said(members: Iterable[tuple[str, object]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in members:
        if isinstance(value, str | int) and not isinstance(value, bool):
            found.setdefault(name.lower().replace("_", ""), str(value))
    return found


def message_id_of(posted: Posted) -> str | None:
    """Twilio's id of the message; None without a sound one."""
    found = posted.first("messagesid", "smsmessagesid", "smssid", "sid")
    return None if found is None or len(found) > LONGEST_ID else found


def status_of(posted: Posted) -> str | None:
    """The status that is told, in lower case."""
    found = posted.first("messagestatus", "smsstatus", "status")
    return None if found is None else found.lower()


def is_message(posted: Posted) -> bool:
    """Whether a message has come in."""
    status = status_of(posted)
    if status is not None:
        return status == RECEIVED
    return posted.first("from") is not None and any(name in posted.said for name in ("body", "nummedia", "messagetype"))


def sender_of(posted: Posted) -> Person | None:
    """Who has written a message; None where nothing tells."""
    address = posted.first("from")
    wa_id, user_id = posted.first("waid"), posted.first("externaluserid")
    if address is None:
        address = user_id if wa_id is None else f"{WHATSAPP}:+{wa_id}"
    if address is None:
        return None
    person = person_at(address)
    if person.channel != WHATSAPP:
        return person
    digits = wa_id if wa_id is not None and _DIGITS.fullmatch(wa_id) else None
    phone = person.phone or (parse_phone(f"+{digits}") if digits else None)
    bsuid = person.bsuid or (person_at(user_id).bsuid if user_id else None)
    return Person(digits or person.contact_id, phone, bsuid, WHATSAPP)


def person_at(address: str) -> Person:
    """Whom an address means: `whatsapp:+972505550142`, `whatsapp:IL.77120`, `+972505550142` for a text message. Only
    what is written as an E.164 number is one."""
    prefix, colon, _ = address.partition(":")
    channel = prefix.strip().lower() if colon else "sms"
    bare = _after_prefix(address)
    if _E164.fullmatch(bare):
        return Person(bare[1:], parse_phone(bare), None, channel)
    return Person(bare, None, bare if channel == WHATSAPP and _BSUID.fullmatch(bare) else None, channel)


def _after_prefix(address: str) -> str:
    return address.rpartition(":")[2].strip()


def media_of(posted: Posted, place: int = 0) -> dict[str, str] | None:
    """The file of a message at *place*; None where it has none there. On WhatsApp there is mostly one."""
    url = posted.first(f"mediaurl{place}")
    if url is None:
        return None
    mime_type = posted.first(f"mediacontenttype{place}")
    return {"url": url} if mime_type is None else {"url": url, "mime_type": mime_type}


def files_of(posted: Posted) -> list[dict[str, str]]:
    """All files of a message, each with its kind."""
    found = [one for place in range(MOST_FILES) if (one := media_of(posted, place)) is not None]
    return [{"kind": _kind_of_file(one.get("mime_type", "").lower()), **one} for one in found]


def choice_of(posted: Posted) -> str | None:
    """The value of the button or the row that was tapped."""
    return posted.first("buttonpayload", "listid")


def text_of(posted: Posted) -> str | None:
    """The text of a message, as it was written; of a choice its title. None where it has none."""
    return next((text for name in ("body", "buttontext", "listtitle") if (text := posted.said.get(name))), None)


def kind_of(posted: Posted) -> str:
    """What kind of a message it is, by the names of schemas/told.py; else Twilio's own name of it."""
    if choice_of(posted) is not None:
        return "choice"
    named = (posted.first("messagetype") or "").lower()[:LONGEST_KIND]
    mime_type = (media_of(posted) or {}).get("mime_type", "").lower()
    if named in ("", "audio") and mime_type.startswith(_VOICE):
        return "voice"
    if named:
        return _KINDS.get(named, named)
    if posted.first("latitude") and posted.first("longitude"):
        return "location"
    if media_of(posted) is None:
        return "text"
    return _kind_of_file(mime_type)


def _kind_of_file(mime_type: str) -> str:
    if mime_type.startswith(_VOICE):
        return "voice"
    if mime_type == "image/webp":
        return "sticker"
    family = mime_type.partition("/")[0]
    return family if family in ("image", "video", "audio") else "document"
