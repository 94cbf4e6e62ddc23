"""What Whapi posts to its webhook: lists of messages and of statuses, other lists that are none of ours beside them.

A chat is named by its address: `972505550142@s.whatsapp.net` is a person by the phone, `…@g.us` a group, `…@lid` a
person whose phone WhatsApp hides, `…@newsletter` a channel. Bare digits are a person's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from schemas.errors import Malformed
from schemas.moments import from_epoch
from schemas.phone import Phone, parse_phone

PERSON: Final = "@s.whatsapp.net"
"""How the address of a person's chat ends."""

STATUSES: Final[Mapping[str, str]] = {
    "pending": "sent",
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "played": "played",
    "failed": "failed",
}
"""Whapi's words for how a message stands -> ours. `pending`: Whapi has taken it."""

NO_STATUS: Final = frozenset({"deleted"})
"""Words that say nothing of whether a message has reached anybody."""

_KINDS: Final[Mapping[str, str]] = {
    "link_preview": "text",
    "gif": "video",
    "short": "video",
    "live_location": "location",
    "contact": "contacts",
    "contact_list": "contacts",
    "reply": "choice",
}
"""Whapi's types -> our kinds, where they differ."""

_FILES: Final = frozenset({"image", "video", "gif", "short", "audio", "voice", "document", "sticker"})
_TEXTS: Final = frozenset({"text", "link_preview"})
_PERSONS: Final = re.compile(r"(\+?[0-9]+)(?:@s\.whatsapp\.net|@c\.us)?")
_TAPPED: Final = re.compile(r"^(?:Buttons|List)V3:")
"""What Whapi puts before the id of a button or a row."""


class Said(NamedTuple):
    """What a message holds, in the words of `schemas.told.message_data`."""

    kind: str
    text: str | None = None
    media: Mapping[str, str] | None = None
    choice: str | None = None
    reply_to: str | None = None


def listed(body: Mapping[str, Any], name: str) -> list[Any]:
    """The parts of a body under *name*; one that is no list is a part by itself."""
    found = body.get(name)
    return found if isinstance(found, list) else [] if found is None else [found]


def word(part: object, name: str) -> str | None:
    """The member *name* of *part* as text without blanks around it; None where it is none, or an empty one."""
    found = part.get(name) if isinstance(part, Mapping) else None
    return (found.strip() or None) if isinstance(found, str) else None


def chat_of(part: object) -> str | None:
    """The address of the chat that a message or a status is of; None where neither tells it.

    `from` is asked only without an address: in a group it is one of many, and of a hidden person it is no phone.
    """
    for name in ("chat_id", "recipient_id", "from"):
        if (found := word(part, name)) is not None:
            return found
    return None


def phone_of(chat: str | None) -> Phone | None:
    """The phone of the person whose chat it is; None for a group, and for anybody whose phone is not told."""
    person = _PERSONS.fullmatch(chat or "")
    return parse_phone(f"+{person[1].removeprefix('+')}") if person else None


def contact_of(chat: str) -> str:
    """The system's own id of whom a chat is with: a person's WhatsApp id, else the address."""
    return chat.removesuffix(PERSON)


def time_of(part: Mapping[str, Any]) -> datetime | None:
    """When it happened; messages have a number of seconds, statuses the same as text."""
    at = part.get("timestamp")
    return from_epoch(int(at) if isinstance(at, float) and abs(at) < 10**13 else at)


def said_in(message: Mapping[str, Any]) -> Said:
    """What *message* holds. Raises: Malformed, naming the member that is wrong and never its value."""
    type_ = word(message, "type")
    if type_ is None:
        raise Malformed("type is missing, or is not text")
    quoted = word(message.get("context"), "quoted_id")
    if type_ == "action":
        return _action(_member(message, type_))
    if type_ == "reply":
        reply = _member(message, type_)
        tapped = _member(reply, word(reply, "type") or "")
        value = word(tapped, "id")
        choice = None if value is None else _TAPPED.sub("", value)
        return Said("choice", _text(tapped, "title"), choice=choice, reply_to=quoted)
    kind = _KINDS.get(type_, type_)
    if type_ in _TEXTS:
        return Said(kind, _text(_member(message, type_), "body"), reply_to=quoted)
    if type_ in _FILES:
        file = _member(message, type_)
        return Said(kind, _text(file, "caption"), media=_media(file), reply_to=quoted)
    return Said(kind, reply_to=quoted)


def _action(action: Mapping[str, Any]) -> Said:
    """A reaction has the emoji as its text, none where it was taken back; other actions are kept by their names."""
    kind, target = word(action, "type") or "action", word(action, "target")
    return Said(kind, (_text(action, "emoji") or None) if kind == "reaction" else None, reply_to=target)


def _media(file: Mapping[str, Any]) -> dict[str, str]:
    """A file by Whapi's id; `url` where the channel downloads files of its kind by itself."""
    names = {"id": "id", "url": "link", "mime_type": "mime_type", "sha256": "sha256", "filename": "filename"}
    names |= {} if word(file, "filename") else {"filename": "file_name"}
    return {ours: found for ours, theirs in names.items() if (found := word(file, theirs)) is not None}


def _member(part: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = part.get(name)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise Malformed("the member that its type names is not an object")
    return found


def _text(part: Mapping[str, Any], name: str) -> str | None:
    """A text as it was written. Raises: Malformed."""
    found = part.get(name)
    if not isinstance(found, str | None):
        raise Malformed(f"{name} is not text")
    return found
