"""Faults that differ in ids, numbers and addresses alone have one fingerprint; any other difference makes another."""

from __future__ import annotations

import string
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.fingerprints import fingerprint, plain_text

WORDS = st.lists(st.text(string.ascii_lowercase, min_size=2, max_size=7), min_size=1, max_size=6)
NUMBERS = st.integers(min_value=0, max_value=10**15)


@given(before=WORDS, after=WORDS, one=NUMBERS, other=NUMBERS)
def test_another_number_is_the_same_fault(before: list[str], after: list[str], one: int, other: int) -> None:
    texts = [" ".join([*before, str(number), *after]) for number in (one, other)]
    assert fingerprint("Refused", "c", texts[0]) == fingerprint("Refused", "c", texts[1])


@given(before=WORDS, one=st.uuids(), other=st.uuids())
def test_another_uuid_is_the_same_fault(before: list[str], one: UUID, other: UUID) -> None:
    texts = [" ".join([*before, str(id), "is gone"]) for id in (one, other)]
    assert plain_text(texts[0]) == plain_text(texts[1])


@given(before=WORDS, other=WORDS)
def test_other_words_are_another_fault(before: list[str], other: list[str]) -> None:
    same = before == other
    texts = [" ".join(words) for words in (before, other)]
    assert (fingerprint("E", "", texts[0]) == fingerprint("E", "", texts[1])) is same


@given(text=st.text(max_size=500))
def test_any_text_has_one_and_no_digit_is_left_in_it(text: str) -> None:
    plain = plain_text(text)
    assert not any(character.isdecimal() for character in plain)
    assert plain_text(plain) == plain, "what is plain stays so"
    assert len(fingerprint("E", "", text)) == 16


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no contact +972505550001", "no contact +1 (555) 010-0001"),
        ("message wamid.HBgLOTcyNTA1NTU0MTI is unknown", "message wamid.HBgMMTU1NTU1NTAxMDE is unknown"),
        ("bad address ann@example.org", "bad address bob.b@example.com"),
        ("GET https://a.example/x?y=z failed", "GET https://b.example/contacts/9 failed"),
        ("order IL-310214 is closed", "order IL-999999 is closed"),
        ("since 2026-11-28 19:12:57 UTC", "since 2026-01-02 03:04:05 UTC"),
    ],
)
def test_phones_ids_addresses_and_times_make_no_difference(one: str, other: str) -> None:
    assert plain_text(one) == plain_text(other)


def test_the_class_and_the_code_are_part_of_the_fault() -> None:
    codes = ("meta-131026", "meta-131047")
    assert len({fingerprint(name, code, "no") for name in ("Refused", "Malformed") for code in codes}) == 4
