"""Records, as everything in this process writes them."""

from __future__ import annotations

from daemon.bus.worker import Outside
from daemon.records.bell import Bell
from daemon.records.pushes import PushIn, PushOut
from schemas.principals import Principal
from schemas.records.answers import Answer
from schemas.records.operation import Operation


class Records:
    """Applies operations. One per process: what arrives together is written together. *woke*: rings after each commit
    that has changed records."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self.woke = Bell()

    async def push(self, principal: Principal, push: PushIn) -> PushOut:
        """Apply the operations of a replica. Raises: Refused; as the store."""
        raise NotImplementedError

    async def write(self, principal: Principal, operation: Operation, peer: str | None = None) -> Answer:
        """Apply one operation. *peer*: None: the principal stands for it. Raises: Refused; as the store."""
        raise NotImplementedError

    async def erase(self, model: str, record_id: str, *, by: str) -> bool:
        """Forget what a record holds, for good: it becomes a tombstone that never revives. Whether there was one that
        was not erased before. *by*: the person, for the audit log. Raises: as the store."""
        raise NotImplementedError
