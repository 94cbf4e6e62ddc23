"""What Chatwoot posts to its webhooks, by version 4.16 and the versions before it.

Ids come as numbers or as text, times as ISO 8601, as `… UTC`, or as seconds, kinds of messages as words or as numbers.
A conversation's `id` counts within its account; the id of a message is one of the whole installation. What the API
shows of a message is brought into the same form by adapters/chatwoot/history.py, so all of this reads both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from schemas.errors import Malformed
from schemas.moments import from_epoch, moment
from schemas.phone import Phone, parse_phone
from schemas.told import WHATSAPP, is_test_contact

MARKER: Final = "ferryman_message_id"
"""The member of `content_attributes` in which a message that we send has our own id. Chatwoot keeps names that it does
not know, and gives them back; the person gets nothing of it."""

MESSAGES: Final = frozenset({"message_created", "message_updated"})

STATUSES: Final = frozenset({"sent", "delivered", "read", "failed"})
"""Chatwoot's words for how a message stands: they are ours, too."""

_TYPES: Final = ("incoming", "outgoing", "activity", "template")
"""Chatwoot's kinds of messages by their numbers."""

_KINDS: Final[Mapping[str, str]] = {
    "audio": "audio",
    "image": "image",
    "video": "video",
    "file": "document",
    "location": "location",
    "contact": "contacts",
}
"""Chatwoot's kinds of attachments -> our kinds of messages."""

_WITHOUT_WORDS: Final[Mapping[str, str]] = {"is_unsupported": "unsupported", "deleted": "deleted"}
"""Marks of messages whose text is not the person's -> their kinds."""

_CODE: Final = re.compile(r"\(?#?([0-9]{1,9})\)?(?=[:\s]|$)")
"""How a channel's code of a failure begins `external_error`: `131026: Message undeliverable`."""

_BSUID: Final = re.compile(r"[A-Z]{2}(?:\.ENT)?\.[A-Za-z0-9]{1,128}")
_DIGITS: Final = re.compile(r"[0-9]{6,20}")
_ID: Final = re.compile(r"[0-9]{1,18}")
_MESSAGE_ID: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,98}[\x21-\x7e])?")
"""Printable ASCII. Chatwoot's own ids are numbers; a program that posts in its name may have others."""

_TWILIO: Final = f"{WHATSAPP}:"
"""What stands before a number in an inbox of Twilio that carries WhatsApp."""

_OF_A_PERSON: Final = ("id", "name", "phone_number", "email", "identifier")
_OF_A_FILE: Final = (
    "id", "file_type", "content_type", "extension", "data_url", "file_size", "fallback_title", "coordinates_lat",
    "coordinates_long", "meta",
)  # fmt: skip
"""What stays as it is. Sizes of pictures, a transcription and the like come later, to the same message."""


class Person(NamedTuple):
    """Who a conversation is with. *id*: of the contact; *bsuid*: WhatsApp's business-scoped user id."""

    id: str | None
    phone: Phone | None
    bsuid: str | None
    name: str | None


def id_of(value: object) -> str | None:
    """An id as text; it may come as a number or as text. None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).strip()
    return text if text.isascii() and _ID.fullmatch(text) else None


def message_id_of(doc: Mapping[str, Any]) -> str | None:
    """The id of the message *doc*: a number, or other short text; None where it has none."""
    value = doc.get("id")
    if (number := id_of(value)) is not None or not isinstance(value, str):
        return number
    text = value.strip()
    return text if _MESSAGE_ID.fullmatch(text) else None


def event_of(doc: Mapping[str, Any]) -> str | None:
    """The name of what has happened."""
    return word(doc, "event")


def conversation_of(doc: Mapping[str, Any]) -> Mapping[str, Any]:
    """The conversation of the message *doc*."""
    return part(doc, "conversation")


def conversation_id_of(conversation: Mapping[str, Any]) -> str | None:
    """Its number within the account. Versions of 2020 call it by its own name."""
    return id_of(conversation.get("id")) or id_of(conversation.get("display_id"))


def account_of(doc: Mapping[str, Any]) -> str | None:
    """The id of the account. Before version 4.14.2 only the last message of a conversation names it."""
    conversation = conversation_of(doc)
    found = id_of(part(doc, "account").get("id")) or id_of(part(conversation, "account").get("id"))
    return found or id_of(_last_message(conversation).get("account_id"))


def type_of(doc: Mapping[str, Any]) -> str:
    """What sort of message it is: `incoming`, `outgoing`, `activity` or `template`. Raises: Malformed."""
    value = doc.get("message_type")
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(_TYPES):
        return _TYPES[value]
    if isinstance(value, str):
        text = value.strip()
        if text in _TYPES:
            return text
        if text in ("0", "1", "2", "3"):
            return _TYPES[int(text)]
    raise Malformed("message_type is none that is known")


def person_of(doc: Mapping[str, Any]) -> Person:
    """Whom the conversation of *doc* is with. The sender of an incoming message is the same person."""
    conversation = conversation_of(doc)
    sender, contact = _sender(doc), part(part(conversation, "meta"), "sender")
    inbox = part(conversation, "contact_inbox")
    place = (word(inbox, "source_id") or "").removeprefix(_TWILIO).removeprefix("+")
    number = word(sender, "phone_number") or word(contact, "phone_number")
    if number is None and _DIGITS.fullmatch(place) and channel_of(conversation) == WHATSAPP:
        number = f"+{place}"
    tested = word(sender, "identifier") or ""
    id = id_of(sender.get("id")) or id_of(contact.get("id")) or id_of(inbox.get("contact_id"))
    return Person(
        tested if is_test_contact(tested) else id,
        parse_phone(number) if number and number.startswith("+") else None,
        place if _BSUID.fullmatch(place) else None,
        word(sender, "name") or word(contact, "name"),
    )


def _sender(doc: Mapping[str, Any]) -> Mapping[str, Any]:
    """Who has written an incoming message."""
    return part(doc, "sender") if doc.get("message_type") in ("incoming", 0, "0") else {}


def channel_of(conversation: Mapping[str, Any]) -> str | None:
    """The channel by which a conversation goes: `whatsapp`, or the last part of Chatwoot's own name of another one;
    None where it is not told. Twilio's channel carries both text messages and WhatsApp, so the address tells."""
    if (word(part(conversation, "contact_inbox"), "source_id") or "").startswith(_TWILIO):
        return WHATSAPP
    name = (word(conversation, "channel") or "").rpartition("::")[2].lower()
    return None if name in ("", "twiliosms", "api") else name


def time_of(doc: Mapping[str, Any]) -> datetime | None:
    """When the message was made, in whole seconds: the API tells no parts of them."""
    value = doc.get("created_at")
    if isinstance(value, float):
        value = int(value) if 0 < value < 10**13 else None
    at = moment(value.strip().removesuffix(" UTC")) if isinstance(value, str) else from_epoch(value)
    return None if at is None else at.replace(microsecond=0)


def said_in(doc: Mapping[str, Any]) -> dict[str, Any]:
    """What a message says: members of `schemas.told.message_data`. Of one that was deleted, or that Chatwoot cannot
    show, the text is Chatwoot's own and nobody's word. `files`: those that can be fetched."""
    marks, content = part(doc, "content_attributes"), doc.get("content")
    attached = _attached(doc)
    kind = _kind(attached[0]) if attached else "text"
    for name in _WITHOUT_WORDS:
        if marks.get(name) is True:
            kind, content = _WITHOUT_WORDS[name], None
    return {
        "kind": kind,
        "text": content if isinstance(content, str) and content else None,
        "media": (_place_of(attached[0]) or None) if attached else None,
        "reply_to": id_of(marks.get("in_reply_to")),
        "files": [_file(one) for one in attached if word(one, "data_url")],
    }


def _attached(doc: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [one for one in _list(doc.get("attachments")) if isinstance(one, dict)]


def _kind(attachment: Mapping[str, Any]) -> str:
    return _KINDS.get(word(attachment, "file_type") or "", "document")


def _file(attachment: Mapping[str, Any]) -> dict[str, str]:
    id = id_of(attachment.get("id"))
    return {"kind": _kind(attachment), **({} if id is None else {"id": id}), **_place_of(attachment)}


def _place_of(attachment: Mapping[str, Any]) -> dict[str, str]:
    media = {"url": attachment.get("data_url"), "mime_type": attachment.get("content_type")}
    return {name: text for name, text in media.items() if isinstance(text, str) and text}


def marker_of(doc: Mapping[str, Any]) -> str | None:
    """Our own id of a message that we have sent; None of a message of somebody else."""
    return word(part(doc, "content_attributes"), MARKER)


def submitted_in(doc: Mapping[str, Any]) -> tuple[str, str] | None:
    """What a visitor of a website has chosen of the `input_select` *doc*: its title and its value; None: nothing."""
    if word(doc, "content_type") != "input_select":
        return None
    for one in _list(part(doc, "content_attributes").get("submitted_values")):
        if isinstance(one, dict) and (value := word(one, "value")) is not None:
            return word(one, "title") or value, value
    return None


def status_of(doc: Mapping[str, Any]) -> tuple[str, str | None]:
    """How a message of ours stands, and the channel's code of a failure. Chatwoot tells no status with a message; where
    it is the last one of its conversation, that one has it."""
    error = word(part(doc, "content_attributes"), "external_error")
    if error is not None:
        code = _CODE.match(error)
        return "failed", code[1] if code else None
    last = _last_message(conversation_of(doc))
    status = word(last, "status")
    same = id_of(last.get("id")) == id_of(doc.get("id")) is not None
    return (status, None) if same and status in STATUSES and status != "failed" else ("sent", None)


def kept(doc: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored of the message *doc*: what stays as it is while the same message is told again, by a webhook or by
    the API. What changes meanwhile belongs to its person and its conversation. The token that opens the conversation to
    a browser is not stored."""
    conversation, account, at = conversation_of(doc), account_of(doc), time_of(doc)
    who = _sender(doc) or part(part(conversation, "meta"), "sender")
    inbox_id = conversation.get("inbox_id") or part(doc, "inbox").get("id")
    source_id = part(conversation, "contact_inbox").get("source_id")
    named = {"inbox_id": inbox_id, "channel": conversation.get("channel"), "contact_inbox": {"source_id": source_id}}
    files = [{name: one[name] for name in _OF_A_FILE if one.get(name) is not None} for one in _attached(doc)]
    return {
        "event": doc.get("event"),
        **{name: doc.get(name) for name in ("id", "content_type", "content", "source_id")},
        "message_type": _told_type(doc),
        "content_attributes": {
            name: value for name, value in part(doc, "content_attributes").items() if value and name != "translations"
        },
        "created_at": doc.get("created_at") if at is None else int(at.timestamp()),
        "account": {"id": None if account is None else int(account)},
        "sender": {name: who.get(name) for name in _OF_A_PERSON},
        "conversation": {"id": conversation.get("id"), **named},
        **({"attachments": files} if files else {}),
    }


def _told_type(doc: Mapping[str, Any]) -> object:
    try:
        return type_of(doc)
    except Malformed:
        return doc.get("message_type")


def told_of(doc: Mapping[str, Any]) -> dict[str, Any]:
    """What *doc* says of how the message stands: the same however often it is told."""
    error = part(doc, "content_attributes").get("external_error")
    return {"id": doc.get("id"), "created_at": doc.get("created_at"), "external_error": error}


def part(doc: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object *name* of *doc*; an empty one where it is none."""
    found = doc.get(name)
    return found if isinstance(found, dict) else {}


def word(doc: Mapping[str, Any], name: str) -> str | None:
    """The text *name* of *doc* without blanks around it; None where it is none, or an empty one."""
    found = doc.get(name)
    return (found.strip() or None) if isinstance(found, str) else None


def _last_message(conversation: Mapping[str, Any]) -> Mapping[str, Any]:
    found = _list(conversation.get("messages"))
    return found[0] if found and isinstance(found[0], dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
