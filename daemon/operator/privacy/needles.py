"""What a person is called by in any text: phones as people type them, addresses, ids."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import phonenumbers

_SEPARATED: Final = "[-. ()/]*"
LEAST_NATIONAL: Final = 9
"""Digits of a number without its country code: fewer are too often part of something else."""

LEAST_ID: Final = 6
_EXACT: Final = ("order", "contact", "bsuid", "applicant", "email")
_AROUND: Final = "[A-Za-z0-9]"


def pattern_of(subjects: Mapping[str, Sequence[str]]) -> str:
    """A regular expression, for Postgres and Python, of all that *subjects* are called by; "" for nothing."""
    phones = [_phone(value) for value in subjects.get("phone", ())]
    ids = [value for kind in _EXACT for value in subjects.get(kind, ()) if len(value) >= LEAST_ID]
    return "|".join([*dict.fromkeys(filter(None, phones)), *(_exact(one) for one in dict.fromkeys(ids))])


def orders_of(subjects: Mapping[str, Sequence[str]]) -> str:
    """The same of orders alone, whose ids name no other."""
    return "|".join(_exact(one) for one in subjects.get("order", ()) if len(one) >= LEAST_ID)


def compiled(pattern: str) -> re.Pattern[str]:
    """*pattern* for Python, in any case of letters."""
    return re.compile(pattern, re.IGNORECASE)


def _exact(text: str) -> str:
    return f"(?<!{_AROUND}){re.escape(text)}(?!{_AROUND})"


def _phone(e164: str) -> str:
    """A number with its country code, or as dialled at home."""
    try:
        parsed = phonenumbers.parse(e164)
    except phonenumbers.NumberParseException:
        return _exact(e164.lstrip("+"))
    national, code = phonenumbers.national_significant_number(parsed), str(parsed.country_code)
    whole = rf"[+]?(?:00)?{_spaced(code)}{_SEPARATED}(?:0{_SEPARATED})?"
    home = f"(?:{whole}|[08])" if len(national) < LEAST_NATIONAL else f"(?:{whole}|[08]{_SEPARATED})?"
    return f"(?<![0-9]){home}{_spaced(national)}(?![0-9])"


def _spaced(digits: Iterable[str]) -> str:
    return _SEPARATED.join(digits)
