"""Texts of rules with places for fields, `{order.id}`, filled so that a template takes them. Values in, values out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, tzinfo
from decimal import Decimal
from typing import Any, Final, NamedTuple

from daemon.messages.automatic_fields import Coded
from schemas.cleaned import cut, visible

SEPARATOR: Final = " · "
"""Between the parts of a list, and in the place of what WhatsApp takes in no parameter of a template: breaks of lines,
tabs, four blanks or more."""

LONGEST: Final = 1024
"""Characters of a filled value; Meta takes no longer body."""

_PLACE: Final = re.compile(r"\{([^{}|]*)(?:\|([^{}]*))?\}")
_BREAKS: Final = re.compile("[\t-\r\x1c-\x1e\x85\u2028\u2029]+")
_GAPS: Final = re.compile(r"\s{4,}")


class Place(NamedTuple):
    """A place in a text for the value of a field. *otherwise*: what stands there where the field has none; None: then
    the message is not sent."""

    field: str
    otherwise: str | None


class NoValue(Exception):
    """A field has no value, and its place no other one."""

    def __init__(self, field: str) -> None:
        self.field = field
        super().__init__(field)


def places(text: str) -> Iterator[Place]:
    """The places of *text*."""
    return (Place(*found.groups()) for found in _PLACE.finditer(text))


def has_stray_brace(text: str) -> bool:
    """Whether *text* has a brace that belongs to no place."""
    return bool(re.search("[{}]", _PLACE.sub("", text)))


def filled(text: str, value: Callable[[str], Any], words: Mapping[str, str], zone: tzinfo, most: int = LONGEST) -> str:
    """*text* with the values of its fields, each on one line and cut at *most* characters. *words*: code -> how the
    person's language says it. *zone*: of the times of day. Raises: NoValue."""

    def put(found: re.Match[str]) -> str:
        name, otherwise = found[1], found[2]
        shown = cut(one_line(_shown(value(name), words, zone)), most) or otherwise
        if shown is None:
            raise NoValue(name)
        return shown

    return _PLACE.sub(put, text)


def one_line(text: str) -> str:
    """*text* as it may stand in a parameter of a template: without control characters, its parts joined by
    SEPARATOR."""
    parts = (piece.strip() for part in _BREAKS.split(text) for piece in _GAPS.split(visible(part)))
    return SEPARATOR.join(part for part in parts if part)


def _shown(value: Any, words: Mapping[str, str], zone: tzinfo) -> str:
    """*value* in the person's language, as far as *words* have it; days as 31.12.2031."""
    match value:
        case Coded(code, label):
            return words.get(code) or label or code.replace("_", " ")
        case tuple():
            return SEPARATOR.join(one_line(_shown(item, words, zone)) for item in value)
        case bool():
            return _shown(Coded(str(value).lower()), words, zone)
        case Decimal():
            return f"{value:.0f}" if value == value.to_integral_value() else f"{value:.2f}"
        case datetime():
            return f"{in_zone(value, zone):%d.%m.%Y %H:%M}"
        case date():
            return f"{value:%d.%m.%Y}"
        case str() | int():
            return str(value)
    return ""


def in_zone(at: datetime, zone: tzinfo) -> datetime:
    """*at* as the clocks of *zone* show it; at either end of the calendar, as it is."""
    try:
        return at.astimezone(zone)
    except OverflowError:
        return at
