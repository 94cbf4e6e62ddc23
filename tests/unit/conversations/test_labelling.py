"""Which list of labels a conversation is to have: values in, values out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.conversations.labels.labelling import Wish, planned
from daemon.conversations.labels.requests import lost_by

RIVALS = {title: frozenset({"hot", "warm", "cold"}) for title in ("hot", "warm", "cold")}


@pytest.mark.parametrize(
    ("present", "wish", "wanted"),
    [
        ([], Wish(("a", "b")), ["a", "b"]),
        (["x"], Wish(("a",)), ["x", "a"]),
        (["a", "x"], Wish(("a",)), ["a", "x"]),
        (["A"], Wish(("a",)), ["A"]),
        (["x", "warm"], Wish(("hot",), frozenset({"warm"})), ["x", "hot"]),
        (["x", "warm"], Wish(("hot",)), ["x", "warm"]),
        (["warm"], Wish(("hot",), asked=True), ["warm", "hot"]),
        (["hot", "warm"], Wish(("hot",), frozenset({"warm"})), ["hot"]),
        (["cold", "warm"], Wish(("hot",), frozenset({"warm"})), ["cold"]),
        (["warm"], Wish(()), ["warm"]),
    ],
)
def test_labels_are_a_union_and_of_an_exclusive_group_ours_goes(
    present: list[str], wish: Wish, wanted: list[str]
) -> None:
    assert planned(present, wish, RIVALS) == wanted


@pytest.mark.parametrize(
    ("before", "after", "posted", "put", "lost"),
    [
        (["a"], [], [], {"a"}, ()),
        (["a", "x"], ["x", "h"], [], {"a"}, ("a",)),
        (["x"], ["h"], [], {"a"}, ()),
        (["a", "h"], ["a", "b"], [(("a",), ("a", "b"))], {"a", "b"}, ("h",)),
        (["a", "b", "h"], ["a", "b"], [(("a",), ("a", "b"))], {"a", "b"}, ()),
        (["warm", "h"], ["hot"], [(("warm",), ("hot",))], {"warm", "hot"}, ("h",)),
        (["warm"], ["hot"], [], {"warm", "hot"}, ()),
        (["cold"], ["hot"], [((), ("hot",))], {"hot"}, ("cold",)),
    ],
)
def test_what_a_list_took_away_by_mistake_is_told_from_what_was_meant(
    before: list[str],
    after: list[str],
    posted: list[tuple[tuple[str, ...], tuple[str, ...]]],
    put: set[str],
    lost: tuple[str, ...],
) -> None:
    assert lost_by(before, after, posted, frozenset(put), RIVALS) == lost


_TITLES = st.sampled_from(["hot", "warm", "cold", "a", "b", "c"])


@given(st.lists(_TITLES, unique=True), st.lists(_TITLES), st.frozensets(_TITLES), st.booleans())
def test_nothing_that_is_not_ours_is_ever_taken_away(
    present: list[str], add: list[str], ours: frozenset[str], asked: bool
) -> None:
    wish = Wish(tuple(add), ours, asked=asked)
    wanted = planned(present, wish, RIVALS)
    assert set(present) - ours <= set(wanted)
    assert set(wanted) <= {*present, *add}
    assert planned(wanted, wish, RIVALS) == wanted, "done again it changes nothing"
