"""What is written to a provider: its length, and what it never holds."""

from __future__ import annotations

import unicodedata
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.cleaned import (
    NAME_LENGTH,
    TEXT_LENGTH,
    cleaned,
    cleaned_fields,
    cut,
    is_one_emoji,
    is_short_and_clean,
    visible,
)
from schemas.contacts import FieldValue

BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
FLAG = "\U0001f1ee\U0001f1f1"
TEXTS = st.text(
    st.characters()
    | st.characters(categories=["Cs", "Cc", "Mn", "Cf"])
    | st.sampled_from(FAMILY + FLAG + "\U0001f3fd\ufe0f\ud83d\ude00" + BIDIRECTIONAL),
    max_size=80,
)


@given(TEXTS, st.integers(min_value=1, max_value=40))
def test_a_cleaned_text_is_short_visible_and_stays_the_same(text: str, most: int) -> None:
    result = cleaned(text, most)
    assert isinstance(result, str)
    assert len(result) <= most
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in BIDIRECTIONAL for c in result)
    assert cleaned(result, most) == result
    result.encode()


@given(TEXTS)
def test_what_is_short_enough_is_not_cut(text: str) -> None:
    assert cut(text, len(text) or 1) == text


@given(st.text(st.sampled_from("ab \u05d0\u0434\u00e9"), max_size=50), st.integers(min_value=1, max_value=40))
def test_plain_text_is_cut_at_the_length_exactly(text: str, most: int) -> None:
    assert cleaned(text, most) == text[:most]


@pytest.mark.parametrize(
    ("whole", "mark"),
    [
        ("e\u0301", "an accent of its own"),
        ("\u05e9\u05c1\u05b8", "Hebrew points"),
        ("\u0915\u094d\u0937\u093f", "Devanagari"),
        ("\U0001f44d\U0001f3fd", "a thumb of a colour"),
        (FAMILY, "a family"),
        (FLAG, "a flag"),
        ("\u2764\ufe0f", "a heart in colour"),
        ("\u1100\u1161\u11a8", "a Korean syllable in parts"),
    ],
)
def test_a_cut_is_never_inside_a_visible_character(whole: str, mark: str) -> None:
    text = "ab" + whole * 10
    allowed = {"ab" + whole * n for n in range(11)}
    for most in range(2, len(text)):
        kept = cut(text, most)
        assert kept in allowed, (most, kept)
        assert most - len(kept) < len(whole)


def test_a_break_of_a_line_is_one_character() -> None:
    assert cut("ab\r\nc", 3) == "ab"


EMOJI = [
    "👍",
    "👍🏽",
    "❤️",
    "❤",
    "👩‍🚀",
    FAMILY,
    FLAG,
    "1️⃣",
    "#️⃣",
    "ℹ️",
    "‼️",
    "✅",
    "\U0001fae8",
    "🏴\U000e0067\U000e0062\U000e007f",
]


@pytest.mark.parametrize("text", EMOJI)
def test_an_emoji_is_one(text: str) -> None:
    assert is_one_emoji(text)


NO_EMOJI = [
    "",
    " ",
    "a",
    "1",
    "ok",
    ":)",
    "👍👍",
    FLAG * 2,
    "👍 ",
    " 👍",
    "é",
    "e\u0301",
    "ש",
    "\u00a0",
    "\ud83d",
    "👍" + "\ufe0f" * 99,
]


@pytest.mark.parametrize("text", NO_EMOJI)
def test_what_is_no_emoji_or_more_than_one_is_none(text: str) -> None:
    assert not is_one_emoji(text)


def test_a_character_without_an_end_is_cut_like_any_text() -> None:
    assert cut("a" + "\u0301" * 500, 100) == "a" + "\u0301" * 99


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Noa\r\nExample\tB\u2028C", "Noa Example B C"),
        ("Noa\x00\x1b[31m\x7f\x9b", "Noa[31m"),
        ("\u202eaoN\u2066\u061c", "aoN"),
        ("\ud83d\ude00", "\U0001f600"),
        ("a\ud83d", "a\ufffd"),
        ("\ude00b\ud83d\ud83d\ude00", "\ufffdb\ufffd\U0001f600"),
        ("\u0645\u06cc\u200c\u062e " + FAMILY, "\u0645\u06cc\u200c\u062e " + FAMILY),
    ],
)
def test_control_and_bidirectional_characters_go_and_surrogates_become_characters(text: str, seen: str) -> None:
    assert visible(text) == seen


def test_names_are_shorter_than_other_texts_and_only_texts_are_cut() -> None:
    fields: dict[str, FieldValue] = {"customer_name": "n" * 2000, "visa_type": "t" * 2000, "n": 10**2000, "d": date.max}
    assert cleaned_fields(fields) == fields | {"customer_name": "n" * NAME_LENGTH, "visa_type": "t" * TEXT_LENGTH}


def test_what_is_taken_as_clean_at_a_glance_is_clean_for_every_character() -> None:
    texts = [chr(number) for number in range(0x110000)]
    assert [text for text in texts if is_short_and_clean(text) and visible(text) != text] == []
    assert is_short_and_clean("n" * NAME_LENGTH)
    assert not is_short_and_clean("n" * (NAME_LENGTH + 1))
