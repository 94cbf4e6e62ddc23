"""The secrets of a subscriber: the one in force, and former ones that sign beside it until they run out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import orjson

from daemon.stores.seal import Seal

OLD_FOR: Final = timedelta(hours=24)
"""How long a former secret signs beside the new one."""

MOST_OLD: Final = 10

_KIND: Final = "subscriber"


class Secret(NamedTuple):
    """*until*: when it runs out; None: it is the one in force."""

    text: str
    until: datetime | None = None

    def __repr__(self) -> str:
        return "Secret(***)"


def rotated(secrets: Sequence[Secret], new: str, now: datetime) -> list[Secret]:
    """The *new* one in force; the former one signs for OLD_FOR more."""
    old = [one if one.until else Secret(one.text, now + OLD_FOR) for one in secrets]
    return [Secret(new), *[one for one in old if one.until and one.until > now][:MOST_OLD]]


def in_force(secrets: Sequence[Secret], now: datetime) -> list[str]:
    """The texts that sign at *now*, the newest first."""
    return [one.text for one in secrets if one.until is None or one.until > now]


def sealed(seal: Seal, name: str, secrets: Sequence[Secret]) -> bytes:
    """*secrets* of the subscriber *name*, encrypted."""
    held = [[one.text, one.until.isoformat() if one.until else None] for one in secrets]
    return seal.close(_KIND, name, {"secrets": orjson.dumps(held).decode()})


def opened(seal: Seal, name: str, text: bytes) -> list[Secret]:
    """What `sealed` has made. Raises: NotOpened."""
    held = orjson.loads(seal.open(_KIND, name, text)["secrets"])
    return [Secret(one, datetime.fromisoformat(until) if until else None) for one, until in held]
