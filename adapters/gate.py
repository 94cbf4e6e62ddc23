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
from schemas.errors import ChannelDown, FerrymanError, LeaseLost, NotSent, Operation, Transient

T = TypeVar("T")


class NoPlace(NotSent):
    """Our own rate limit has no place now, or *system* has asked us to wait. *ticket* is called when it is worth asking
    again."""

    def __init__(self, ticket: Ticket, system: str = "the other side") -> None:
        super().__init__(f"{system} has asked us to wait" if ticket.paused else "our own rate limit has no place now")
        self.ticket = ticket


@dataclass(frozen=True, slots=True)
class Look:
    """A read that names no customer. *judge* raises ChannelDown where the account is at fault."""

    url: str
    headers: Mapping[str, str]
    judge: Callable[[Reply], object]


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
        look: Callable[[], Look] | None = None,
    ) -> T:
        """Send one request; returns what *judge* makes of its answer.

        Raises: NoPlace, ChannelClosed, LeaseLost without a request; else what `exchange` and *judge* raise. An answer
        that asks for patience (Transient, limited) pauses the scope in every process.

        One customer's refusal may look like a fault of the account. So with a *look*, ChannelDown is raised only where
        the look finds the account at fault as well. Else the refusal is Transient: it costs the event an attempt once
        the channel has answered others, and as long as it answers none, five in a row stop the calls.
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
            try:
                return judge(reply)
            except ChannelDown as error:
                if look is None or await self._account_is_at_fault(look()):
                    raise
                raise _one_refusal(error) from None

        try:
            return await self.channel.call(operation, make)
        except Transient as error:
            await self._pause(error)
            raise

    async def _pause(self, error: FerrymanError) -> None:
        if isinstance(error, Transient) and error.limited:
            await self.limiter.pause(self.scope, error.retry_after_s)

    async def _account_is_at_fault(self, look: Look) -> bool:
        """Whether *look* says so; no when it gets no answer. Its answer is no sign that customers' calls are served,
        so no breaker hears of it."""
        try:
            await self.limiter.acquire(self.scope)
            reply = await exchange(
                self.session, "GET", look.url, system=self.system, timeout_s=self.timeout_s, headers=look.headers
            )
            look.judge(reply)
        except LeaseLost:
            raise
        except ChannelDown:
            return True
        except FerrymanError as error:
            await self._pause(error)
        return False

    async def _take_place(self) -> None:
        mine = permit.current.get()
        if mine is None or mine.asked:
            await self.limiter.acquire(self.scope)
            return
        ticket = await self.limiter.take(self.scope, mine.ticket)
        if ticket is not None:
            raise NoPlace(ticket, self.system)
        mine.asked, mine.ticket = True, None


def _one_refusal(error: ChannelDown) -> Transient:
    """*error* as the refusal of one call, by an account that is sound."""
    refusal = Transient(f"{error}, while the account itself is not refused")
    refusal.said, refusal.code = error.said, error.code
    return refusal
