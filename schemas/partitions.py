"""Which partition a key belongs to."""

from __future__ import annotations

from hashlib import blake2b


def partition_of(key: str, partitions: int) -> int:
    """The partition of *key*, from 0: the same in every process and release, since waiting entries depend on it."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest()) % partitions
