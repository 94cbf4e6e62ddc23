"""What has changed is told once it is committed: to this process by the bell, to the workers by the stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from daemon.records.bell import Bell
from schemas.envelope import Event

MOST_WAITING: Final = 5000
"""Events that may wait for their turn. The sweeper publishes those beyond it, as it does when Redis is away."""

LINGER_S: Final = 0.05
"""So long events wait for those of the next pushes: they go in one round trip, and leave the outbox in one commit."""

log = structlog.get_logger(__name__)


class Publishing:
    """Publishes what the outbox holds already. Nobody waits for it: an answer is final whether or not Redis is there.
    *hurry*: as `Outside` has it."""

    def __init__(self, hurry: Callable[[Sequence[Event], Sequence[int]], Awaitable[None]], bell: Bell) -> None:
        self._hurry = hurry
        self._bell = bell
        self._waiting: list[tuple[Event, int]] = []
        self._task: asyncio.Task[None] | None = None

    def tell(self, events: Sequence[Event], seqs: Sequence[int]) -> None:
        """Tell of *events*, which were committed under the numbers *seqs*."""
        if not events:
            return
        self._bell.ring()
        if len(self._waiting) < MOST_WAITING:
            self._waiting += zip(events, seqs, strict=True)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._publish(), name="records-publish")

    def stop(self) -> None:
        """Leave what is not published yet to the sweeper."""
        if self._task is not None:
            self._task.cancel()

    async def _publish(self) -> None:
        while self._waiting:
            await asyncio.sleep(LINGER_S)
            now, self._waiting = self._waiting, []
            try:
                await self._hurry([event for event, _ in now], [seq for _, seq in now])
            except Exception as exc:
                log.info("records.unpublished", count=len(now), error=type(exc).__name__)
