"""The points of a line of numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.pages.charts import EDGE, HEIGHT, WIDTH, points


@pytest.mark.parametrize(
    ("numbers", "line"),
    [([], ""), ([5], "0,2"), ([0, 0], "0,38 240,38"), ([0, 10, 5], "0,38 120,2 240,20"), ([-1, 1], "0,38 240,2")],
)
def test_the_largest_is_at_the_top_and_nothing_at_the_bottom(numbers: list[float], line: str) -> None:
    assert points(numbers) == line


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=100))
def test_every_number_has_a_point_inside_the_picture(numbers: list[float]) -> None:
    found = [tuple(map(float, one.split(","))) for one in points(numbers).split()]
    assert len(found) == len(numbers)
    assert all(0 <= x <= WIDTH + 0.01 and EDGE - 0.01 <= y <= HEIGHT - EDGE + 0.01 for x, y in found)
