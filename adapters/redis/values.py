"""What Redis answers, as plain values."""

from __future__ import annotations


def text(value: bytes | str) -> str:
    """*value* as text: the client answers in bytes, but for what it has parsed itself."""
    return value.decode() if isinstance(value, bytes) else value


def parsed_id(entry_id: str) -> tuple[int, int]:
    """A stream entry's id as (milliseconds, sequence), which compare."""
    ms, _, sequence = entry_id.partition("-")
    return int(ms), int(sequence or 0)
