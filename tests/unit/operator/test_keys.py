"""Keys as operators type them and as lists show them."""

from __future__ import annotations

import pytest

from daemon.operator.keys import keys_meant, masked_key


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("+972505550001", "+…01"),
        ("email:ann@b.example", "email:…le"),
        ("order:IL-1", "order:…-1"),
        ("applicant:apl_1", "applicant:…_1"),
        ("unreadable:ferryman:{1}:orders:1-0", "unreadable:…-0"),
        ("x", "…x"),
        ("", "…"),
    ],
)
def test_a_key_in_a_list_shows_its_kind_and_its_end(key: str, shown: str) -> None:
    assert masked_key(key) == shown


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("+972505550001", "+972505550001"),
        ("972505550001", "+972505550001"),
        ("A@B.example", "email:a@b.example"),
        ("IL-1", "order:IL-1"),
        ("order:IL-1", "order:IL-1"),
        ("apl_1", "applicant:apl_1"),
    ],
)
def test_what_an_operator_types_may_mean_itself_and_the_key_that_it_names(text: str, key: str) -> None:
    meant = keys_meant(text)
    assert meant[0] == text
    assert key in meant
    assert len(meant) == len(set(meant))
