"""The shapes of CGB's answers, and whose contact an answer is."""

from __future__ import annotations

import re
from typing import Any, Final

from schemas.errors import Foreign
from schemas.phone import Phone, line

_CONTACT_KEYS: Final = ("id", "phone", "first_name")
_NOT_A_DIGIT: Final = re.compile(r"[^0-9]")


def says_nothing(answer: Any) -> bool:
    """Whether *answer* is an object without a value: a service in PHP writes an empty one as a list."""
    return not answer or (isinstance(answer, dict) and all(value in (None, "") for value in answer.values()))


def inner(answer: Any) -> Any:
    """*answer*, or what it wraps in `data`."""
    return answer["data"] if isinstance(answer, dict) and isinstance(answer.get("data"), dict | list) else answer


def is_contact(answer: Any) -> bool:
    """Whether *answer* has the shape of a contact, be it an empty one."""
    contact = inner(answer)
    if says_nothing(contact):
        return True
    return (
        isinstance(contact, dict)
        and any(key in contact for key in _CONTACT_KEYS)
        and all(isinstance(contact.get(key), str | int | None) for key in _CONTACT_KEYS)
    )


def is_list(answer: Any) -> bool:
    """Whether *answer* is a list of objects, be it an empty one."""
    rows = inner(answer)
    return isinstance(rows, list) and all(isinstance(row, dict) for row in rows)


def is_done(answer: Any) -> bool:
    """Whether *answer* may be that to a write."""
    return isinstance(answer, dict) or not answer


def text_id(value: Any) -> str | None:
    """An id as text, whether it came as text or as a whole number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value).strip() or None


def demand(answered: Any, phone: Phone) -> None:
    """Raises: Foreign where *answered*, a phone or an id that is one, is not that of *phone*."""
    if not same_phone(answered, phone):
        raise Foreign("CGB: the answer is about another contact than the one that was asked for")


def same_phone(answered: Any, phone: Phone) -> bool:
    """Whether *answered* is *phone*, in whatever notation."""
    digits = _NOT_A_DIGIT.sub("", str(answered)).removeprefix("00")
    return line(f"+{digits}") == line(phone.e164)
