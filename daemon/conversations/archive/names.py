"""How what is archived is named: buckets, objects, and the rows of notes and their files. Values in, values out.

A name holds no phone and nothing that a person or another system made up: an id is taken as it is where it is a plain
one, and else a digest of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

from adapters.file_types import ENDINGS
from schemas.conversations import CHATWOOT, Chat
from schemas.envelope import event_id
from schemas.told import SPOKEN

HASH: Final = 32
"""Characters of a user's digest in a bucket's name: 128 bits, so that no two users share one."""

LONGEST_PREFIX: Final = 63 - 1 - HASH
"""Google's names of buckets have at most 63 characters."""

OF_ACCOUNT: Final = "account_"
"""How the name begins that stands for a user where nobody knows who it is."""

_NOT_IN_BUCKETS: Final = re.compile(r"[^a-z0-9]+")
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ENDINGS: Final[Mapping[str, str]] = {
    "audio/wav": ".wav",
    "audio/flac": ".flac",
    "audio/vorbis": ".ogg",
    "application/ogg": ".ogg",
    "video/ogg": ".ogv",
    "video/3gpp2": ".3g2",
    "video/x-matroska": ".mkv",
    "video/x-msvideo": ".avi",
    "image/tiff": ".tiff",
    "image/bmp": ".bmp",
    "image/heic": ".heic",
    "image/avif": ".avif",
    "application/rtf": ".rtf",
    "application/gzip": ".gz",
}
"""Beside those that WhatsApp carries. What could run, or be shown as a page, is `.bin` as anything unknown is."""


def bucket_name(prefix: str, user: str, attempt: int = 0) -> str:
    """The bucket of *user*. *attempt*: counts up where the names before belong to somebody else."""
    salt = f"\x00{attempt}" if attempt else ""
    digest = sha256(f"{user}{salt}".encode()).hexdigest()[:HASH]
    start = _NOT_IN_BUCKETS.sub("-", prefix.lower()).strip("-")[:LONGEST_PREFIX].rstrip("-")
    return f"{start}-{digest}" if start else f"u-{digest}"


def fallback_user(system: str, account: str | None) -> str:
    """What stands for the user of a message of a person who is mapped to none. *account*: Chatwoot's."""
    return f"{OF_ACCOUNT}{account or system}"


def note_id(message_key: str) -> UUID:
    """The id of a message's row."""
    return UUID(event_id("ferryman", "note", message_key))


def attachment_id(message_key: str, place: int) -> UUID:
    """The id of the row of a message's file. *place*: among its files, from 0."""
    return UUID(event_id("ferryman", "attachment", message_key, str(place)))


def plain(text: str) -> str:
    """*text* where it is fit for a name, else a digest of it."""
    return text if _PLAIN.fullmatch(text) else sha256(text.encode()).hexdigest()[:HASH]


def folder_of(chat: Chat, received_at: datetime) -> str:
    """`DAY/CONVERSATION`. The day is that of the arrival, in UTC: the same whenever the event is handled."""
    own = chat.conversation is not None and chat.system == CHATWOOT
    conversation = str(chat.conversation) if own else sha256(chat.key.encode()).hexdigest()[:HASH]
    return f"{received_at.astimezone(UTC):%Y-%m-%d}/{conversation}"


def message_path(folder: str, message_id: str) -> str:
    """The path of a message's object."""
    return f"whatsapp-messages/{folder}/{plain(message_id)}.json"


def file_stem(folder: str, message_id: str, file: str) -> str:
    """The path of a file's object without what its bytes tell. *file*: the system's id of it, or its place."""
    return f"{folder}/{plain(message_id)}_{plain(file)}"


def file_path(stem: str, kind: str, content_type: str) -> str:
    """The path of a file's object. *content_type*: what its bytes show."""
    ending = ENDINGS.get(content_type, (_ENDINGS.get(content_type, ".bin"),))[0]
    top = "whatsapp-audio" if kind in SPOKEN or content_type.startswith("audio/") else "whatsapp-media"
    return f"{top}/{stem}{ending}"


def told_id(value: str | None) -> int | str | None:
    """An id as the payload had it: a number where it is one."""
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) <= 18 else value
