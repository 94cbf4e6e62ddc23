"""Values of fields: read from what a person wrote, and shown again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import Final
from unicodedata import digit

from daemon.conversations.dialogs.context import LONGEST_VALUE, params_of
from daemon.conversations.dialogs.lexicon import option_phrases
from daemon.conversations.dialogs.matching import readable, same
from daemon.conversations.dialogs.rules import Dialog, DialogField, said_in
from schemas.cleaned import cut, visible
from schemas.phone import parse_phone

LONGEST_TEXT: Final = 300
LONGEST_SHOWN: Final = 300

_NUMBER: Final = re.compile(r"(?<![\w.,])[-+]?[0-9]{1,15}(?:[.,][0-9]{1,6})?(?![\w]|[.,][0-9])")
_DAY: Final = re.compile(r"(?<![0-9])([0-9]{1,2})[./ -]([0-9]{1,2})[./ -]([0-9]{4})(?![0-9])")
_ISO_DAY: Final = re.compile(r"(?<![0-9])([0-9]{4})[-./]([0-9]{1,2})[-./]([0-9]{1,2})(?![0-9])")
_EMAIL: Final = re.compile(
    r"(?<![\w.%+-])[A-Z0-9_%+-]+(?:\.[A-Z0-9_%+-]+)*@(?:[A-Z0-9](?:[A-Z0-9-]{0,61}[A-Z0-9])?\.)+[A-Z]{2,24}(?![\w-])",
    re.IGNORECASE | re.ASCII,
)
_PHONE: Final = re.compile(r"\+?[0-9(][0-9 ().\-/]{5,24}[0-9]")
_MARKUP: Final = re.compile(r"[*_~`{}<>\[\]|\\]")


def text_value(field: DialogField, text: str) -> str | None:
    """*text* as a value of *field*, clean and cut; None where it is too short."""
    clean = " ".join(visible(cut(text, 4 * LONGEST_VALUE)).split())
    clean = cut(clean, min(field.max or LONGEST_TEXT, LONGEST_VALUE)).strip()
    return clean if len(clean) >= max(1, field.min or 1) and any(char.isalnum() for char in clean) else None


def typed_value(field: DialogField, text: str) -> str | None:
    """The number, the day (ISO 8601), the address or the phone (E.164) that *text* holds; None where it holds none,
    or several."""
    plain = "".join(str(digit(c)) if c.isdecimal() else c for c in readable(text))
    found: set[str] = set()
    match field.kind:
        case "number":
            found = {one for told in _NUMBER.findall(plain) if (one := _number(field, told)) is not None}
        case "date":
            days = [(int(y), int(m), int(d)) for y, m, d in _ISO_DAY.findall(plain)]
            days += [(int(y), int(m), int(d)) for d, m, y in _DAY.findall(_ISO_DAY.sub(" ", plain))]
            found = {one for day in days if (one := _day(*day)) is not None}
        case "email":
            found = {one.lower() for one in _EMAIL.findall(plain) if len(one) <= 254}
        case "phone":
            phones = (parse_phone(one) for one in _PHONE.findall(plain))
            found = {phone.e164 for phone in phones if phone is not None}
    return found.pop() if len(found) == 1 else None


def _number(field: DialogField, told: str) -> str | None:
    number = Decimal(told.replace(",", "."))
    if (field.min is not None and number < field.min) or (field.max is not None and number > field.max):
        return None
    return f"{number:f}"


def _day(year: int, month: int, day: int) -> str | None:
    """That day; where there is no such month, the day and the month may stand the other way round."""
    with suppress(ValueError):
        return date(year, month, day).isoformat()
    with suppress(ValueError):
        return date(year, day, month).isoformat()
    return None


def option_value(field: DialogField, text: str) -> str | None:
    """The value of the option that *text* names, by its value, title or synonym; None where it names none."""
    return next((value for value, named in option_phrases(field) if same(text, named)), None)


def value_told(field: DialogField, text: str) -> str | None:
    """The value of *field* that another system tells as *text*; None where it is none."""
    if field.kind == "choice" or field.options:
        found = option_value(field, text)
        return text_value(field, text) if found is None and field.takes_text else found
    if field.kind == "text":
        return text_value(field, text)
    return None if field.kind == "photo" else typed_value(field, text)


def accepted(dialog: Dialog, params: Mapping[str, str]) -> dict[str, str]:
    """Those of *params* that *dialog* can use: values of its fields, and what it is given besides, whatever it is."""
    found: dict[str, str] = {}
    for name, text in params_of(params).items():
        field = dialog.field(name)
        value = text if field is None else value_told(field, text)
        if value is not None:
            found[name] = value
    return found


def shown(dialog: Dialog, name: str, value: str, language: str, fallback: str) -> str:
    """*value* of the field *name* as it is shown to people: the title of an option; else the text without signs that
    some system reads as markup."""
    field = dialog.field(name)
    for option in field.options if field is not None else ():
        if option.value == value:
            return said_in(option.title, language, fallback)
    return cut(" ".join(_MARKUP.sub(" ", visible(value)).split()), LONGEST_SHOWN)


def completed(dialog: Dialog, params: Mapping[str, str]) -> dict[str, str]:
    """*params* as they are told when all is known: in small letters where the field says so."""
    lower = {field.name for field in dialog.fields if field.lower}
    return {name: value.lower() if name in lower else value for name, value in params.items()}
