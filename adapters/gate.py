"""The gate: the one way out to a channel. Breaker, rate limit, permit and request, in this order.

An answer from an adapter's cache does not pass the gate, so it does not count as an answer of the other side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import ClientSession

from adapters import permit
from adapters.channel import Channel
from adapters.http import READS, Reply, exchange
from adapters.redis.limits import RateLimiter, Ticket
from schemas.errors import NotSent, Operation, Transient

T = TypeVar("T")


class NoPlace(NotSent):
    """Our own rate limit has no place now. *ticket* is called when it is worth asking again."""

    def __init__(self, ticket: Ticket) -> None:
        super().__init__("our own rate limit has no place now")
        self.ticket = ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Sends the requests of one channel.

    *scope*: what the rate limit counts by. *system*: the other side's name in errors. *timeout_s* bounds a request.

    The first request of a handler's call does not wait for its place: it raises NoPlace, and the event waits in its
    lane. A further request of the same call waits in the handler's slot, so a handler that asks more than once does
    not begin again each time.
    """

    session: ClientSession
    channel: Channel
    limiter: RateLimiter
    scope: str
    system: str
    timeout_s: float

    async def request(
        self,
        method: str,
        url: str,
        judge: Callable[[Reply], T],
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> T:
        """Send one request; returns what *judge* makes of its answer.

        Raises: NoPlace, ChannelClosed, LeaseLost without a request; else what `exchange` and *judge* raise. An answer
        that asks for patience (Transient, limited) pauses the scope in every process.
        """
        operation: Operation = "read" if method in READS else "write"
        self.channel.check(operation)
        await self._take_place()

        async def make() -> T:
            reply = await exchange(
                self.session,
                method,
                url,
                system=self.system,
                timeout_s=self.timeout_s,
                headers=headers,
                params=params,
                json=json,
                form=form,
            )
            return judge(reply)

        try:
            return await self.channel.call(operation, make)
        except Transient as error:
            if error.limited:
                await self.limiter.pause(self.scope, error.retry_after_s)
            raise

    async def _take_place(self) -> None:
        mine = permit.current.get()
        if mine is None or mine.asked:
            await self.limiter.acquire(self.scope)
            return
        ticket = await self.limiter.take(self.scope, mine.ticket)
        if ticket is not None:
            raise NoPlace(ticket)
        mine.asked, mine.ticket = True, None
