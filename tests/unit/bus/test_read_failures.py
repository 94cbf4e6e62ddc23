"""What the readers of a process tell of reads that fail."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from redis.exceptions import ConnectionError
from structlog.testing import capture_logs

from daemon.bus.read_failures import ReadFailures

WORKERS = [f"worker-{n}" for n in range(8)]


def told(steps: Sequence[tuple[str, str | None]]) -> list[str]:
    """The workers that the lines name, where reads of these workers fail with a text, or go well (None)."""
    failures = ReadFailures()
    with capture_logs() as lines:
        for worker, text in steps:
            if text is None:
                failures.over(worker)
            else:
                failures.failed(worker, ConnectionError(text))
    assert {line["event"] for line in lines} <= {"bus.read_failed"}
    return [line["worker"] for line in lines]


@pytest.mark.parametrize(
    ("steps", "lines"),
    [
        ([(one, "away") for one in WORKERS] * 50, ["worker-0"]),
        ([("a", "away"), ("b", "full"), ("a", "away"), ("b", "full")], ["a", "b"]),
        ([("a", "away"), ("a", None), ("a", "away")], ["a", "a"]),
        ([("a", "away"), ("b", "away"), ("a", None), ("a", "away")], ["a"]),
        ([("a", None), ("b", None)], []),
    ],
)
def test_a_failure_is_told_once_while_it_goes_on(steps: list[tuple[str, str | None]], lines: list[str]) -> None:
    assert told(steps) == lines
