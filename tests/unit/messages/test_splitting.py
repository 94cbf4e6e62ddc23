"""A long text as several messages: nothing is lost but white space, nothing is torn, and nothing is too long."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.registry import SENDERS
from daemon.messages.splitting import split
from daemon.messages.wiring import CHANNELS
from schemas.cleaned import is_within_a_character
from schemas.messages import Text

FAMILY = "👨\u200d👩\u200d👧"
PIECES = st.sampled_from(
    [" ", "\n", "\n\n", "\r\n", "\u00a0", "\u2029", ".", "! ", "。", "a", "ש", "é", "\u0301", "\u200f"]
)
WHOLE = st.sampled_from([FAMILY, "🇮🇱", "👍🏽", "e\u0301", "क्षि"])
TEXTS = st.lists(st.text(max_size=6) | PIECES | WHOLE, max_size=40).map("".join)


def at_most(most: int) -> Callable[[str], bool]:
    return lambda text: bool(text.strip()) and len(text) <= most


def bare(text: str) -> str:
    return re.sub(r"\s", "", text)


@given(TEXTS, st.integers(8, 40))
def test_the_parts_are_the_text_but_for_white_space_in_its_order_and_none_is_too_long(text: str, most: int) -> None:
    parts = split(text, at_most(most))
    if parts is None:
        assert not text.strip()
        return
    assert bare("".join(parts)) == bare(text)
    assert all(0 < len(part) <= most and part == part.strip() for part in parts)
    at = 0
    for part in parts:
        found = text.index(part, at)
        assert not text[at:found].strip()
        at = found + len(part)
    assert not text[at:].strip()


@given(st.lists(WHOLE, min_size=1, max_size=40).map("".join), st.integers(5, 20))
def test_no_visible_character_is_torn(text: str, most: int) -> None:
    parts = split(text, at_most(most))
    assert parts is not None
    at = 0
    for part in parts[:-1]:
        at += len(part)
        assert not is_within_a_character(text, at)


@given(st.lists(st.text("abש.", min_size=1, max_size=8) | st.sampled_from(["\n", "\n\n"])), st.integers(8, 40))
def test_no_word_is_torn_that_fits(words: list[str], most: int) -> None:
    text = " ".join(words)
    assert [word for part in split(text, at_most(most)) or [] for word in part.split()] == text.split()


@pytest.mark.parametrize(
    ("text", "most", "parts"),
    [
        ("short", 10, ["short"]),
        ("  one two  ", 7, ["one two"]),
        ("One. Two\nthree\n\nfour five", 20, ["One. Two\nthree", "four five"]),
        ("One. Two\nthree four five", 20, ["One. Two", "three four five"]),
        ("One. Two three four", 17, ["One.", "Two three four"]),
        ("He said \u201cgo.\u201d Then went", 20, ["He said \u201cgo.\u201d", "Then went"]),
        ("one two three", 9, ["one two", "three"]),
        ("one two", 3, ["one", "two"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("你好。再见你们", 5, ["你好。", "再见你们"]),
        ("price 10\u00a0000 now", 9, ["price", "10\u00a0000", "now"]),
        ("a\r\n\r\nb c", 5, ["a", "b c"]),
        ("one\n \n\t\n two", 5, ["one", "two"]),
        (FAMILY * 3, 11, [FAMILY * 2, FAMILY]),
        ("\u200f" + "אב " * 4, 6, ["\u200fאב אב", "אב אב"]),
        (" \n ", 5, None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_where_a_text_is_parted(text: str, most: int, parts: list[str] | None) -> None:
    assert split(text, at_most(most)) == parts


def test_a_text_that_nobody_takes_has_no_parts() -> None:
    assert split("a b", lambda text: False) is None


@pytest.mark.parametrize("provider", CHANNELS)
def test_each_provider_counts_for_itself(provider: str) -> None:
    refusal = SENDERS[provider]().refusal
    text = "\u200f" + "Ä🇮🇱 word. " * 1200
    parts = split(text, lambda part: refusal(Text(part)) is None)
    assert parts is not None
    assert len(parts) > 1
    assert all(refusal(Text(part)) is None for part in parts)
    assert all(refusal(Text(f"{one} {two}")) is not None for one, two in pairwise(parts[:-1]))
    assert bare("".join(parts)) == bare(text)
