"""What is typed into a phone field: digits of every script are digits, and of two numbers the first counts or none."""

from __future__ import annotations

import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.phone import parse_phone

ZEROS = [zero for code in range(sys.maxunicode + 1) if unicodedata.decimal(zero := chr(code), None) == 0]
SCRIPTS = [("Arabic-Indic", "٠"), ("Persian", "۰"), ("full-width", "\uff10"), ("Devanagari", "०"), ("Bengali", "০")]


def in_script(text: str, zero: str) -> str:
    """*text* with its digits in the script whose zero is *zero*."""
    return "".join(chr(ord(zero) + int(char)) if char.isascii() and char.isdigit() else char for char in text)


def e164(number: object, code: object = None) -> str | None:
    phone = parse_phone(number, code=code)
    return phone.e164 if phone else None


@pytest.mark.parametrize(("script", "zero"), SCRIPTS)
def test_a_number_in_another_script_is_read(script: str, zero: str) -> None:
    assert e164(in_script("050-555-0142", zero), in_script("972", zero)) == "+972505550142"
    assert e164(in_script("+972505550142", zero)) == "+972505550142"
    assert e164(505550142, in_script("972", zero)) == "+972505550142"


def test_a_number_may_be_wholly_in_full_width() -> None:
    assert (
        e164("\uff0b\uff19\uff17\uff12\u3000\uff08\uff15\uff10\uff09\uff15\uff15\uff15\uff0d\uff10\uff11\uff14\uff12")
        == "+972505550142"
    )


@given(
    code=st.sampled_from(["972", "+7", "46", "49", "1", "52", "55", ""]),
    number=st.text("0123456789+-/ ,;", min_size=3, max_size=16),
    data=st.data(),
)
def test_digits_of_any_script_are_read_as_ascii_ones_are(code: str, number: str, data: st.DataObject) -> None:
    zeros = st.sampled_from([*ZEROS, "0"])
    mixed = "".join(in_script(char, data.draw(zeros)) for char in number)
    assert e164(mixed, in_script(code, data.draw(zeros))) == e164(number, code)


def test_digits_that_are_no_decimal_digits_are_not_read() -> None:
    for text in ("050555014²", "05055501④②", "050555014Ⅱ", "0505550一四二"):
        assert e164(text, "972") is None


TWO = [
    ("49", "0171 5550142/3", "+491715550142", "another ending"),
    ("49", "0171/5550142/3", "+491715550142", "another ending after an area code"),
    ("49", "0171 5550142/43", "+491715550142", "another ending of two digits"),
    ("49", "٠١٧١ ٥٥٥٠١٤٢/٣", "+491715550142", "another ending in another script"),
    ("49", "0171 5550142-3", None, "a digit that stands apart"),
    ("49", "0171 5550142 3", None, "a digit that stands apart by a blank"),
    ("49", "089 5550142 / 5550143", "+49895550142", "a second number without area code"),
    ("", "+1 202 555 0142 / +1 202 555 0143", "+12025550142", "both whole"),
    ("", "+1 202 555 0142 +1 202 555 0143", "+12025550142", "both whole, side by side"),
    ("", "+1 202 555 0142 (+1 202 555 0143)", "+12025550142", "the second in brackets"),
    ("1", "202-555-0142 or 202-555-0143", "+12025550142", "or"),
    ("972", "0505550142 או 0505550143", "+972505550142", "or in Hebrew"),
    ("7", "8 701 555 01 00 или 8 701 555 01 01", "+77015550100", "or in Russian"),
    ("46", "070-174 06 05 eller 070-174 06 06", "+46701740605", "or in Swedish"),
    ("972", "0505550142, 0505550143", "+972505550142", "comma"),
    ("972", "0505550142; 0505550143", "+972505550142", "semicolon"),
    ("972", "٠٥٠٥٥٥٠١٤٢، ٠٥٠٥٥٥٠١٤٣", "+972505550142", "Arabic comma"),
    ("972", "0505550142\n0505550143", "+972505550142", "two lines"),
    ("972", "0505550142\n", "+972505550142", "end of a line"),
    ("972", "0505550142/", "+972505550142", "a slash and nothing"),
    ("972", "5550, 0505550142", None, "the first is no number alone"),
    ("972", "05055501, 42", None, "one number cut in two"),
    ("972", "0505550142, Noa", None, "something else than a number"),
    ("972", "0505550142 0505550143", None, "nothing between them"),
    ("972", "0505550142 - 0505550143", None, "a dash, which stands within numbers too"),
    ("49", "0171 555014/23", None, "a first that is too short, whatever both make together"),
]


@pytest.mark.parametrize(("code", "text", "expected", "why"), TWO, ids=[row[3] for row in TWO])
def test_of_two_numbers_the_first_counts_if_it_stands_alone(code: str, text: str, expected: Any, why: str) -> None:
    assert e164(text, code) == expected
    assert e164({"code": code, "number": text}) == expected


LONGEST_AREA_CODE = 6
MOBILES = st.sampled_from(
    [("972", "0505550142"), ("7", "87015550100"), ("46", "0701740605"), ("1", "2025550142"), ("52", "5555550142")]
)


@given(
    first=MOBILES,
    second=st.from_regex(r"\+?[0-9]{1,12}", fullmatch=True),
    between=st.sampled_from(["/", " / ", ", ", ";", " or ", "\n", " | ", " & ", " и "]),
)
def test_a_field_never_gives_a_number_that_neither_of_its_two_is(
    first: tuple[str, str], second: str, between: str
) -> None:
    code, number = first
    assert e164(f"{number}{between}{second}", code) == e164(number, code)
    if "/" not in between or len(second) > LONGEST_AREA_CODE:
        assert e164(f"{second}{between}{number}", code) in {e164(second, code), e164(number, code), None}
