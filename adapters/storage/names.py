"""Names in a store: a bucket, and the path of an object in it. Both are made of our own names alone."""

from __future__ import annotations

import re
from typing import Final

from schemas.errors import Refused

LONGEST_BUCKET: Final = 63
"""https://cloud.google.com/storage/docs/buckets#naming"""

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,149}")


def check(bucket: str, path: str | None = None) -> None:
    """Raises: Refused where *bucket* or *path* is no name that we make. Such a name leads out of no directory, and no
    store reads it in a way of its own."""
    if not _BUCKET.fullmatch(bucket):
        raise Refused("the bucket's name is not one of ours")
    if path is not None and not all(_PART.fullmatch(part) for part in path.split("/")):
        raise Refused("the object's name is not one of ours")
