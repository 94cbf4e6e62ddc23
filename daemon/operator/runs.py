"""Long work that somebody has asked this process for. It ends with the process; asked for again, it goes on where its
table says that it was."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from daemon.operator.faults import Conflict

log = structlog.get_logger(__name__)


class Runs:
    """What is under way in this process: one run of each kind at a time, because it takes its turn behind live work."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[str, asyncio.Task[None]]] = {}
        """Kind -> (the run's id, its task)."""

    def require_free(self, kind: str) -> None:
        """Raises: Conflict, where one of *kind* is under way."""
        if (other := self._running.get(kind)) is not None:
            raise Conflict(f"{other[0]} is under way: wait for its end, and ask again")

    def is_running(self, id: str) -> bool:
        """Whether the run *id* is under way here."""
        return any(id == running for running, _ in self._running.values())

    def begin(self, kind: str, id: str, work: Coroutine[Any, Any, object]) -> None:
        """Let *work* go on behind the answer."""
        self._running[kind] = id, asyncio.create_task(self._watched(kind, id, work), name=id)

    async def run(self, stop: asyncio.Event) -> None:
        """The main function of its Service: until *stop*, then every run is cut."""
        await stop.wait()
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watched(self, kind: str, id: str, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except Exception as exc:  # nobody awaits it: who looks at the run sees that it has not ended
            log.warning("run.failed", run=id, error=repr(exc))
        finally:
            del self._running[kind]
