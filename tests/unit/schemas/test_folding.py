"""Words are the same however they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.folding import accented, folded, plain


@pytest.mark.parametrize(
    ("text", "plainly", "with_accents", "bare"),
    [
        ("Curaçao", "Curaçao", "curaçao", "curacao"),
        ("initie\u0308le", "initiële", "initiële", "initiele"),
        ("ＶＩＰ", "VIP", "vip", "vip"),
        ("שָׁלוֹם", "שלום", "שלום", "שלום"),
        ("\u200fstop\u200e", "stop", "stop", "stop"),
        ("STRASSE", "STRASSE", "strasse", "strasse"),
        ("straße", "straße", "strasse", "strasse"),
    ],
)
def test_case_width_points_and_what_nobody_sees_make_no_other_word(
    text: str, plainly: str, with_accents: str, bare: str
) -> None:
    assert (plain(text), accented(text), folded(text)) == (plainly, with_accents, bare)


@given(st.text())
def test_what_is_folded_stays_as_it_is(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert accented(accented(text)) == accented(text)
