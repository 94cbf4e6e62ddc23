"""How long a voice note is, by its bytes: for models that do not tell. Values in, values out."""

from __future__ import annotations

from typing import Final

_OPUS_RATE: Final = 48_000
"""Of the granule positions of Opus, whatever the rate of the recording (RFC 7845, section 4)."""

_PAGE: Final = b"OggS"
_HEAD: Final = b"OpusHead"
_NO_END: Final = 2**64 - 1
_LONGEST_S: Final = 10.0**6


def seconds_of(body: bytes) -> float | None:
    """The seconds of a file of Ogg with Opus, as WhatsApp's voice notes are; None for any other."""
    head = body.find(_HEAD, 0, 256)
    if not body.startswith(_PAGE) or head < 0 or len(body) < head + 12:
        return None
    skipped = int.from_bytes(body[head + 10 : head + 12], "little")
    at = body.rfind(_PAGE)
    while at > 0:
        granule = int.from_bytes(body[at + 6 : at + 14], "little")
        if len(body) >= at + 14 and granule != _NO_END:
            seconds = (granule - skipped) / _OPUS_RATE
            return seconds if 0 <= seconds < _LONGEST_S else None
        at = body.rfind(_PAGE, 0, at)
    return None
