"""What people write to have no messages, or to have them again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.messages.preferences import START, STOP, wants


@pytest.mark.parametrize("word", sorted(STOP))
def test_a_word_that_stops_is_understood_in_any_spelling(word: str) -> None:
    for text in (word, word.upper(), f"  {word.title()}! ", f"*{word}*\n", f"\u200f{word}."):
        assert wants(text) is False, text


@pytest.mark.parametrize(
    "text",
    [
        "STOP 🛑",
        "🙏stop🙏",
        "Stop, STOP, stop!!!",
        "ＳＴＯＰ",
        "stop\nall",
        "S\u0301TOP",
        "Arre\u0302t",
        "Stop\ufe0f",
        "הסר!! הסר",
    ],
)
def test_a_stop_with_pictures_accents_or_said_twice_is_a_stop(text: str) -> None:
    assert wants(text) is False


@pytest.mark.parametrize(
    ("word", "stops"), [("Stop promotions", False), ("הסר", False), ("Cancel", None), ("End", None)]
)
def test_a_button_that_cancels_something_else_stops_no_messages(word: str, stops: bool | None) -> None:
    assert wants(word, tapped=True) is stops


@pytest.mark.parametrize("word", sorted(START))
def test_a_word_that_starts_again_is_understood(word: str) -> None:
    assert wants(f"{word.upper()}!") is True


@pytest.mark.parametrize(
    "text",
    [
        "please stop by the office",
        "stop it now",
        "the end",
        "not stop",
        "stops",
        "",
        " ",
        None,
        "ok",
        "stop " * 20,
        "🛑",
    ],
)
def test_other_words_are_no_stop(text: str | None) -> None:
    assert wants(text) is None


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert wants(text) in (None, True, False)


def test_no_word_is_both() -> None:
    assert not STOP & START
