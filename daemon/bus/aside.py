"""Work on large data beside the event loop: in a thread.

A body of some megabytes that is made of small objects takes seconds to read. In a thread it shares the interpreter with
the event loop, which goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

LARGE_BYTES: Final = 64 * 1024
"""Data of more bytes are large. Smaller ones hold the event loop for a few hundredths of a second at most."""


class Aside:
    """Takes one piece of work at a time."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def run(self, work: Callable[[], T], *, by: float | None = None) -> T:
        """The result of *work*. *by*: the time of the event loop at which its turn must have come.

        Raises: TimeoutError when it has not come; what *work* raises.
        """
        async with asyncio.timeout_at(by):
            await self._turn.acquire()
        try:
            return await in_thread(work)
        finally:
            self._turn.release()


async def in_thread(work: Callable[[], T]) -> T:
    """The result of *work*, which runs in a thread."""
    return await asyncio.to_thread(_uncollected, work)


def _uncollected(work: Callable[[], T]) -> T:
    """*work*, without garbage collections: each would walk its millions of new objects, and stop every thread."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return work()
    finally:
        if was_on:
            gc.enable()
