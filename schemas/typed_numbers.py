"""What people and systems type into a phone field: digits of any script, marks between them, sometimes two numbers.

Nothing here knows a country. `schemas/phone.py` decides whether digits are a phone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

_LONGEST: Final = 64
_MOST_PIECES: Final = 5
_SHORTEST_OF_TWO: Final = 9
"""In digits, with the country code. Germany's long area codes read as numbers of their own, which are shorter."""
_LONGEST_ENDING: Final = 3
_HIDDEN: Final = r"\u00ad\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"

# Digits and the marks that people put inside one number. Letters are excluded: libphonenumber would read 0800-FLOWERS
# and extensions, and neither is a WhatsApp address. Numbers copied from Hebrew text contain bidirectional marks. A
# slash and the end of a line may as well stand between two numbers, and a last digit that stands apart may be another
# ending: all three are left to `first_number`.
_MARKS: Final = rf"+\-.() \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u2010-\u2015\u2212{_HIDDEN}"
_GAP: Final = r"[ \-\u2010-\u2015]"
_ONE_NUMBER: Final = re.compile(
    rf"[0-9{_MARKS}]*(?<![0-9]{_GAP}[0-9])(?<![0-9]{_GAP}{_GAP}[0-9])(?<![0-9]{_GAP}{_GAP}{_GAP}[0-9])"
)
_NUMBERS: Final = re.compile(rf"[0-9{_MARKS}/]*")
_APART: Final = re.compile(rf"{_GAP}[0-9]$")
_NOT_OF_NUMBER: Final = re.compile(r"[^0-9+]")

_WORDS: Final = "or|and|oder|und|eller|och|или|и|немесе|және|או|ou|et|o|y|e|أو"
_BETWEEN_NUMBERS: Final = re.compile(
    rf"[,;|&\r\n]|\s(?:{_WORDS})\s|(?<=[0-9])[^0-9+/,;|&]*/?[^0-9+/,;|&]*(?=\+)", re.IGNORECASE
)
_ASCII_MARKS: Final = str.maketrans("＋﹢－﹣．（）／，、،；؛｜＆", "++--.()/,,,;;|&")


def plain_digits(value: object) -> str | None:
    """The digits of one number in ASCII, with at most one leading plus; "" when there is nothing, None when *value*
    is anything else."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if 0 <= value < 10**15 else "x"
    if not isinstance(value, str) or len(value) > _LONGEST:
        return None
    if value.isascii() and value.isdigit():
        return value
    if not _ONE_NUMBER.fullmatch(value):
        return None
    return _compact(value)


def _compact(text: str) -> str | None:
    compact = _NOT_OF_NUMBER.sub("", text)
    return None if "+" in compact[1:] or compact == "+" else compact


def in_ascii(value: object) -> object:
    """*value*; in a text the value of each decimal digit of Unicode takes its place, as do plain marks of wide ones."""
    if not isinstance(value, str) or len(value) > _LONGEST:
        return value
    return "".join(
        char if char.isascii() or (digit := unicodedata.decimal(char, None)) is None else str(digit)
        for char in value.translate(_ASCII_MARKS)
    )


def first_number(value: object, read: Callable[[str], str | None]) -> str | None:
    """What *read* makes of the first number in *value*, a result of `in_ascii`; None where the first does not stand
    alone, or where there is anything besides numbers.

    *read*: from the digits of one number to its E.164 form, or None where it is not valid.
    """
    if not isinstance(value, str) or len(value) > _LONGEST:
        digits = plain_digits(value)
        return read(digits) if digits else None
    parts = _BETWEEN_NUMBERS.split(value)
    if not all(map(_NUMBERS.fullmatch, parts)):
        return None
    first = next((part for part in parts if any(map(str.isdigit, part))), "").strip()
    pieces = [_compact(piece) for piece in first.split("/") if any(map(str.isdigit, piece))]
    numbers = [piece for piece in pieces if piece]
    if not numbers or len(numbers) < len(pieces) or len(numbers) > _MOST_PIECES:
        return None
    if len(numbers) > 1:
        return _first_by_slash(numbers, read)
    return _unless_two_endings(numbers[0], read) if _APART.search(first) else read(numbers[0])


def _first_by_slash(pieces: list[str], read: Callable[[str], str | None]) -> str | None:
    """The number of *pieces* between slashes. A slash stands after an area code (0171/5550142), before another ending
    (0171 5550142/3) or between two numbers; where more than one of these makes sense, it is none."""
    whole = read("".join(pieces))
    for count in range(1, len(pieces)):
        rest = "".join(pieces[count:])
        alone = read("".join(pieces[:count]))
        if alone is None or (whole and len(alone) <= _SHORTEST_OF_TWO):
            continue
        another = read(rest)
        two = len(rest) <= _LONGEST_ENDING or (another is not None and len(another) > _SHORTEST_OF_TWO)
        return alone if two or not whole else None
    return whole if len("".join(pieces[1:])) > _LONGEST_ENDING else None


def _unless_two_endings(digits: str, read: Callable[[str], str | None]) -> str | None:
    """None where the last digit of 0171 5550142-3 is either part of the number or the ending of another one."""
    return None if read(digits[:-1]) else read(digits)
