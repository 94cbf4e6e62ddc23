"""Sending what waits, so that no operation that the server cannot take holds up the others."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from adapters.sync.exchange import Bug, Forked, Pushed, TooLarge, Trouble, Upstream, UpstreamError
from adapters.sync.store import Queued, ReplicaStore, Verdict
from adapters.sync.verdicts import charged, delayed, refused, verdicts

MOST_BYTES: Final = 3_500_000
"""Of a push, as JSON: below what servers and proxies take."""

MOST_TRIES: Final = 3
"""Of a batch at which the server fails, before it is made smaller."""

_BETWEEN_TRIES_S: Final = 0.5
_AT_ONCE: Final = ("predecessor", "clock-ahead")
"""What an operation is sent again for at once, but once in a round: what stood in its way is gone."""


class _Unsendable(Exception):
    """What waits cannot be sent as it is; *error* says how the server takes it."""

    def __init__(self, error: UpstreamError) -> None:
        super().__init__(error.code)
        self.error = error


@dataclass(slots=True)
class Sending:
    """The pushes of one round. *states*: of the operations that were sent."""

    store: ReplicaStore
    upstream: Upstream
    via: Sequence[str]
    batch: int
    states: dict[UUID, str] = field(default_factory=dict)
    _size: int = 0
    _suspects: bool = False
    _renewed: bool = False
    _hastened: set[UUID] = field(default_factory=set)

    async def all_due(self) -> None:
        """Send every operation that is due. Raises: UpstreamError; as the store.

        A batch that cannot be sent becomes smaller until the operation at fault is alone: that one is charged, and
        leaves the way. The next batches grow again.
        """
        self._size = self.batch
        while await self.store.due(1, MOST_BYTES):
            async with self.store.turn():
                if waiting := await self.store.due(self._size, MOST_BYTES):
                    await self._batch(waiting)

    async def _batch(self, waiting: Sequence[Queued]) -> None:
        try:
            pushed = await self._stubborn(waiting)
        except _Unsendable as unsendable:
            if len(waiting) == 1:
                await self._settle(None, [_blamed(waiting[0], unsendable.error)])
            else:
                self._size = len(waiting) // 2
        else:
            await self._settle(pushed.ack, verdicts(waiting, pushed.answers))
            self._size = min(self.batch, self._size * 2)

    async def _stubborn(self, waiting: Sequence[Queued]) -> Pushed:
        """Push *waiting*; again, where the server fails at it but takes an empty push. Raises: _Unsendable: what waits
        is at fault; UpstreamError: the server is."""
        tries = 0
        while True:
            tries += 1
            try:
                return await self._push(waiting)
            except TooLarge as error:
                raise _Unsendable(error) from None
            except (Bug, Trouble) as error:
                fault: UpstreamError = error
            await self._settle((await self._push(())).ack, ())
            if isinstance(fault, Bug) or self._suspects or tries == MOST_TRIES:
                self._suspects = True
                raise _Unsendable(fault)
            await asyncio.sleep(random.uniform(0.0, _BETWEEN_TRIES_S))  # noqa: S311

    async def _push(self, waiting: Sequence[Queued]) -> Pushed:
        """Raises: UpstreamError."""
        operations = [one.operation for one in waiting]
        try:
            return await self.upstream.push(await self.store.identity(), operations, via=self.via)
        except Forked:
            if self._renewed:
                raise
        self._renewed = True
        await self.store.renew_identity()
        return await self.upstream.push(await self.store.identity(), operations, via=self.via)

    async def _settle(self, ack: str | None, found: Sequence[Verdict]) -> None:
        hasty = [self._hastened_once(one) for one in found]
        await self.store.settle(ack, hasty)
        for one in hasty:
            self.states[one.op_id] = one.state

    def _hastened_once(self, one: Verdict) -> Verdict:
        if one.state != "pending" or one.reason not in _AT_ONCE or one.op_id in self._hastened:
            return one
        self._hastened.add(one.op_id)
        return replace(one, after_s=0.0)


def _blamed(one: Queued, error: UpstreamError) -> Verdict:
    """The verdict on an operation that cannot be sent even alone."""
    if isinstance(error, TooLarge):
        return refused(one, "too-large", "the server does not take an operation of this size")
    if isinstance(error, Bug):
        return refused(one, "malformed", f"the server cannot read it ({error.code})")
    if not error.code.startswith("http-"):  # a slow line is nobody's fault, but others need not wait for it
        return delayed(one, error.code)
    return charged(one, "internal", f"the server fails at it ({error.code})")
