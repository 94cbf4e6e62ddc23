"""The one wait of the tests: for a condition, never for a time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, overload

PATIENCE_S: Final = 30.0

T = TypeVar("T")


@overload
async def until(
    condition: Callable[[], Awaitable[T]], what: str = "", within_s: float = PATIENCE_S, *, every_s: float = 0.01
) -> T: ...


@overload
async def until(
    condition: Callable[[], T], what: str = "", within_s: float = PATIENCE_S, *, every_s: float = 0.01
) -> T: ...


async def until(
    condition: Callable[[], Any], what: str = "", within_s: float = PATIENCE_S, *, every_s: float = 0.01
) -> Any:
    """The first true answer of *condition*, which may be sync or async.

    Raises: TimeoutError after *within_s* seconds. It names *what* was waited for (if not given, the condition as its
    caller wrote it) and the last answer.
    """
    give_up = time.monotonic() + within_s
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        if time.monotonic() > give_up:
            raise TimeoutError(f"waited {within_s:g} s in vain for: {what or _source(condition)}; got {answer!r}")
        await asyncio.sleep(every_s)


def _source(condition: Callable[[], object]) -> str:
    """The name of *condition*; of a lambda, its line."""
    name = getattr(condition, "__qualname__", repr(condition))
    return inspect.getsource(condition).strip() if name.endswith("<lambda>") else name
