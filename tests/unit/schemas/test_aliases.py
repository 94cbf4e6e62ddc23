"""Brazil, Mexico and Argentina have lines with two notations: both find the line, and neither is rewritten."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.phone import aliases, line, parse_phone

PAIRS = [
    ("+5511985550142", "+551185550142", "Brazil, the ninth digit"),
    ("+5531975550142", "+553175550142", "Brazil, outside the big cities"),
    ("+525555550142", "+5215555550142", "Mexico, the 1 of mobiles"),
    ("+5491155550142", "+541155550142", "Argentina, the 9 of mobiles"),
    ("+5492215550142", "+542215550142", "Argentina, La Plata"),
]

ALONE = [
    ("+551135550142", "a landline of Brazil"),
    ("+5511935550142", "a mobile of Brazil whose number without the 9 would be somebody's landline"),
    ("+558005550142", "a free number of Brazil"),
    ("+52155555014", "too short for Mexico"),
    ("+54935550142", "too short for Argentina"),
    ("+972505550142", "Israel"),
    ("+15215550142", "digits like Mexico's in America"),
]


@pytest.mark.parametrize(("present", "other", "why"), PAIRS, ids=[row[2] for row in PAIRS])
def test_a_line_is_known_by_both_notations_and_stays_as_it_was_given(present: str, other: str, why: str) -> None:
    assert aliases(present) == (present, other)
    assert aliases(other) == (other, present)
    assert line(present) == line(other) == present
    for given_as in (present, other):
        phone = parse_phone(given_as)
        assert phone is not None
        assert phone.e164 == given_as
        assert parse_phone({"code": given_as[1:3], "number": given_as[3:]}) == phone


@pytest.mark.parametrize(("number", "why"), ALONE, ids=[row[1] for row in ALONE])
def test_another_line_has_no_alias(number: str, why: str) -> None:
    assert aliases(number) == (number,)
    assert line(number) == number


NUMBERS = st.one_of(
    st.from_regex(r"\+(?:55[0-9]{10,11}|521?[0-9]{10}|549?[0-9]{10})", fullmatch=True),
    st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True),
    st.text(max_size=20),
)


@given(NUMBERS)
def test_aliases_are_one_set_from_whichever_of_them_it_is_asked(number: str) -> None:
    known = aliases(number)
    assert known[0] == number
    assert len(set(known)) == len(known)
    assert line(number) in known
    for alias in known:
        assert set(aliases(alias)) == set(known)
        assert line(alias) == line(number)


@given(st.from_regex(r"\+(?:55[1-9]{2}9?[2-9][0-9]{7}|521?[2-9][0-9]{9}|549?(?:11|22|34)[0-9]{8})", fullmatch=True))
def test_a_number_of_these_countries_is_a_phone_where_one_of_its_notations_is_valid(number: str) -> None:
    valid = any(phonenumbers.is_valid_number(phonenumbers.parse(alias)) for alias in aliases(number))
    phone = parse_phone(number)
    assert (phone is not None) == valid
    assert phone is None or phone.e164 == number
