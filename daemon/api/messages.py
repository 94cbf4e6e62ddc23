"""`/api/v1/messages`: send, look, take back."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import orjson
import structlog
from aiohttp import web
from pydantic import BaseModel, ValidationError

from adapters.json_guard import parse_object
from adapters.postgres.pool import Pool, store_is_down
from daemon.api.access import Access, Refused
from daemon.bus.worker import Clock
from daemon.operator import sending
from daemon.operator.sending import KeyTaken, NoSuchMessage, NotCanceled, NotSendable
from daemon.settings.in_force import InForce
from daemon.web.problems import problem
from schemas.api.messages import JobIn, MessageIn
from schemas.envelope import Event
from schemas.errors import Malformed

PATH: Final = "/api/v1/messages"
JOBS_PATH: Final = "/api/send-message"
"""Where older programs send messages, in shapes of their own."""

MOST_BYTES: Final = 256 * 1024
LONGEST_KEY: Final = 200
PAGE: Final = 50

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=BaseModel)
A = TypeVar("A")

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Api:
    """The routes of messages. *hurry*: publishes an event of the outbox, by its number, without waiting for the
    sweeper."""

    pool: Pool
    in_force: InForce
    access: Access
    now: Clock
    hurry: Callable[[Event, int], Awaitable[None]]

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.post(PATH, self._guarded(self._post, write=True)),
            web.post(JOBS_PATH, self._guarded(self._post_job, write=True)),
            web.get(PATH, self._guarded(self._list, write=False)),
            web.get(PATH + "/{id}", self._guarded(self._get, write=False)),
            web.delete(PATH + "/{id}", self._guarded(self._delete, write=True)),
        ]

    def _guarded(self, handler: _Handler, *, write: bool) -> _Handler:
        """*handler*, for those who may; its errors as problem documents."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                self.access.demand(request, write=write)
                return await handler(request)
            except Refused as refused:
                return refused.answer
            except NotSendable as exc:
                return problem(422, str(exc))
            except NoSuchMessage as exc:
                return problem(404, str(exc))
            except (KeyTaken, NotCanceled) as exc:
                return problem(409, str(exc))
            except Exception as exc:
                if not store_is_down(exc):
                    raise
                detail = "Postgres does not answer: it is not known whether the request was taken; send it again"
                return problem(503, detail, headers={"Retry-After": "2"})

        return guarded

    async def _post(self, request: web.Request) -> web.Response:
        return await self._send(request, _read(MessageIn, parse_object, await _body(request)))

    async def _post_job(self, request: web.Request) -> web.Response:
        job = _read(JobIn, parse_object, await _body(request))
        return await self._send(request, _read(MessageIn, JobIn.asked, job))

    async def _send(self, request: web.Request, given: MessageIn) -> web.Response:
        queued = await sending.send(
            self.pool, self.in_force.settings, given, purpose="api", key=_key(request), now=self.now()
        )
        if queued.event is not None:
            await self.hurry(queued.event, queued.seq)
        return _json({"message_id": str(queued.id)}, status=202)

    async def _list(self, request: web.Request) -> web.Response:
        query = request.query
        limit = _whole(query.get("limit", str(PAGE)))
        found = await sending.listed(
            self.pool, before=_cursor(query.get("cursor")), to=query.get("to"), status=query.get("status"), limit=limit
        )
        last = found[-1] if len(found) == limit else None
        after = None if last is None else _cursor_text(last["created_at"], last["id"])
        return _json({"messages": found, "next": after})

    async def _get(self, request: web.Request) -> web.Response:
        return _json(await sending.show(self.pool, _id(request)))

    async def _delete(self, request: web.Request) -> web.Response:
        await sending.cancel(self.pool, _id(request))
        return _json({"id": request.match_info["id"], "status": "canceled"})


def _json(document: Any, *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")


async def _body(request: web.Request) -> bytes:
    """Raises: Refused where it is too large."""
    body = await request.content.read(MOST_BYTES + 1)
    while len(body) <= MOST_BYTES and (more := await request.content.read(MOST_BYTES + 1 - len(body))):
        body += more
    if len(body) > MOST_BYTES:
        raise Refused(problem(413, f"the body has more than {MOST_BYTES // 1024} KiB"))
    return body


def _read(model: type[M], read: Callable[[A], Any], given: A) -> M:
    """What *read* makes of *given*, as *model*. Raises: Refused, naming what is wrong and never its value."""
    try:
        return model.model_validate(read(given))
    except Malformed as exc:
        raise Refused(problem(400, f"the body is no JSON object: {exc}")) from None
    except ValidationError as exc:
        errors = exc.errors(include_input=False, include_context=False, include_url=False)
        told = "; ".join(_told(error["loc"], error["msg"]) for error in errors[:5])
        raise Refused(problem(422, told)) from None


def _told(place: tuple[int | str, ...], said: str) -> str:
    name = ".".join(str(part) for part in place[:4])[:100]
    return f"{name}: {said}" if name else said.removeprefix("Value error, ")


def _key(request: web.Request) -> str | None:
    """Raises: Refused where the key makes no sense."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not key.strip() or len(key) > LONGEST_KEY or not key.isprintable():
        raise Refused(problem(400, f"Idempotency-Key must have 1 to {LONGEST_KEY} printable characters"))
    return key.strip()


def _id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        raise Refused(problem(404, "there is no message with this id: an id is a UUID")) from None


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) <= sending.MOST_LISTED):
        raise Refused(problem(400, f"limit must be a number from 1 to {sending.MOST_LISTED}"))
    return int(text)


def _cursor_text(at: datetime, id: str) -> str:
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{id}".encode()).decode()


def _cursor(text: str | None) -> tuple[datetime, UUID] | None:
    """Raises: Refused where *text* is none of ours."""
    if text is None:
        return None
    try:
        at, _, id = base64.urlsafe_b64decode(text.encode()).decode().partition("|")
        return datetime.fromisoformat(at), UUID(id)
    except (ValueError, binascii.Error):
        raise Refused(problem(400, "cursor must be what `next` said")) from None
