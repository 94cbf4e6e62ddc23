"""Cursors: where a page begins, as a text that only this installation makes.

A cursor is signed, so a program can follow it and cannot make one up. It is of one list with one filter: it says
nothing of another one.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from adapters.postgres.bus import meta
from adapters.postgres.pool import Pool
from schemas.errors import FerrymanError

KEY: Final = "cursor_key"
"""Its name in the table of facts."""

_SIGNED: Final = 16
"""Bytes of the signature."""

_READERS: Final[Mapping[str, Any]] = {"timestamptz": datetime.fromisoformat, "uuid": UUID, "bigint": int, "text": str}


class BadCursor(FerrymanError):
    """The text is no cursor of this list."""

    def __init__(self) -> None:
        super().__init__("cursor must be what `next` or `prev` said, with the same filter")


class Place(NamedTuple):
    """After the row of *keys*, or before it (*backwards*)."""

    keys: Sequence[Any]
    backwards: bool


async def key_of(pool: Pool) -> bytes:
    """What cursors are signed with: made when it is first asked for, the same for every process."""
    return bytes.fromhex(await meta.value(pool, KEY) or await meta.settle(pool, KEY, secrets.token_hex(32)))


def written(key: bytes, of: bytes, place: Place) -> str:
    """*place* as a text. *of*: the digest of its list and filter."""
    body = orjson.dumps([place.backwards, *map(_text, place.keys)])
    return base64.urlsafe_b64encode(_signature(key, of, body) + body).decode().rstrip("=")


def read(key: bytes, of: bytes, types: Sequence[str], text: str) -> Place:
    """The place that *text* says. *types*: of its keys, in SQL. Raises: BadCursor."""
    try:
        told = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise BadCursor from None
    signature, body = told[:_SIGNED], told[_SIGNED:]
    if not hmac.compare_digest(signature, _signature(key, of, body)):
        raise BadCursor
    backwards, *keys = orjson.loads(body)
    return Place([_READERS[type](key) for type, key in zip(types, keys, strict=True)], backwards)


def digest_of(name: str, wanted: Mapping[str, Any]) -> bytes:
    """That of a list and its filter: a cursor is of both."""
    given = {filter: value for filter, value in wanted.items() if value is not None}
    return sha256(name.encode() + b"\0" + orjson.dumps(given, option=orjson.OPT_SORT_KEYS, default=str)).digest()


def _signature(key: bytes, of: bytes, body: bytes) -> bytes:
    return hmac.digest(key, of + body, "sha256")[:_SIGNED]


def _text(key: Any) -> str:
    return key.isoformat() if isinstance(key, datetime) else str(key)
