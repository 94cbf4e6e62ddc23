"""`/api/v1/sync/push`: what a replica has done meanwhile."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiohttp import web
from pydantic import ValidationError

from daemon.api.access import Access, Refused, principal_of
from daemon.api.description import described
from daemon.api.record_requests import refusal
from daemon.api.requests import body_of, guarded, json_answer
from daemon.records.pushing import pushes
from daemon.records.pushing.pushes import PushIn, PushOut
from daemon.records.pushing.service import Records
from daemon.web.problems import problem
from schemas.api.sync_push import SyncPush, SyncPushed
from schemas.api.wrong import told
from schemas.principals import Principal
from schemas.records.operation import MOST_OPERATIONS

PATH: Final = "/api/v1/sync/push"
OLD_PATH: Final = "/api/sync/push"
"""As the fifth seed document has it."""

MOST_BYTES: Final = 4 * 1024 * 1024

_PROBLEMS: Final = (409, 410)
_NONE: Final = object()
"""A number that is none."""


@dataclass(frozen=True, slots=True)
class SyncPushApi:
    """The route of pushes."""

    access: Access
    records: Records

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.post(PATH, guarded(self.access, self._push, write=False, records=True)),
            web.post(OLD_PATH, guarded(self.access, self._push_old, write=False, records=True)),
        ]

    @described("Push operations on records", takes=SyncPush, gives=SyncPushed, problems=_PROBLEMS)
    async def _push(self, request: web.Request) -> web.Response:
        """Each operation is answered by itself, for good: `applied`, `duplicate`, `conflict` or `rejected`. Sent again
        it changes nothing, so after a 503 all of it is. 409: `replica-forked`, another copy of the replica has pushed:
        take a new name, and begin anew; `loop`: the operations come from this server. 410: the server's history went
        back: begin anew."""
        asked = _read(await body_of(request, MOST_BYTES))
        principal = principal_of(request)
        try:
            return json_answer(_document(await self.records.push(principal, asked), principal))
        except pushes.Refused as refused:
            return refusal(refused)

    @described("Push operations on records, by its older path", takes=SyncPush, gives=SyncPushed, problems=_PROBLEMS)
    async def _push_old(self, request: web.Request) -> web.Response:
        return await self._push(request)


def _read(body: bytes) -> PushIn:
    """Raises: Refused."""
    try:
        given = SyncPush.model_validate(_object(body))
    except ValidationError as exc:
        raise Refused(problem(422, told(exc), type="malformed")) from None
    if len(given.operations) > MOST_OPERATIONS:
        detail = f"a push has at most {MOST_OPERATIONS} operations: send the others after it"
        raise Refused(problem(422, detail, type="too-many"))
    return PushIn(
        replica=given.replica,
        ack=given.ack,
        sent_at=given.sent_at,
        cursor=given.cursor,
        via=tuple(given.via),
        operations=given.operations,
        size=len(body),
    )


def _object(body: bytes) -> dict[str, Any]:
    """Raises: Refused where *body* is no JSON object."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = _leniently(body)
    if not isinstance(found, dict):
        raise Refused(problem(400, "the body must be a JSON object with `operations`", type="malformed"))
    return found


def _leniently(body: bytes) -> Any:
    """*body* with values that no JSON may hold, or none that we keep: NaN, 1e400, half a surrogate pair. The operation
    that has one is refused by itself, and the others go on. None: it cannot be read all the same."""
    try:
        return json.loads(body.decode(), parse_int=_number, parse_float=_number, parse_constant=_number)
    except (ValueError, RecursionError):
        return None


def _number(text: str) -> Any:
    """As the fast parser reads it; what that refuses is something that cannot be written as JSON either."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _NONE


def _document(done: PushOut, principal: Principal) -> dict[str, Any]:
    document = {
        "ack": done.ack,
        "server_time": done.server_time,
        "feed": done.feed,
        "principal": principal.key,
        "results": [answer.document() for answer in done.results],
    }
    return document | {"provisional": True} if done.provisional else document
