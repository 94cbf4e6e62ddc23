"""What Chatwoot posts to its webhooks, by version 4.16 and the versions before it.

Ids come as numbers or as text, times as ISO 8601, as `… UTC`, or as seconds, kinds of messages as words or as numbers.
A conversation's `id` counts within its account; the id of a message is one of the whole installation.
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

_CODE: Final = re.compile(r"\(?#?([0-9]{1,9})\)?(?=[:\s]|$)")
"""How a channel's code of a failure begins `external_error`: `131026: Message undeliverable`."""

_BSUID: Final = re.compile(r"[A-Z]{2}(?:\.ENT)?\.[A-Za-z0-9]{1,128}")
_DIGITS: Final = re.compile(r"[0-9]{6,20}")
_ID: Final = re.compile(r"[0-9]{1,18}")


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


def event_of(doc: Mapping[str, Any]) -> str | None:
    """The name of what has happened."""
    return word(doc, "event")


def conversation_of(doc: Mapping[str, Any]) -> Mapping[str, Any]:
    """The conversation of the message *doc*."""
    return part(doc, "conversation")


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
    contact = part(part(conversation, "meta"), "sender")
    sender = part(doc, "sender") if doc.get("message_type") in ("incoming", 0, "0") else {}
    inbox = part(conversation, "contact_inbox")
    place = word(inbox, "source_id") or ""
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


def channel_of(conversation: Mapping[str, Any]) -> str | None:
    """The channel by which a conversation goes: `whatsapp`, or the last part of Chatwoot's own name of another one;
    None where it is not told. Twilio's channel carries both text messages and WhatsApp, so it tells neither."""
    name = (word(conversation, "channel") or "").rpartition("::")[2].lower()
    return None if name in ("", "twiliosms", "api") else name


def time_of(doc: Mapping[str, Any]) -> datetime | None:
    """When the message was made."""
    value = doc.get("created_at")
    return moment(value.strip().removesuffix(" UTC")) if isinstance(value, str) else from_epoch(value)


def said_in(doc: Mapping[str, Any]) -> dict[str, Any]:
    """What a message says: members of `schemas.told.message_data`."""
    marks, content = part(doc, "content_attributes"), doc.get("content")
    files = [one for one in _list(doc.get("attachments")) if isinstance(one, dict)]
    first = files[0] if files else {}
    kind = _KINDS.get(word(first, "file_type") or "", "document") if files else "text"
    return {
        "kind": kind,
        "text": content if isinstance(content, str) and content else None,
        "media": _place_of(first) or None,
        "reply_to": id_of(marks.get("in_reply_to")),
        "files": [_file(one) for one in files],
    }


def _file(attachment: Mapping[str, Any]) -> dict[str, str]:
    kind = _KINDS.get(word(attachment, "file_type") or "", "document")
    id = id_of(attachment.get("id"))
    return {"kind": kind, **({} if id is None else {"id": id}), **_place_of(attachment)}


def _place_of(attachment: Mapping[str, Any]) -> dict[str, str]:
    media = {"url": attachment.get("data_url"), "mime_type": attachment.get("content_type")}
    return {name: text for name, text in media.items() if isinstance(text, str) and text}


def marker_of(doc: Mapping[str, Any]) -> str | None:
    """Our own id of a message that we have sent; None of a message of somebody else."""
    return word(part(doc, "content_attributes"), MARKER)


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
    """The message *doc* with what of its conversation names it and its person. The rest changes while the same message
    is told again; and the token that opens the conversation to a browser is not stored."""
    conversation = conversation_of(doc)
    inbox = {name: value for name, value in part(conversation, "contact_inbox").items() if name != "pubsub_token"}
    named = {name: conversation.get(name) for name in ("id", "inbox_id", "channel")}
    sender = part(part(conversation, "meta"), "sender")
    return {**doc, "conversation": {**named, "contact_inbox": inbox, "meta": {"sender": sender}}}


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
