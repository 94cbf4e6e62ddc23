"""A deadline for many calls side by side, with one timer for all: `asyncio.timeout` sets one for each call, which costs
more than a short handler."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any


class Deadline:
    """Ends calls that take longer than *seconds*."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._calls: dict[Call, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def call(self) -> Call:
        """`with` around one call, within a task: raises TimeoutError in place of the cancellation that ended it."""
        return Call(self)

    def began(self, call: Call) -> None:
        """Start the time of *call*."""
        loop = asyncio.get_running_loop()
        call.until = loop.time() + self._seconds
        self._calls[call] = None
        if self._timer is None:
            self._timer = loop.call_at(call.until, self._look, loop)

    def ended(self, call: Call) -> None:
        """Forget *call*, which has ended."""
        self._calls.pop(call, None)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Expire the calls that are late, and set the timer for the oldest of the others. All calls have the same time,
        so the first to begin is the first to be late."""
        self._timer = None
        for call in list(self._calls):
            if call.until > loop.time():
                self._timer = loop.call_at(call.until, self._look, loop)
                return
            del self._calls[call]
            call.expire()


class Call:
    """One call under a Deadline."""

    __slots__ = ("_cancelling", "_deadline", "_task", "expired", "until")

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self.until = 0.0
        self.expired = False

    def __enter__(self) -> Call:
        task = asyncio.current_task()
        assert task is not None
        self._task: asyncio.Task[Any] = task
        self._cancelling = task.cancelling()
        self._deadline.began(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._deadline.ended(self)
        # as `asyncio.timeout`: a cancellation that came from elsewhere at the same time stays a cancellation
        if self.expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        """Cancel the task of the call, which then raises TimeoutError."""
        self.expired = True
        self._task.cancel()
