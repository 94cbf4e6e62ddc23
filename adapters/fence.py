"""The fence around what a handler sends out: asked at the last moment before each request.

A process may be stopped, or wait for a store or a connection, for longer than its lease. When it goes on, another one
has taken the event over: then a request that it had decided on before must not go out any more.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final


def _open() -> None:
    """Outside of a handler everything may go."""


check: Final[ContextVar[Callable[[], None]]] = ContextVar("check", default=_open)
"""Raises where the current task must send nothing more. Set by who runs handlers; tasks inherit it."""
