"""The outlet of the log: a reader that stalls costs lines, never the work."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from daemon.telemetry.outlet import Outlet
from tests.support.until import until

LINE = b"x" * 99 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """(reading end, writing end)"""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def drained(reading: int) -> bytes:
    """What the pipe holds now."""
    os.set_blocking(reading, False)
    found = b""
    try:
        while part := os.read(reading, 65536):
            found += part
    except BlockingIOError:
        return found
    return found


async def test_what_a_stalled_reader_does_not_take_is_dropped_counted_and_told_once_when_it_goes_on(
    pipe: tuple[int, int],
) -> None:
    lines = 65536 // 100 + 50
    with capture_logs() as told, Outlet(pipe[1], limit=3000) as out:
        for _ in range(10):
            out.write(LINE)
        assert await until(lambda: drained(pipe[0]) == LINE * 10 or None, within_s=5)
        for _ in range(lines):
            out.write(LINE)
        dropped = out.take_dropped()
        assert dropped > 0
        taken = b""

        def all_taken() -> bool:
            nonlocal taken
            taken += drained(pipe[0])
            return taken == LINE * (lines - dropped)

        await until(all_taken, within_s=5)
        await until(lambda: told, within_s=5)
        out.write(LINE)
    assert drained(pipe[0]) == LINE
    assert [(entry["event"], entry["lines"]) for entry in told] == [("log.lines_dropped", dropped)]


def test_the_last_lines_are_written_before_the_end(pipe: tuple[int, int]) -> None:
    with Outlet(pipe[1]) as out:
        for _ in range(300):
            out.write(LINE)
    assert drained(pipe[0]) == LINE * 300


def test_a_line_longer_than_one_write_comes_whole(pipe: tuple[int, int]) -> None:
    long = b"y" * 20_000 + b"\n"
    with Outlet(pipe[1]) as out:
        out.write(LINE)
        out.write(long)
        out.write(LINE)
    assert drained(pipe[0]) == LINE + long + LINE


def test_a_reader_that_is_gone_fails_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with Outlet(writing) as out:
        out.write(LINE)
    os.close(writing)
    assert out.take_dropped() == 1
