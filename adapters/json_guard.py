"""JSON from outside: refuses, before anything else sees it, what parsers read differently or the stores cannot hold.

Refused: NaN and infinities, numbers beyond a double or integers beyond 64 bits, nesting deeper than MAX_DEPTH, a key
twice in one object (parsers differ on which counts), U+0000 and lone surrogates (Postgres text holds neither), bytes
that are not UTF-8, and anything that is not an object.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import orjson

from schemas.errors import Malformed

MAX_DEPTH: Final = 64

_MARK: Final = b"\xef\xbb\xbf"

_TEXT: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_OTHERS: Final = bytes(set(range(256)) - set(b"{}[]"))


class NotJson(Malformed):
    """The body is not JSON that we accept; the text says why and never quotes the body."""


def without_mark(body: bytes) -> bytes:
    """*body* without the byte order mark that some programs put before UTF-8. It is no part of the document."""
    return body.removeprefix(_MARK)


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in *body*. Raises: NotJson."""
    try:
        doc = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise NotJson(_why(body, exc)) from None
    if not isinstance(doc, dict):
        raise NotJson("the body must be a JSON object")
    # n levels need n opening brackets, so a body with fewer need not be looked at.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        raise NotJson(f"the body is nested deeper than {MAX_DEPTH} levels")
    # A body that is equal to its own dump has no key twice and no number that lost digits; nor has one that escapes its
    # slashes besides, as Meta does. Only other bodies need the slow parser.
    if orjson.dumps(doc) != body.replace(b"\\/", b"/") or b"\\u0000" in body:
        _read_slowly(body)
    return doc


def _why(body: bytes, exc: orjson.JSONDecodeError) -> str:
    try:
        body.decode()
    except UnicodeDecodeError:
        return "the body is not UTF-8"
    return f"the body is not JSON (at character {exc.pos})"


def _depth(body: bytes) -> int:
    """How deep *body*, which is JSON, is nested; more than MAX_DEPTH is not counted. Each round takes off the innermost
    brackets, at the speed of bytes: to walk millions of objects would take seconds."""
    brackets = _outside_texts(body).translate(_SQUARE, _OTHERS)
    depth = 0
    while brackets and depth <= MAX_DEPTH:
        brackets = brackets.replace(b"[]", b"")
        depth += 1
    return depth


def _outside_texts(body: bytes) -> bytes:
    """*body*, which is JSON, without its texts."""
    if b'\\"' in body or b"\\\\" in body:
        return _TEXT.sub(b"", body)
    return b"".join(body.split(b'"')[::2])  # every quotation mark begins or ends a text


def _read_slowly(body: bytes) -> None:
    try:
        json.loads(body, object_pairs_hook=_unique, parse_int=_small, strict=True)
    except NotJson:
        raise
    except (ValueError, RecursionError) as exc:
        raise NotJson("the body is not JSON") from exc


def _unique(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, value in pairs:
        if key in seen:
            raise NotJson("a key stands twice in one object")
        seen.add(key)
        if "\x00" in key or _holds_nul(value):
            raise NotJson("a text holds U+0000")


def _holds_nul(value: Any) -> bool:
    if isinstance(value, list):
        return any(_holds_nul(item) for item in value)
    return isinstance(value, str) and "\x00" in value


def _small(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= (number := int(digits)) < 2**64:
        raise NotJson("an integer does not fit 64 bits")
    return number
