"""The gate: the one way out to a channel. Breaker, rate limit, permit and request, in this order.

An answer from an adapter's cache does not pass the gate, so it does not count as an answer of the other side.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from aiohttp import ClientSession

from adapters import permit
from adapters.channel import Channel
from adapters.http import MAX_BODY_BYTES, READS, Part, Reply, coded, exchange
from adapters.redis.limits import RateLimiter, Ticket
from schemas.errors import (
    ChannelDown,
    FerrymanError,
    LeaseLost,
    NotSent,
    Operation,
    Refused,
    TooLong,
    Transient,
    Uncertain,
)

T = TypeVar("T")

_NO_SUCH_LOOK: Final = ("http-404", "http-405", "http-501")
"""The codes of an answer that has no such read, as that of a gateway which takes messages alone."""

_NO_PATH: Final = ("http-404", "http-405")
"""How the codes begin of a failure that says that the address is wrong, whomever the call is about."""


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
    not begin again each time. All requests of a call have the priority of its event.
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
        parts: Sequence[Part] | None = None,
        look: Callable[[], Look] | None = None,
        about: str | None = None,
        neutral: Callable[[], Look] | None = None,
        asks: bool = False,
        claim: Callable[[], Awaitable[None]] | None = None,
        max_body: int = MAX_BODY_BYTES,
    ) -> T:
        """Send one request; returns what *judge* makes of its answer, of which at most *max_body* bytes are read.

        Raises: NoPlace, ChannelClosed, LeaseLost without a request; else what `exchange` and *judge* raise. An answer
        that asks for patience (Transient, limited) pauses the scope in every process.

        One customer's refusal may look like a fault of the account. So with a *look*, ChannelDown is raised only where
        the look finds the account at fault as well. Else the refusal is Transient: it costs the event an attempt once
        the channel has answered others, and as long as it answers none, five in a row stop the calls.

        *about*: the customer whom the call is about, None for the account itself. Where since the last answer only
        calls about this customer have failed, nothing tells an outage from an event that the system cannot digest. So
        from the fifth such failure on the *neutral* read is asked: where that is answered, the failure costs the event
        an attempt, and the breaker does not count it.

        A read whose answer is too long is asked once more, and then TooLong: the breaker does not count it. Where the
        account itself is answered so, it is ChannelDown, as no event is at fault.

        *asks*: the request changes nothing, although its method is that of a write. *claim*: awaited when the request
        has its place and may go out, before its first byte. A request that is claimed is not spent on finding out
        whether a system is back that has left calls in doubt: the *neutral* read is, and the request follows it.
        """
        operation: Operation = "read" if asks or method in READS else "write"
        self.channel.check(operation)
        await self._take_place()

        sent = {"headers": headers, "params": params, "json": json, "form": form, "parts": parts, "max_body": max_body}
        send = partial(self._send, method, url, **sent, write=operation == "write")

        async def make() -> T:
            reply = await self._read(send, about)
            try:
                return await self._judged(reply, judge)
            except ChannelDown as error:
                if look is None or await self._account_is_at_fault(look()):
                    raise
                raise _one_refusal(error) from None

        async def weighed() -> T:
            if claim is not None:
                if neutral is not None and self.channel.looks_first(operation):
                    await self._look_first(neutral())
                await claim()
            try:
                return await make()
            except (Transient, Uncertain) as error:
                await self._weigh(error, operation, about, neutral)
                raise

        return await self.channel.call(operation, weighed)

    async def _send(self, method: str, url: str, **sent: Any) -> Reply:
        return await exchange(self.session, method, url, system=self.system, timeout_s=self.timeout_s, **sent)

    async def _judged(self, reply: Reply, judge: Callable[[Reply], T]) -> T:
        """What *judge* makes of *reply*. An answer that asks for patience pauses the scope."""
        try:
            return judge(reply)
        except Transient as error:
            if error.limited:
                await self.limiter.pause(self.scope, error.retry_after_s)
            raise

    async def _read(self, send: Callable[[], Awaitable[Reply]], about: str | None) -> Reply:
        """What *send* returns, with a second try where the answer was too long."""
        with suppress(TooLong):
            return await send()
        await self.limiter.acquire(self.scope, permit.priority())
        try:
            return await send()
        except TooLong as error:
            if about is not None:
                raise
            raise coded(ChannelDown(f"{error}: check the address", channel=self.channel.name), error.code) from None

    async def _weigh(
        self,
        error: Transient | Uncertain,
        operation: Operation,
        about: str | None,
        neutral: Callable[[], Look] | None,
    ) -> None:
        """Marks *error* as the event's own where the system serves all others."""
        if error.answered or (isinstance(error, Transient) and error.limited):
            return
        of_the_address = error.code.startswith(_NO_PATH)
        lone = self.channel.alone(operation).failed(None if of_the_address else about)
        if lone and neutral is not None and await self._answers(neutral()):
            error.answered = True

    async def _look_first(self, look: Look) -> None:
        """Raises: Transient where *look* is not answered. Any answer will do, also that there is nothing to see."""
        try:
            await self._see(look)
        except Transient as error:
            if error.code not in _NO_SUCH_LOOK:
                raise
        except (ChannelDown, Refused, TooLong):
            pass

    async def _answers(self, look: Look) -> bool:
        """Whether *look* is answered; a refusal is an answer too."""
        try:
            await self._see(look)
        except LeaseLost:
            raise
        except FerrymanError as error:
            return isinstance(error, Refused)
        return True

    async def _account_is_at_fault(self, look: Look) -> bool:
        """Whether *look* says so; no when it gets no answer. Its answer is no sign that customers' calls are served,
        so no breaker hears of it."""
        try:
            await self._see(look)
        except LeaseLost:
            raise
        except FerrymanError as error:
            return isinstance(error, ChannelDown)
        return False

    async def _see(self, look: Look) -> None:
        await self.limiter.acquire(self.scope, permit.priority())
        await self._judged(await self._send("GET", look.url, headers=look.headers), look.judge)

    async def _take_place(self) -> None:
        mine = permit.current.get()
        if mine is None or mine.asked:
            await self.limiter.acquire(self.scope, permit.priority())
            return
        ticket = await self.limiter.take(self.scope, mine.ticket, mine.priority)
        if ticket is not None:
            raise NoPlace(ticket, self.system)
        mine.asked, mine.ticket = True, None


def _one_refusal(error: ChannelDown) -> Transient:
    """*error* as the refusal of one call, by an account that is sound."""
    refusal = Transient(f"{error}, while the account itself is not refused")
    refusal.said, refusal.code = error.said, error.code
    return refusal
