"""Amounts of money in what people write."""

from __future__ import annotations

import re
from typing import Final

from schemas.folding import accented

LEAST: Final = 100
MOST: Final = 10_000_000

_CURRENCY: Final = (
    r"€|\$|£|₪|\beuros?\b|\beur\b|\busd\b|\bdollars?\b|\bgbp\b|\bnis\b|\bils\b|\bbrl\b|\breais\b|שקל|ש\"ח"
)
_AMOUNT: Final = re.compile(
    rf"(?P<before>{_CURRENCY})?\s?"
    r"(?<![\d.,])(?P<whole>\d{1,3}(?:[., \u00a0']\d{3})+|\d{1,9})(?:[.,](?:\d{1,2}|-))?(?!\d)"
    rf"\s?(?P<thousands>k\b|mil\b|duizend\b|thousand\b|אלף)?\s?(?P<after>{_CURRENCY})?"
    r"(?P<other>\s?(?:km|kilometer|kilometers|quilômetros|miles|mijl|pk|cv|hp|cc)\b)?"
)
_YEARS: Final = range(1950, 2100)


def largest_amount(text: str) -> int | None:
    """The largest amount that *text* names, in whole units; None where it names none. A plain year is none, nor is what
    is measured otherwise, nor what is too small or too large to be the price of a thing."""
    found = [amount for match in _AMOUNT.finditer(accented(text)) if (amount := _amount(match)) is not None]
    return max(found, default=None)


def _amount(match: re.Match[str]) -> int | None:
    if match["other"] or match["whole"].startswith("0"):
        return None
    number = int(re.sub(r"\D", "", match["whole"]))
    is_plain = not (match["before"] or match["after"] or match["thousands"])
    if is_plain and number in _YEARS and match["whole"].isdigit():
        return None
    number *= 1000 if match["thousands"] else 1
    return number if LEAST <= number <= MOST else None
