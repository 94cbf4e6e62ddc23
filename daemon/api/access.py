"""Who may ask the API: a bearer token, of an administrator or read-only."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

from aiohttp import web

from daemon.web.problems import problem

Role: TypeAlias = Literal["admin", "readonly"]

MOST_FAILURES: Final = 10
"""Wrong tokens that one address may send within FORGET_S; then it waits."""

FORGET_S: Final = 60.0
MOST_ADDRESSES: Final = 10_000


class Refused(Exception):
    """The request is not answered; *answer* says why."""

    def __init__(self, answer: web.Response) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Access:
    """Tells by a request's token what it may do. *tokens*: gives the tokens of a role that are in force."""

    def __init__(
        self, tokens: Mapping[Role, Callable[[], Sequence[str]]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tokens = tokens
        self._clock = clock
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Address -> (wrong tokens, since when)."""

    def demand(self, request: web.Request, *, write: bool) -> None:
        """Raises: Refused, where the request's token does not allow to read, or to *write*."""
        address = request.remote or ""
        failures, since = self._failed.get(address, (0, 0.0))
        left_s = since + FORGET_S - self._clock()
        if failures >= MOST_FAILURES and left_s > 0:
            detail = "too many wrong tokens from this address: wait, then send the right one"
            raise Refused(problem(429, detail, headers={"Retry-After": str(int(left_s) + 1)}))
        role = self._role(request)
        if role is None:
            self._note(address, failures if left_s > 0 else 0, since if left_s > 0 else self._clock())
            detail = "send Authorization: Bearer TOKEN, with FERRYMAN_ADMIN_TOKEN or FERRYMAN_READONLY_TOKEN"
            raise Refused(problem(401, detail, headers={"WWW-Authenticate": "Bearer"}))
        if write and role != "admin":
            raise Refused(problem(403, "this token only reads: send the admin token"))

    def _role(self, request: web.Request) -> Role | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token.strip().encode(errors="surrogatepass")
        found: Role | None = None
        if scheme.lower() != "bearer" or not given:
            return None
        for role, tokens in self._tokens.items():  # all of them, so the time tells nothing
            for wanted in tokens():
                if hmac.compare_digest(given, wanted.encode()):
                    found = found or role
        return found

    def _note(self, address: str, failures: int, since: float) -> None:
        self._failed[address] = failures + 1, since
        self._failed.move_to_end(address)
        if len(self._failed) > MOST_ADDRESSES:
            self._failed.popitem(last=False)
