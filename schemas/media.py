"""The files that WhatsApp carries. Source: Meta's "Supported Media Types"; its upload answers with the same list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from schemas.messages import MediaType

_MB: Final = 1024 * 1024

MOST_BYTES: Final[Mapping[MediaType, int]] = {
    "image": 5 * _MB,
    "video": 16 * _MB,
    "audio": 16 * _MB,
    "document": 100 * _MB,
}

_PICTURES: Final = frozenset({"image/jpeg", "image/png"})
_VIDEOS: Final = frozenset({"video/mp4", "video/3gpp"})
_SOUND: Final = frozenset({"audio/aac", "audio/amr", "audio/mp4", "audio/mpeg", "audio/ogg"})
_OFFICE: Final = frozenset(
    {
        "application/msword",
        "application/vnd.ms-excel",
        "application/vnd.ms-powerpoint",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    }
)

TAKEN: Final[Mapping[MediaType, frozenset[str]]] = {
    "image": _PICTURES,
    "video": _VIDEOS,
    "audio": _SOUND,
    "document": _PICTURES | _VIDEOS | _SOUND | _OFFICE | {"application/pdf", "text/plain"},
}
"""The types that a file may have. Of documents Meta carries others too, but takes them by their address alone."""

WORDS: Final[Mapping[MediaType, str]] = {
    "image": "JPEG or PNG",
    "video": "MP4 or 3GP",
    "audio": "AAC, AMR, MP3, M4A or OGG with Opus",
    "document": "PDF, Office files or text",
}
"""The same for people."""


def path_at(url: str) -> str | None:
    """The path of the address of a file; None: it is no address that HTTP could fetch it at."""
    try:
        parts = urlsplit(url)
        return parts.path if parts.scheme in ("http", "https") and parts.hostname else None
    except ValueError:
        return None
