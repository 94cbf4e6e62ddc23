"""Rates: a token has so many rounds a minute, and others pay nothing for it."""

from __future__ import annotations

import pytest

from daemon.records.pulling import rates
from daemon.records.pulling.rates import Busy, Rates
from schemas.principals import Principal


def token(n: int) -> Principal:
    return Principal(kind="user", name="alice", role="operate", token=n)


def test_a_token_that_begins_too_many_rounds_is_told_when_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "ROUNDS_A_MINUTE", 60)
    now = [0.0]
    found = Rates(lambda: now[0])
    for _ in range(60):
        found.begin_round(token(1))
    with pytest.raises(Busy) as raised:
        found.begin_round(token(1))
    found.begin_round(token(2))
    now[0] += raised.value.retry_after_s
    found.begin_round(token(1))
    with pytest.raises(Busy):
        found.begin_round(token(1))


def test_who_waits_too_often_is_told_and_who_ends_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MOST_WAITERS", 1)
    found = Rates()
    with found.waiting(token(1)), found.waiting(token(2)), pytest.raises(Busy), found.waiting(token(1)):
        pass
    with found.waiting(token(1)):
        pass


def test_tokens_that_have_not_asked_for_long_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MOST_TOKENS", 2)
    found = Rates(lambda: 0.0)
    for n in range(5):
        found.begin_round(token(n))
    assert len(found._left) == 2
