"""`ferryman status`: how a worker's row reads."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.cli.status import _cells


@pytest.mark.parametrize(
    ("changed", "oldest"),
    [({}, "-"), ({"pending": 2}, "?"), ({"lag": None}, "?"), ({"pending": 2, "oldest_seconds": 3.9}, "3.9")],
)
def test_only_what_is_not_known_is_a_question_mark(changed: dict[str, Any], oldest: str) -> None:
    worker = {"state": "running", "lag": 0, "pending": 0, "oldest_seconds": None} | changed
    assert _cells(worker)[-1] == oldest
