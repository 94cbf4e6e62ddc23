"""The conversation of the demonstration on a terminal of any width."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from daemon.cli.demo_chat import NARROWEST, WIDEST, chat_lines
from daemon.demo.chat import Said

TEXTS = st.text(st.characters(categories=("L", "N", "P", "So", "Zs"), include_characters="\n"))
SAID = st.builds(
    Said,
    by=st.sampled_from(["customer", "bot"]),
    text=TEXTS,
    buttons=st.lists(st.text("Łódź日本 ab", min_size=1, max_size=24), max_size=10).map(tuple),
    how=st.sampled_from(["", "voice note", "tapped"]),
)


def test_the_customer_is_on_the_left_and_the_bot_on_the_right_with_its_buttons_in_brackets() -> None:
    said = [
        Said("customer", "Write a post"),
        Said("bot", "📏 How long should it be?", ("Short", "Very long")),
        Said("customer", "Short", how="tapped"),
    ]
    assert list(chat_lines(said, 40)) == [
        "",
        "  Write a post",
        "",
        "               📏 How long should it be?",
        "               [Short] [Very long]",
        "",
        "  Short (tapped)",
    ]


@pytest.mark.parametrize("columns", [NARROWEST, 40, WIDEST])
@given(said=SAID)
def test_whatever_is_said_fits_the_terminal_and_nothing_of_it_is_lost(columns: int, said: Said) -> None:
    lines = list(chat_lines([said], columns))
    assert max(map(cell_len, lines)) <= columns
    whole = "".join((said.text, *(f"[{title}]" for title in said.buttons), f"({said.how})" if said.how else ""))
    assert sorted("".join("".join(lines).split())) == sorted("".join(whole.split()))
