"""`/api/v1/messages`: send, look, take back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from aiohttp import web

from adapters.json_guard import parse_object
from adapters.postgres.pool import Pool
from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import (
    Handler,
    body_of,
    cursor_text,
    guarded,
    id_of,
    json_answer,
    key_of,
    query_of,
    read,
    row_of,
)
from daemon.bus.worker import Clock, Outside
from daemon.operator import reading, sending
from daemon.settings.in_force import InForce
from schemas.api.answers import Accepted, Canceled, MarkedRead, MessagePage, MessageWithUpdates
from schemas.api.messages import JOB_NAMES, JobIn, MessageIn
from schemas.api.queries import MessageQuery, ReadQuery
from schemas.envelope import Event

PATH: Final = "/api/v1/messages"
JOBS_PATH: Final = "/api/send-message"
"""Where older programs send messages, in shapes of their own."""


@dataclass(frozen=True, slots=True)
class Api:
    """The routes of messages. *hurry*: publishes an event of the outbox, by its number, without waiting for the
    sweeper. *outside*: what providers are reached by."""

    pool: Pool
    in_force: InForce
    access: Access
    now: Clock
    hurry: Callable[[Sequence[Event], Sequence[int]], Awaitable[None]]
    outside: Outside

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.post(PATH, self._guarded(self._post, write=True)),
            web.post(JOBS_PATH, self._guarded(self._post_job, write=True)),
            web.get(PATH, self._guarded(self._list, write=False)),
            web.get(PATH + "/{id}", self._guarded(self._get, write=False)),
            web.delete(PATH + "/{id}", self._guarded(self._delete, write=True)),
            web.post(PATH + "/{id}/read", self._guarded(self._mark_read, write=True)),
        ]

    def _guarded(self, handler: Handler, *, write: bool) -> Handler:
        return guarded(self.access, handler, write=write)

    @described("Send a message", takes=MessageIn, gives=Accepted, status=202, keyed=True)
    async def _post(self, request: web.Request) -> web.Response:
        return await self._send(request, read(MessageIn, parse_object, await body_of(request)))

    @described("Send a message, in the shapes of older programs", takes=JobIn, gives=Accepted, status=202, keyed=True)
    async def _post_job(self, request: web.Request) -> web.Response:
        job = read(JobIn, parse_object, await body_of(request))
        return await self._send(request, read(MessageIn, JobIn.asked, job, JOB_NAMES))

    async def _send(self, request: web.Request, given: MessageIn) -> web.Response:
        settings, key = self.in_force.settings, key_of(request)
        queued = await sending.send(self.pool, settings, given, purpose="api", key=key, now=self.now(), publishes=True)
        if queued.events:
            await self.hurry(queued.events, queued.seqs)
        return json_answer({"message_id": str(queued.id), "message_ids": list(map(str, queued.ids))}, status=202)

    @described("List messages, the newest first", query=MessageQuery, gives=MessagePage, problems=(422,))
    async def _list(self, request: web.Request) -> web.Response:
        query = query_of(request, MessageQuery)
        found = await sending.listed(self.pool, query, before=row_of(query.cursor))
        last = found[-1] if len(found) == query.limit else None
        after = None if last is None else cursor_text(last["created_at"], last["id"])
        return json_answer({"messages": found, "next": after})

    @described("How a message stands", gives=MessageWithUpdates)
    async def _get(self, request: web.Request) -> web.Response:
        return json_answer(await sending.show(self.pool, id_of(request)))

    @described("Take back a message that is still queued", gives=Canceled, problems=(409,))
    async def _delete(self, request: web.Request) -> web.Response:
        await sending.cancel(self.pool, id_of(request))
        return json_answer({"id": request.match_info["id"], "status": "canceled"})

    @described(
        "Mark a message as read that a person has written",
        query=ReadQuery,
        gives=MarkedRead,
        problems=(409, 502),
    )
    async def _mark_read(self, request: web.Request) -> web.Response:
        """Those before it are read with it, as WhatsApp shows it. Done again, it changes nothing. 409: the message is
        one of ours, or its provider cannot; 502 and 503: the provider does not answer, or is not called now."""
        query, outside = query_of(request, ReadQuery), replace(self.outside, settings=self.in_force.settings)
        return json_answer(await reading.marked_read(outside, id_of(request), account=query.account))
