"""What we have written to a contact, as marks by which it is known again when the directory tells of it.

A mark holds no value: `MILLISECONDS:FIELD:DIGEST`. Each write makes one before it, as the
directory may tell of it at once, and one when it was answered; its time is by our clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from hashlib import blake2b
from typing import Final, NamedTuple

from schemas.contacts import FieldValue

LATE: Final = timedelta(minutes=10)
"""So long after a value was written over, the directory may still tell of it: by a flow that runs late, or by an answer
that was read before."""


class _Mark(NamedTuple):
    at: datetime
    field: str
    digest: str


def marks_of(fields: Mapping[str, FieldValue], names: Iterable[str], at: datetime) -> list[str]:
    """The marks of those *fields* that have one of *names*, written at *at*."""
    stamp = int(at.timestamp() * 1000)
    return [f"{stamp}:{name}:{_digest(name, fields[name])}" for name in names if name in fields]


def is_own(marks: Sequence[str], field: str, told: str, at: datetime, since: datetime | None) -> bool:
    """Whether *told*, which the directory's *field* held at *at*, is what we have written there after *since*: the last
    value, or one that was written over less than LATE before *at*."""
    digest = _digest(field, told)
    over_at: datetime | None = None
    for mark in sorted((mark for mark in _read(marks) if mark.field == field), reverse=True):
        if since is not None and mark.at < since:
            return False
        if mark.digest == digest and (over_at is None or at - over_at < LATE):
            return True
        over_at = mark.at
    return False


def _read(marks: Iterable[str]) -> Iterable[_Mark]:
    for mark in marks:
        stamp, field, digest = mark.split(":")
        yield _Mark(datetime.fromtimestamp(int(stamp) / 1000, UTC), field, digest)


def _digest(field: str, value: FieldValue) -> str:
    return blake2b(f"{field}\0{_plain(value)}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _plain(value: FieldValue) -> str:
    """*value* as the directory gives it back, as far as we know: booleans 1 or 0, dates as unix seconds."""
    match value:
        case bool():
            return str(int(value))
        case datetime():
            return str(int(value.timestamp()))
        case date():
            return str(int(datetime.combine(value, time(), UTC).timestamp()))
        case float() if value.is_integer():
            return str(int(value))
    return str(value).strip()
