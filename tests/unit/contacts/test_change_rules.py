"""What becomes of what the directory tells, as a table; and that the order of arrival decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.contacts.change_rules import AGAIN_AFTER, News, news_of
from daemon.contacts.field_policy import FieldPolicy
from daemon.contacts.own_writes import marks_of
from daemon.contacts.told import in_force, never
from schemas.contact_changes import ContactChange
from schemas.contacts import FieldValue, ToldField

ORDERED = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
AT = ORDERED + MINUTE
POLICY = FieldPolicy(newest=frozenset({"Email"}), cgb=frozenset({"visa_flag"}))
FIELDS: Mapping[str, FieldValue] = {"Email": "noa@example.com", "visa_flag": "x", "visa_quantity": 2}


def change(at: datetime = AT, /, **fields: str) -> ContactChange:
    return ContactChange(system="cgb", contact_id="c", phone=None, at=at, fields=fields)


def news(told: ContactChange, before: Mapping[str, ToldField] | None = None, own: Sequence[str] = ()) -> list[News]:
    return news_of(told, FIELDS, lambda _: ORDERED, before or {}, own, POLICY)


@pytest.mark.parametrize(
    ("told", "owner", "taken"),
    [
        ({"Email": "new@example.com"}, "newest", True),
        ({"visa_flag": "y"}, "cgb", True),
        ({"visa_quantity": "3"}, "orders", False),
        ({"customer_name": "Noa"}, "orders", True),
        ({"favourite": "tea"}, "cgb", True),
    ],
    ids=["newest", "the directory's", "the orders'", "of which no order says anything", "that we do not write"],
)
def test_the_owner_decides(told: dict[str, str], owner: str, taken: bool) -> None:
    (one,) = news(change(**told))
    assert (one.owner, one.taken) == (owner, taken)


@pytest.mark.parametrize("told", [{"Email": "noa@example.com"}, {"visa_quantity": "2"}, {"visa_quantity": "2.0"}])
def test_what_the_contact_is_to_hold_anyway_is_no_news(told: dict[str, str]) -> None:
    assert news(change(**told)) == []


def test_a_change_of_before_the_order_is_kept_and_not_taken() -> None:
    (one,) = news(change(ORDERED - MINUTE, Email="old@example.com"))
    assert one == News("Email", "old@example.com", "noa@example.com", "newest", False)


def test_what_arrives_after_a_later_change_is_no_news() -> None:
    before = {"Email": ToldField("later@example.com", AT + MINUTE)}
    assert news(change(Email="sooner@example.com"), before) == []


def test_a_change_back_to_what_the_order_says_is_news() -> None:
    before = {"Email": ToldField("other@example.com", AT)}
    (one,) = news(change(AT + MINUTE, Email="noa@example.com"), before)
    assert (one.value, one.ours, one.taken) == ("noa@example.com", "other@example.com", True)


def test_our_own_write_that_comes_back_is_no_news() -> None:
    own = marks_of({"Email": "first@example.com"}, ["Email"], ORDERED)
    assert news(change(Email="first@example.com"), own=own) == []


def test_the_same_disagreement_is_written_over_once_in_a_while() -> None:
    """A directory that alters what it is given would else be written to without end."""
    before = {"visa_quantity": ToldField("2 pieces", AT)}
    assert news(change(AT + MINUTE, visa_quantity="2 pieces"), before) == []
    assert len(news(change(AT + AGAIN_AFTER, visa_quantity="2 pieces"), before)) == 1
    assert len(news(change(AT + MINUTE, visa_quantity="3 pieces"), before)) == 1


def test_without_an_order_everything_is_taken() -> None:
    found = news_of(change(Email="a@example.com", visa_quantity="3"), {}, never, {}, (), POLICY)
    assert [(one.field, one.ours, one.taken) for one in found] == [("Email", None, True), ("visa_quantity", None, True)]


class Ordered(NamedTuple):
    """An order of a minute, with what it says."""

    minute: int
    fields: Mapping[str, FieldValue]

    def said_at(self, field: str) -> datetime:
        return ORDERED + self.minute * MINUTE


def run(history: Sequence[Any]) -> dict[str, FieldValue]:
    """What the contact is to hold after *history*, as workers go through it."""
    newest: Ordered | None = None
    told: dict[str, ToldField] = {}
    for one in history:
        if isinstance(one, Ordered):
            newest = one if newest is None or newest.minute < one.minute else newest
            continue
        fields, said_at = ({}, never) if newest is None else (newest.fields, newest.said_at)
        for found in news_of(one, fields, said_at, told, (), POLICY):
            told[found.field] = ToldField(found.value, one.at)
    assert newest is not None
    return in_force(newest.fields, told, newest.said_at, POLICY)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Any], list[Any]]:
    """Orders and changes with a time and values of their own, in two orders of arrival."""
    minutes = draw(st.lists(st.integers(0, 100), min_size=2, max_size=7, unique=True))
    first = draw(st.integers(1, len(minutes)))
    names = draw(st.lists(st.sampled_from([*FIELDS]), min_size=len(minutes), max_size=len(minutes)))
    orders = [Ordered(m, {name: f"{name} of order {m}" for name in FIELDS}) for m in minutes[:first]]
    changes = [
        change(ORDERED + m * MINUTE, **{name: f"{name} at {m}"}) for m, name in zip(minutes, names, strict=True)
    ][first:]
    return draw(st.permutations([*orders, *changes])), draw(st.permutations([*orders, *changes]))


@given(histories())
def test_the_order_of_arrival_decides_nothing(both: tuple[list[Any], list[Any]]) -> None:
    one, other = both
    assert run(one) == run(other)
