"""`/api/v1/sync/pull`: what has changed since a replica has looked last."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from math import ceil
from typing import Final

import orjson
from aiohttp import web
from yarl import URL

from adapters.json_guard import parse_object
from daemon.api.access import Access, Refused, principal_of
from daemon.api.description import described
from daemon.api.requests import body_of, guarded, read, read_query
from daemon.records.pulling.cursor import REMEMBERED, Cursor, Unreadable, read_cursor
from daemon.records.pulling.pulls import LONGEST_WAIT_S, MOST_ROWS, Expired, PullIn
from daemon.records.pulling.rates import Busy
from daemon.records.pulling.service import Pulls
from daemon.web.answer import Whole
from daemon.web.problems import problem
from schemas.api.sync_pull import SyncPull, SyncPulled
from schemas.principals import Principal

PATH: Final = "/api/v1/sync/pull"
OLD_PATH: Final = "/api/sync/pull"
"""As the fifth seed document has it."""

_PROBLEMS: Final = (410, 422)


@dataclass(frozen=True, slots=True)
class SyncPullApi:
    """The routes of pulls."""

    access: Access
    pulls: Pulls

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.get(PATH, guarded(self.access, self._get, write=False, records=True)),
            web.post(PATH, guarded(self.access, self._post, write=False, records=True)),
            web.get(OLD_PATH, guarded(self.access, self._get_old, write=False, records=True)),
            web.post(OLD_PATH, guarded(self.access, self._post_old, write=False, records=True)),
        ]

    @described("Pull changes of records", query=SyncPull, gives=SyncPulled, problems=_PROBLEMS)
    async def _get(self, request: web.Request) -> web.Response:
        """The first pull goes without `since`, each later one with the `cursor` of the page before; while `more` is
        true, the next page is there at once. 410 `cursor-expired`: begin anew without `since`, and keep what was not
        pushed yet; `reason` says why. 429 `busy`: ask again after Retry-After."""
        return await self._answer(request, _of_query(request.rel_url.raw_query_string, self.pulls.models))

    @described("Pull changes of records, asked for in a body", takes=SyncPull, gives=SyncPulled, problems=_PROBLEMS)
    async def _post(self, request: web.Request) -> web.Response:
        given = read(SyncPull, parse_object, await body_of(request))
        return await self._answer(request, _asked(given, self.pulls.models))

    @described("Pull changes of records, by the older path", query=SyncPull, gives=SyncPulled, problems=_PROBLEMS)
    async def _get_old(self, request: web.Request) -> web.Response:
        return await self._get(request)

    @described(
        "Pull changes of records, by the older path and in a body", takes=SyncPull, gives=SyncPulled, problems=_PROBLEMS
    )
    async def _post_old(self, request: web.Request) -> web.Response:
        return await self._post(request)

    async def _answer(self, request: web.Request, asked: PullIn) -> web.Response:
        try:
            page = await self.pulls.pull(self._reader(request), asked, lambda: request.transport is None)
        except Expired as expired:
            return problem(410, str(expired), type="cursor-expired", members={"reason": expired.reason})
        except Busy as busy:
            headers = {"Retry-After": str(ceil(busy.retry_after_s))}
            return problem(429, str(busy), type="busy", headers=headers)
        document = page.document() | {"principal": principal_of(request).key}
        return Whole(orjson.dumps(document), HTTPStatus.OK)

    def _reader(self, request: web.Request) -> Callable[[], Awaitable[Principal]]:
        """Tells who reads: first whom the route has let in, then whom it would let in now."""
        first: list[Principal] = [principal_of(request)]

        async def reader() -> Principal:
            return first.pop() if first else await self.access.demand(request, "records")

        return reader


@lru_cache(maxsize=REMEMBERED)
def _of_query(query: str, models: frozenset[str]) -> PullIn:
    """What the query of a path asks for: a replica that has nothing new asks the same again and again. Raises:
    Refused."""
    return _asked(read_query(URL.build(path="/", query_string=query, encoded=True).query, SyncPull), models)


def _asked(given: SyncPull, models: frozenset[str]) -> PullIn:
    """Raises: Refused."""
    return PullIn(
        since=_since(given.since),
        models=_known(given.models, models),
        limit=min(given.limit, MOST_ROWS),
        wait_s=min(given.wait, LONGEST_WAIT_S),
        stamps=given.stamps,
    )


def _known(given: Sequence[str] | None, models: frozenset[str]) -> frozenset[str] | None:
    """Raises: Refused where one of *given* is none of *models*."""
    if given is None:
        return None
    if unknown := set(given) - models:
        known = ", ".join(sorted(models))
        raise Refused(problem(422, f"{len(unknown)} of `models` are not known here: {known} are", type="model"))
    return frozenset(given)


def _since(text: str) -> Cursor | None:
    """Raises: Refused where it is no cursor of ours."""
    if text in ("", "0"):
        return None
    try:
        return read_cursor(text)
    except Unreadable as exc:
        raise Refused(problem(400, f"{exc}: `since` must be what `cursor` said", type="malformed")) from None
