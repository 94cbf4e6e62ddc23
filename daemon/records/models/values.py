"""The values of fields: what a model's types take, and when two values are the same one. Nothing here repeats a value
that was sent: neither an answer nor a log may tell it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from operator import eq
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from schemas.records.operation import LONGEST_NAME

if TYPE_CHECKING:
    from daemon.records.models.rules import ModelRules

LONGEST_TEXT: Final = 100_000
USUAL_TEXT: Final = 1_000
MOST_MEMBERS: Final = 1_000
USUAL_MEMBERS: Final = 100
LONGEST_MEMBER: Final = 200
LARGEST: Final = 2**53 - 1
"""Beyond it a JSON parser of JavaScript rounds whole numbers."""

_NUMERAL: Final = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,2})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SHA256: Final = re.compile(r"[0-9A-Fa-f]{64}")
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_URL: Final = re.compile(r"https?://[^\s/]+(?:/\S*)?")


class Wrong(NamedTuple):
    """Why values are refused: the reason of an answer, and what to do, without any value."""

    reason: str
    detail: str


class WrongValue(ValueError):
    """A value that its type does not take. Its text says what the type takes."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of fields. *check*: gives the value as it is stored, or raises WrongValue; never called with None.
    *same*: whether two stored values, neither None, are one. *order*: by what `max` and `min` compare."""

    check: Callable[[Any], Any]
    same: Callable[[Any, Any], bool] = eq
    order: Callable[[Any], Any] | None = None


def read_values(model: ModelRules, data: Mapping[str, Any], *, whole: bool) -> dict[str, Any] | Wrong:
    """The fields of *data* as they are stored. Retired ones are left out, `id` is not looked at. *whole*: it is all
    that the record will have: required fields must be there, and nulls say nothing."""
    fields, found = model.fields, {}
    for name, value in data.items():
        rule = fields.get(name)
        if rule is None:
            if name in model.retired or name == "id":
                continue
            return Wrong("field", f"{model.name} has no field {_shown(name)}")
        if value is not None:
            try:
                value = rule.kind.check(value)
            except WrongValue as wrong:
                return Wrong("type", f"{name} {wrong}")
        if rule.required and (value is None or (value.__class__ is str and not value.strip())):
            return _required(name)
        if value is not None or not whole:
            found[name] = value
    if whole:
        for name in model.required:
            if name not in found:
                return _required(name)
    return found


def _required(name: str) -> Wrong:
    return Wrong("required", f"{name} is required: give it a value")


def _shown(name: str) -> str:
    """A name that a client has made up, fit for an answer."""
    return "".join(c if c.isprintable() else "?" for c in name[:60])


def kind_of(type: str, *, most: int | None = None, values: tuple[str, ...] = ()) -> Kind:
    """The kind of a field's *type*. *most*: characters of a text, members of a set. *values*: of a choice."""
    match type:
        case "text":
            return Kind(_text(USUAL_TEXT if most is None else most))
        case "choice":
            return Kind(_choice(values))
        case "set":
            return Kind(_members(USUAL_MEMBERS if most is None else most))
    return _KINDS[type]


def _text(most: int) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value.__class__ is not str:
            raise WrongValue("must be a text")
        if len(value) > most:
            raise WrongValue(f"must have {most} characters at most")
        if not value.isprintable():  # newlines are not: look closer
            _storable(value)
        return value

    return check


def _storable(text: str) -> None:
    """Postgres takes neither in a text."""
    if found := _UNSTORABLE.search(text):
        what = "the character U+0000" if found[0] == "\x00" else "half of a surrogate pair"
        raise WrongValue(f"must not hold {what}, which cannot be stored")


def _choice(values: tuple[str, ...]) -> Callable[[Any], str]:
    known = frozenset(values)

    def check(value: Any) -> str:
        if value.__class__ is not str or value not in known:
            raise WrongValue(f"must be one of {', '.join(values)}")
        return value

    return check


def _members(most: int) -> Callable[[Any], list[str]]:
    member = _text(LONGEST_MEMBER)

    def check(value: Any) -> list[str]:
        if value.__class__ is not list:
            raise WrongValue("must be a list of texts")
        if len(value) > most:
            raise WrongValue(f"must have {most} members at most")
        try:
            return sorted({member(one) for one in value})
        except WrongValue as wrong:
            raise WrongValue(f"must be a list of texts, and each {wrong}") from None

    return check


def _integer(value: Any) -> int:
    if value.__class__ is float and value.is_integer():  # 3.0 is how some clients write 3
        value = int(value)
    if value.__class__ is not int or not -LARGEST <= value <= LARGEST:
        raise WrongValue(f"must be a whole number from -{LARGEST} to {LARGEST}")
    return value


def _number(value: Any) -> int | float:
    if value.__class__ is int and -LARGEST <= value <= LARGEST:
        return value
    if value.__class__ is not float or not math.isfinite(value):
        raise WrongValue("must be a number")
    return value


def _decimal(value: Any) -> int | float | str:
    if value.__class__ is str:
        if not _NUMERAL.fullmatch(value):
            raise WrongValue('must be a number, or a text of one as "1234.50"')
        return value
    return _number(value)


def _worth(value: Any) -> Decimal:
    return Decimal(str(value))


def _boolean(value: Any) -> bool:
    if value.__class__ is not bool:
        raise WrongValue("must be true or false")
    return value


def _date(value: Any) -> str:
    try:
        if value.__class__ is str and _DATE.fullmatch(value):
            date.fromisoformat(value)
            return value
    except ValueError:
        pass
    raise WrongValue("must be a date as 2026-11-27")


def _datetime(value: Any) -> str:
    try:
        if value.__class__ is str and 16 <= len(value) <= 40 and value.isascii():
            _moment(value)
            return value
    except (ValueError, OverflowError):
        pass
    raise WrongValue("must be a time as 2026-11-27T09:58:01Z")


def _moment(text: str) -> datetime:
    """Without a zone it is UTC."""
    found = datetime.fromisoformat(text)
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _json(value: Any) -> Any:
    _check_json(value)
    return value


def _check_json(value: Any) -> None:
    if isinstance(value, str):
        _storable(value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise WrongValue("must hold numbers that JSON can write")
    elif isinstance(value, dict):
        for key, inside in value.items():
            _storable(key)
            _check_json(inside)
    elif isinstance(value, list):
        for inside in value:
            _check_json(inside)


def same_json(one: Any, other: Any) -> bool:
    """Whether two JSON values are one: true is not 1, and 1.0 is 1."""
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same_json(value, other[key]) for key, value in one.items())
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same_json, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _file(value: Any) -> dict[str, Any]:
    """A file is kept elsewhere: a record has its address, and its hash tells whether it is the one."""
    if not isinstance(value, dict) or not value.keys() >= {"name", "url", "sha256"} or not value.keys() <= _FILE.keys():
        raise WrongValue("must be an object of name, url and sha256, with bytes and content_type at will")
    for key, inside in value.items():
        takes, text = _FILE[key]
        if not takes(inside):
            raise WrongValue(f"has a {key} that is none: it must be {text}")
    return value


def _is_text(most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and 0 < len(value) <= most and value.isprintable()


_FILE: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "name": (_is_text(255), "a text of 1 to 255 characters"),
    "url": (lambda value: _is_text(2_000)(value) and bool(_URL.fullmatch(value)), "an address as https://files.example/a"),
    "sha256": (lambda value: isinstance(value, str) and bool(_SHA256.fullmatch(value)), "64 hexadecimal digits"),
    "bytes": (lambda value: value.__class__ is int and 0 <= value <= LARGEST, "a whole number"),
    "content_type": (_is_text(100), "a text as image/jpeg"),
}  # fmt: skip


def _person(value: Any) -> str:
    if isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable() and value == value.strip():
        return value
    raise WrongValue(f"must be a name of 1 to {LONGEST_NAME} printable characters")


NAME: Final = Kind(_person)
"""Of owners and branches."""

_KINDS: Final[Mapping[str, Kind]] = {
    "integer": Kind(_integer, order=lambda value: value),
    "number": Kind(_number, order=lambda value: value),
    "decimal": Kind(_decimal, lambda one, other: _worth(one) == _worth(other), _worth),
    "boolean": Kind(_boolean),
    "date": Kind(_date, order=lambda value: value),
    "datetime": Kind(_datetime, lambda one, other: _moment(one) == _moment(other), _moment),
    "json": Kind(_json, same_json),
    "file": Kind(_file, same_json),
}
