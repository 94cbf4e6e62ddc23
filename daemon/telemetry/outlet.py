"""Where log lines leave the process: a bounded queue and a thread of its own.

A reader that stalls (a full pipe) then stops no part of the process. Lines that do not fit are dropped and counted, and
one line tells how many when the reader goes on.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from types import TracebackType
from typing import Final

import structlog

LIMIT: Final = 2 * 1024 * 1024
"""Most bytes that wait for the reader."""

AT_ONCE: Final = select.PIPE_BUF
"""Most bytes of one write: where a pipe is writable, so many fit and the write does not block."""

LOOK_S: Final = 0.1
LAST_LINES_S: Final = 1.0
"""Longest wait for the reader at the end."""

log = structlog.get_logger(__name__)


class Outlet:
    """Writes lines to a file descriptor. As a context manager, it writes what waits before it ends."""

    def __init__(self, descriptor: int, *, limit: int = LIMIT) -> None:
        self._descriptor = descriptor
        self._limit = limit
        self._lines: deque[bytes] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._give_up_at: float | None = None
        self._untold = 0
        self._dropped = 0
        # a daemon: a write that blocks all the same does not keep the process
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Queue *line*, which ends with a newline. Never blocks and never raises."""
        with self._changed:
            if self._give_up_at is not None or self._waiting + len(line) > self._limit:
                self._drop(1)
                return
            self._lines.append(line)
            self._waiting += len(line)
            self._changed.notify()

    def take_dropped(self) -> int:
        """How many lines were dropped since the last call."""
        with self._changed:
            taken, self._dropped = self._dropped, 0
            return taken

    def flush(self) -> None:
        """Nothing: the thread writes as soon as the reader takes it."""

    def close(self) -> None:
        """Write what waits, for LAST_LINES_S at most. What is queued afterwards is dropped."""
        with self._changed:
            self._give_up_at = time.monotonic() + LAST_LINES_S
            self._changed.notify()
        self._thread.join(LAST_LINES_S + 2 * LOOK_S)

    def __enter__(self) -> Outlet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while lines := self._next():
            try:
                written = self._send(b"".join(lines))
            except OSError:  # the reader is gone, or the disk is full
                written = False
            with self._changed:
                if not written:
                    self._drop(len(lines))
                untold = self._untold if written else 0
                self._untold -= untold
            if untold:
                log.warning("log.lines_dropped", lines=untold)

    def _next(self) -> list[bytes]:
        """Whole lines for one write, at least one; [] at the end."""
        with self._changed:
            while not self._lines:
                if self._give_up_at is not None:
                    return []
                self._changed.wait()
            taken = [self._lines.popleft()]
            size = len(taken[0])
            while self._lines and size + len(self._lines[0]) <= AT_ONCE:
                taken.append(self._lines.popleft())
                size += len(taken[-1])
            self._waiting -= size
            return taken

    def _send(self, data: bytes) -> bool:
        """Write *data* as the reader takes it; false where the process ends before that."""
        ready = select.poll()
        ready.register(self._descriptor, select.POLLOUT)
        while data:
            if ready.poll(LOOK_S * 1000):
                data = data[os.write(self._descriptor, data[:AT_ONCE]) :]
            elif self._give_up_at is not None and time.monotonic() > self._give_up_at:
                return False
        return True

    def _drop(self, lines: int) -> None:
        self._untold += lines
        self._dropped += lines
