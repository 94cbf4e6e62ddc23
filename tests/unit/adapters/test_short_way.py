"""When updates of CGB go field by field, and when the short way is tried again."""

from __future__ import annotations

from adapters.cgb.short_way import AGAIN_S, ShortWay


class Bed:
    def __init__(self) -> None:
        self.now = 100.0
        self.way = ShortWay(clock=lambda: self.now)


def test_one_refusal_leaves_the_short_way_open() -> None:
    bed = Bed()
    bed.way.refused()
    assert bed.way.open


def test_two_refusals_with_a_success_between_leave_it_open() -> None:
    bed = Bed()
    for _ in range(3):
        bed.way.refused()
        bed.way.taken()
    assert bed.way.open


def test_two_refusals_close_it_for_a_while_and_then_one_closes_it_again() -> None:
    bed = Bed()
    bed.way.refused()
    for _ in range(3):
        bed.way.refused()
        bed.now += AGAIN_S - 1
        assert not bed.way.open
        bed.now += 1
        assert bed.way.open


def test_once_it_is_taken_again_it_stays_open() -> None:
    bed = Bed()
    bed.way.refused()
    bed.way.refused()
    bed.now += AGAIN_S
    bed.way.taken()
    bed.way.refused()
    assert bed.way.open
