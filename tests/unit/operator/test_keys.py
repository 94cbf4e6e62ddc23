"""Keys as operators type them and as lists show them."""

from __future__ import annotations

import pytest

from daemon.operator.keys import keys_meant, masked_key, phones_meant


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
        ("1928826900123", "cgb:1928826900123"),
        ("+5215555550142", "+525555550142"),
        ("525555550142", "+525555550142"),
        ("+551185550142", "+5511985550142"),
        ("+5511985550142", "+551185550142"),
    ],
)
def test_what_an_operator_types_may_mean_itself_and_the_key_that_it_names(text: str, key: str) -> None:
    meant = keys_meant(text)
    assert meant[0] == text
    assert key in meant
    assert len(meant) == len(set(meant))


@pytest.mark.parametrize(
    ("text", "phone"),
    [
        ("+972 50-555-0142", "+972505550142"),
        ("972505550142", "+972505550142"),
        ("00972505550142", "+972505550142"),
        ("050-555-0142", "+972505550142"),
        ("070-174 06 05", "+46701740605"),
        ("8 701 555 0100", "+77015550100"),
        ("٠٥٠٥٥٥٠١٤٢", "+972505550142"),
        ("+525555550142", "+5215555550142"),
    ],
)
def test_a_phone_is_meant_in_any_notation(text: str, phone: str) -> None:
    meant = phones_meant(text)
    assert phone in meant
    assert len(meant) == len(set(meant))


@pytest.mark.parametrize("text", ["", "IL-1", "a@b.example", "12", "chatwoot:1:7", "+", "x" * 5000])
def test_what_is_no_phone_means_none(text: str) -> None:
    assert phones_meant(text) == []
