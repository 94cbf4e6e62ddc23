"""The fingerprint of an error: the same for faults that differ in ids, numbers and addresses alone."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final

GONE: Final = "#"
"""What stands in the place of an id, a number or an address."""

_ADDRESS: Final = re.compile(r"[a-z][a-z+]*://\S+|\S+@\S+", re.IGNORECASE)
_ID: Final = re.compile(r"(?=[\w-]*\d)(?=[\w-]*[^\W\d_])[\w-]{8,}")
"""A long word of letters and digits: a UUID, a provider's id."""

_NUMBER: Final = re.compile(r"[+(]*[\d#][\d\s().,:/+#-]*(?<=[\d#])")
"""A number with what separates its parts: of a phone, a time, a range."""


def plain_text(text: str) -> str:
    """*text* without what differs between two faults that are alike."""
    text = _ADDRESS.sub(GONE, text)
    text = _NUMBER.sub(GONE, _ID.sub(GONE, text))
    return " ".join(text.split())


def fingerprint(error_class: str, code: str, text: str) -> str:
    """16 hexadecimal characters. *code*: our own name of the error, "" where it has none."""
    told = "\x1f".join((error_class, code, plain_text(text)))
    return blake2b(told.encode(errors="replace"), digest_size=8).hexdigest()
