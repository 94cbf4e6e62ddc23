"""Titles of labels: what Chatwoot takes, and nothing else."""

from __future__ import annotations

import sys
import unicodedata
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.labels import LONGEST, NoTitle, is_title, same, title_of

PRIVATE = 0xF0000
"""A character of private use."""


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("journey:first-contact", "journey-first-contact"),
        ("journey-first-contact", "journey-first-contact"),
        ("Intent: Ready to buy!", "intent-ready-to-buy"),
        ("hot, lead", "hot-lead"),
        ("a.b/c", "a-b-c"),
        ("__x--y_", "x--y_"),
        ("- - vip", "vip"),
        ("journey-initiële-vraag", "journey-initiële-vraag"),
        ("initie\u0308le", "initiële"),
        ("ＶＩＰ", "vip"),
        ("לקוח חם", "לקוח-חם"),
        ("A" * LONGEST, "a" * LONGEST),
    ],
)
def test_a_text_becomes_the_title_that_it_stands_for(text: str, title: str) -> None:
    assert title_of(text) == title


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "two letters"),
        ("  ", "two letters"),
        (":!?", "two letters"),
        ("x", "two letters"),
        ("_-_", "two letters"),
        ("👍", "two letters"),
        ("a" * (LONGEST + 1), "more than 255"),
        ("हिन्दी", "mark"),
        ("\u0130stanbul", "mark"),
    ],
)
def test_what_can_be_no_title_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(NoTitle, match=why):
        title_of(text)


@given(st.text(max_size=300))
def test_any_text_becomes_a_title_that_chatwoot_takes_or_is_refused(text: str) -> None:
    try:
        title = title_of(text)
    except NoTitle:
        return
    assert _chatwoot_takes(title)
    assert title_of(title) == title, "a title is its own title"
    assert is_title(title)


@given(st.text(alphabet=st.characters(categories=("L", "N"), include_characters="-_"), min_size=2, max_size=255))
def test_what_chatwoot_takes_is_left_as_it_is(text: str) -> None:
    if text[0] in "-_" or len(text) < 2 or unicodedata.normalize("NFKC", text).lower() != text:
        return
    assert title_of(text) == text


def test_every_character_is_folded_to_an_end() -> None:
    titles = set()
    for point in range(sys.maxunicode + 1):
        if point != PRIVATE and unicodedata.category(chr(point)) in ("Cn", "Co", "Cs"):
            continue  # none of these means anything to anybody: they are as one
        with suppress(NoTitle):
            titles.add(title_of(f"a{chr(point)}b"))
    assert len(titles) > 100_000
    assert [title for title in titles if title_of(title) != title] == []


def test_labels_that_differ_in_capitals_are_one() -> None:
    assert same("Hot-Lead", "hot-lead")
    assert not same("hot-lead", "hot_lead")


def _chatwoot_takes(title: str) -> bool:
    kinds = [unicodedata.category(char)[0] for char in title]
    sound = all(kind in "LN" or char in "_-" for kind, char in zip(kinds, title, strict=True))
    return sound and kinds[0] in "LN" and 2 <= len(title) <= 255 and title == title.lower()
