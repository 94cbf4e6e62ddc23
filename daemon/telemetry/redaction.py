"""Masks what a log line must not show, found in two ways: by the name of the field, and by patterns in the text.

Names cover values without a pattern (a person's name, a message). Patterns cover what arrives inside other text:
phones, e-mail addresses, tokens, passwords in addresses, rows that a database quotes in its errors. What only resembles
a phone stays: UUIDs, ISO times, hashes, IP addresses, stream ids, measures.

The texts come from outside, so every pattern is bounded: its time is at most linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import Final
from uuid import UUID

MASK: Final = "***"
FIELD_LIMIT: Final = 2000
"""Characters of one field; the rest is cut."""

_DEPTH_LIMIT: Final = 6
_ITEM_LIMIT: Final = 50

# fmt: off
# secret or personal wherever the word stands in a field's name …
_STRONG: Final = frozenset((
    "phone", "msisdn", "mobile", "telephone", "email", "mail", "token", "secret", "password", "passwd", "pwd",
    "passphrase", "authorization", "cookie", "apikey", "credential", "jid",
))
# … and where it is the last word: customer_name, but not name_length
_LAST: Final = _STRONG | frozenset((
    "name", "firstname", "lastname", "fullname", "username", "nickname", "filename", "surname", "client",
    "customer", "text", "body", "caption", "message", "msg", "content", "payload", "data", "key", "signature",
    "sig", "subject", "to", "from", "sender", "recipient", "address", "birthday", "dsn", "variable", "param",
))
_MEASURES: Final = frozenset((
    "id", "ids", "count", "counts", "bytes", "ms", "s", "seconds", "size", "length", "len", "total", "kind",
    "type", "status", "state", "valid", "known", "limit", "at", "age", "reason", "code", "present",
))
# fmt: on
_WORDS: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")

# marks that change how the text beside them reads, or hide inside a number
_INVISIBLE: Final = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CUT_END: Final = re.compile(r"(?:[\d\s().+/-]{1,200}|\S{1,200})\Z")

_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_NOT_A_PHONE: Final = "|".join(
    (
        r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Za-z])",
        r"(?<!\d)(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
        r"(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?(?!\d)",
        r"(?<!\d)20\d{6}T\d{6}(?:\.\d{1,9})?Z?(?!\d)",
        r"(?<![0-9A-Za-z+])(?=[0-9]*[A-Fa-f])(?:[0-9A-Fa-f]{16}){1,8}(?![0-9A-Za-z])",
        r"(?<![0-9A-Za-z+])(?=[0-9]*[A-Fa-f])[0-9A-Fa-f]{40}(?![0-9A-Za-z])",
        r"\b0x[0-9A-Fa-f]+",
        rf"(?<![\d.+])(?:{_OCTET}\.){{3}}{_OCTET}(?::\d{{1,5}})?(?![\d.])",
        r"(?<![\w+])1[5-9]\d{11}-\d{1,6}(?![\w-])",
        r"(?<![\d.+-])0\.\d+(?![\d.-])",
        r"(?<![\d.+-])[1-9]\d{0,8}(?:\.\d+)?(?=\s?(?:ms|us|ns|bytes|seconds)\b)",
        r"(?<![\d.+-])[1-9]\d{0,5}\.\d{1,3}(?![\d.-])",
    )
)
_BETWEEN: Final = r"[\s().\-/\u2010-\u2015\u2212]{0,3}"
_PHONE: Final = re.compile(rf"(?P<kept>{_NOT_A_PHONE})|[+\uff0b]?\(?\d(?:{_BETWEEN}\d){{6,}}")

_HARMLESS: Final = re.compile(r"(?!sk-|whsec_)[a-z_.-]{0,40}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_WORD: Final = re.compile(r"\S+")
_PLAIN_PATTERNS: Final = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S), MASK),
    (
        re.compile(r"\b(bearer|basic)[ \t]+(?!(?:token|auth|authentication|authorization)\b)\S+", re.I),
        rf"\1 {MASK}",
    ),
    (re.compile(r"whsec_[A-Za-z0-9+/=_-]*"), f"whsec_{MASK}"),
    (re.compile(r"\beyJ[\w-]{4,}\.[\w-]+(?:\.[\w-]*)?|\bsk-[\w-]{12,}|\bEAA[0-9A-Za-z]{20,}"), MASK),
    # PostgreSQL and pydantic quote the values that they refuse
    (re.compile(r"(Key \([^)\n]*\)=)\([^\n]*"), rf"\1({MASK})"),
    (re.compile(r"(Failing row contains )[^\n]*"), rf"\1({MASK})"),
    (re.compile(r"input_value=.*?(?=, input_type=|\n|\Z)", re.S), f"input_value={MASK}"),
    (
        re.compile(r"""(?:"[^"\n]{1,64}"|[^\s@<>"'(),;:=&?/]{1,128}|[^\s@])(?:@|%40)[\w.-]{1,253}\.[^\W\d_]{2,}"""),
        "[email]",
    ),
)
_QUOTED_PAIR: Final = re.compile(
    r"""(?P<open>["'])(?P<key>[A-Za-z_][\w-]{0,40})(?P=open)\s*[:=]\s*"""
    r"""(?:(?P<quote>["'])(?:\\.|(?!(?P=quote))[^\\])*(?:(?P=quote)|\Z)|[\w.+-]+)"""
)
_BARE_PAIR: Final = re.compile(r"""(?<![\w-])(?P<key>[A-Za-z][\w-]{2,40})(?P<sign>=|:[ ]?)(?P<value>[^\s"'&,;{}()]+)""")


@lru_cache(maxsize=4096)
def is_sensitive(field: str) -> bool:
    """Whether the name of a field says that its value is secret or personal."""
    words = [word.lower() for word in _WORDS.findall(field)]
    words = [word[:-1] if word.endswith("s") and word[:-1] in _LAST else word for word in words]
    if not words or words[-1] in _MEASURES:
        return False
    return words[-1] in _LAST or not _STRONG.isdisjoint(words) or "".join(words) in _LAST


def redact_text(text: str, *, lines: bool = False) -> str:
    """*text* without secret and personal parts, control characters and invisible ones, cut to a bounded length.

    *lines*: line ends stay; otherwise they too are written as escapes. At most FIELD_LIMIT characters before
    the escapes.
    """
    if _HARMLESS.fullmatch(text):
        return text
    text = _INVISIBLE.sub("", text[: 4 * FIELD_LIMIT].encode("utf-8", "replace").decode())
    if len(text) > 2 * FIELD_LIMIT:
        # half a number at the cut would no longer look like one
        text = _CUT_END.sub("", text[: 2 * FIELD_LIMIT])
    if "://" in text:
        text = _WORD.sub(lambda word: _without_login(word[0]), text)
    for pattern, instead in _PLAIN_PATTERNS:
        text = pattern.sub(instead, text)
    text = _QUOTED_PAIR.sub(_quoted_pair, text)
    text = _BARE_PAIR.sub(_bare_pair, text)
    text = _PHONE.sub(lambda found: found[0] if found["kept"] else "[phone]", text)
    if len(text) > FIELD_LIMIT:
        text = text[: FIELD_LIMIT - 1] + "…"
    return _CONTROL.sub(lambda found: "\n" if lines and found[0] == "\n" else _escape(found[0]), text)


def redact(value: object, field: str = "", depth: int = 0) -> object:
    """*value* as it may be logged as *field*: numbers, texts, lists and dicts of them, to a bounded depth."""
    if value is None or isinstance(value, bool):
        return value
    if field and is_sensitive(field):
        return MASK
    if type(value) is str:
        return value if _HARMLESS.fullmatch(value) else redact_text(value)
    if isinstance(value, str):
        return redact_text(value.value if isinstance(value, Enum) else value)
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    if depth >= _DEPTH_LIMIT:
        return "…"
    if isinstance(value, Mapping):
        items = list(value.items())[:_ITEM_LIMIT]
        return {redact_text(str(key)): redact(part, str(key), depth + 1) for key, part in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(part, "", depth + 1) for part in list(value)[:_ITEM_LIMIT]]
    return _as_text(value)


def _as_text(value: object) -> str:
    if isinstance(value, UUID | date | time | timedelta | Decimal | PurePath | int):
        return redact_text(str(value))
    if isinstance(value, BaseException):
        return redact_text(f"{type(value).__name__}: {value}")
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    # its repr may hold anything
    return f"<{type(value).__name__}>"


def _quoted_pair(found: re.Match[str]) -> str:
    return f'"{found["key"]}": "{MASK}"' if is_sensitive(found["key"]) else found[0]


def _bare_pair(found: re.Match[str]) -> str:
    key, sign = found["key"], found["sign"]
    # "to: …" or "message: …" is how sentences go; "token: …" and "name=…" are not
    secret = is_sensitive(key) if sign == "=" else _names_a_secret(key)
    return f"{key}{sign}{MASK}" if secret else found[0]


def _names_a_secret(key: str) -> bool:
    words = [word.lower() for word in _WORDS.findall(key)]
    return is_sensitive(key) and (not _STRONG.isdisjoint(words) or words[-2:] == ["api", "key"])


def _without_login(word: str) -> str:
    scheme, sign, rest = word.partition("://")
    # up to the last @: whatever a badly quoted password holds goes with it
    _, at, place = rest.rpartition("@")
    return f"{scheme}{sign}{MASK}@{place}" if at else word


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
