"""Who may ask the API: by a bearer token of the settings, or by a stored one of a person or an edge."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Literal, TypeAlias

from aiohttp import web

from adapters.postgres.pool import within
from adapters.postgres.tokens import Bearer
from daemon.api.description import Who
from daemon.api.outages import Outages
from daemon.api.stored_tokens import StoredTokens
from daemon.web.problems import problem
from schemas.principals import Principal
from schemas.tokens import is_token

Role: TypeAlias = Literal["admin", "readonly"]

MOST_FAILURES: Final = 10
"""Wrong tokens that one address may send within FORGET_S; then it waits."""

FORGET_S: Final = 60.0
LOOK_UP_S: Final = 2.0
"""How long a stored token from an address that waits may take to be found."""

MOST_ADDRESSES: Final = 10_000

INSTALLATION: Final[Mapping[Role, Principal]] = {
    "admin": Principal(kind="installation", name="admin", role="admin"),
    "readonly": Principal(kind="installation", name="readonly", role="read"),
}
"""Whom the tokens of the settings stand for."""

PRINCIPAL: Final = web.RequestKey("principal", Principal)


class Refused(Exception):
    """The request is not answered; *answer* says why."""

    def __init__(self, answer: web.Response) -> None:
        super().__init__(answer.status)
        self.answer = answer


def principal_of(request: web.Request) -> Principal:
    """Who asks, of a request that a route has let in."""
    return request[PRINCIPAL]


def why_not(principal: Principal, who: Who) -> str | None:
    """Why *principal* may not call a route that is for *who*; None: it may."""
    if who == "records":
        return None
    if who == "writer":
        return "this token only reads: send one whose role is operate or admin" if principal.role == "read" else None
    if principal.kind != "installation" and not principal.sees_all:
        return "this token is for records: send FERRYMAN_ADMIN_TOKEN, or a token whose role is admin"
    if who == "admin" and principal.role != "admin":
        return "this token only reads: send the admin token"
    return None


def allow(principal: Principal, who: Who) -> None:
    """Raises: Refused, where *principal* may not do what is for *who*."""
    if why := why_not(principal, who):
        raise Refused(problem(403, why))


class Access:
    """Tells by a request's token who asks. *tokens*: gives the tokens of a role that are in force. *stored*: the tokens
    of people and edges; None: there are none."""

    def __init__(
        self,
        tokens: Mapping[Role, Callable[[], Sequence[str]]],
        clock: Callable[[], float] = time.monotonic,
        stored: StoredTokens | None = None,
    ) -> None:
        self._tokens = tokens
        self._clock = clock
        self._stored = stored
        self.outages: Final = Outages()
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Address -> (wrong tokens, since when)."""
        self._one_by_one = asyncio.Lock()

    async def demand(self, request: web.Request, who: Who) -> Principal:
        """Who asks; `principal_of` gives it from now on. Raises: Refused, where that may not do what is for *who*; what
        the store of the tokens raises."""
        principal = await self._asker(_token(request), request.remote or "")
        request[PRINCIPAL] = principal
        allow(principal, who)
        return principal

    async def _asker(self, token: str, address: str) -> Principal:
        """Raises: Refused. An address that has sent too many wrong tokens waits. Stored tokens go past it: nobody
        guesses those, and many devices share an address. The tokens of the settings do not: people have chosen them."""
        stored = self._stored if is_token(token) else None
        if wait_s := self._waits(address):
            bearer = await self._found_meanwhile(stored, token) if stored else None
            if bearer is None:
                detail = "too many wrong tokens from this address: wait, then send the right one"
                raise Refused(problem(429, detail, headers={"Retry-After": str(int(wait_s) + 1)}))
        else:
            if found := self._of_settings(token):
                return found
            bearer = await stored.find(token) if stored else None
        if bearer is None:
            self._note(address)
            raise _unauthenticated(
                "send Authorization: Bearer TOKEN, with FERRYMAN_ADMIN_TOKEN, FERRYMAN_READONLY_TOKEN or a token of"
                " `ferryman tokens create`"
            )
        if bearer.ended:  # it was right once: nobody guesses here, and its device may ask for long
            raise _unauthenticated("this token was revoked or has expired: ask for a new one")
        return bearer.principal

    async def _found_meanwhile(self, stored: StoredTokens, token: str) -> Bearer | None:
        """Whom *token* of an address that waits stands for; None: nobody, or it took too long. Those that were not
        seen before are looked up one by one: however many wrong ones come, they take one connection of the store."""
        if stored.has_seen(token):
            return await stored.find(token)
        with suppress(TimeoutError):
            return await within(LOOK_UP_S, self._in_turn(stored, token))
        return None

    async def _in_turn(self, stored: StoredTokens, token: str) -> Bearer | None:
        async with self._one_by_one:
            return await stored.find(token)

    def _of_settings(self, token: str) -> Principal | None:
        given = token.encode(errors="surrogatepass")
        found: Role | None = None
        for role, tokens in self._tokens.items():  # all of them, so the time tells nothing
            for wanted in tokens():
                if hmac.compare_digest(given, wanted.encode()) and given:
                    found = found or role
        return None if found is None else INSTALLATION[found]

    def _waits(self, address: str) -> float:
        """Seconds that *address* waits yet; 0: it need not."""
        failures, since = self._failed.get(address, (0, 0.0))
        return max(0.0, since + FORGET_S - self._clock()) if failures >= MOST_FAILURES else 0.0

    def _note(self, address: str) -> None:
        now = self._clock()
        failures, since = self._failed.get(address, (0, now))
        self._failed[address] = (failures + 1, since) if since + FORGET_S > now else (1, now)
        self._failed.move_to_end(address)
        if len(self._failed) > MOST_ADDRESSES:
            self._failed.popitem(last=False)


def _token(request: web.Request) -> str:
    """The bearer token of *request*; "": it has none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _unauthenticated(detail: str) -> Refused:
    return Refused(problem(401, detail, headers={"WWW-Authenticate": "Bearer"}))
