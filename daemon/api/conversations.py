"""`/api/v1/conversations`: look for them, and look at one.

What looks is imported when somebody first asks: a daemon starts without the operators' verbs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from aiohttp import web

from adapters.postgres.operator.conversations import Wanted
from adapters.postgres.pool import Pool
from daemon.api.access import Access, allow, principal_of
from daemon.api.description import described
from daemon.api.requests import Handler, cursor_text, guarded, json_answer, query_of, row_of
from daemon.bus.worker import Clock
from daemon.operator.faults import Conflict
from schemas.api.conversation_answers import ConversationDetail, ConversationPage
from schemas.api.conversations import ConversationQuery, ShownQuery

PATH: Final = "/api/v1/conversations"
ONE: Final = PATH + "/{id}"

ACTOR: Final = "api"


@dataclass(frozen=True, slots=True)
class ConversationsApi:
    """The routes of conversations. `{id}` is whatever names one."""

    pool: Pool
    access: Access
    now: Clock

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [web.get(PATH, self._guarded(self._list)), web.get(ONE, self._guarded(self._get))]

    def _guarded(self, handler: Handler) -> Handler:
        return guarded(self.access, handler, write=False)

    @described(
        "List conversations, the newest first",
        query=ConversationQuery,
        gives=ConversationPage,
        problems=(403,),
    )
    async def _list(self, request: web.Request) -> web.Response:
        """`reveal=true` shows who the people are: it takes the admin token, and is written down."""
        from daemon.operator import conversations

        query = query_of(request, ConversationQuery)
        _may(request, reveal=query.reveal)
        found, more = await conversations.find(
            self.pool,
            query.q,
            Wanted(query.open, query.escalated, query.waiting),
            query.limit,
            reveal=query.reveal,
            actor=ACTOR,
            before=_before(query.cursor),
        )
        after = cursor_text(found[-1]["newest_at"], str(UUID(int=found[-1]["number"]))) if more else None
        return json_answer({"conversations": found, "next": after})

    @described(
        "How a conversation stands, and what waits in it",
        query=ShownQuery,
        named="phone, number or id",
        gives=ConversationDetail,
        problems=(403, 409),
    )
    async def _get(self, request: web.Request) -> web.Response:
        """`{id}`: Chatwoot's number of it (`481`, or `3:481` with its account), an id that a list has, a phone, the id
        of a message or of a content order; 409 where it fits several. `reveal=true` shows what was said and by whom: it
        takes the admin token, and is written down."""
        from daemon.operator import conversations
        from daemon.operator.naming import SeveralFit

        query = query_of(request, ShownQuery)
        _may(request, reveal=query.reveal)
        try:
            found = await conversations.show(
                self.pool, request.match_info["id"], query.limit, self.now(), reveal=query.reveal, actor=ACTOR
            )
        except SeveralFit as exc:
            raise Conflict(str(exc)) from None
        return json_answer(found)


def _may(request: web.Request, *, reveal: bool) -> None:
    """Raises: Refused, where the request is to *reveal* what its token does not allow to see."""
    if reveal:
        allow(principal_of(request), "admin")


def _before(cursor: str | None) -> tuple[datetime, int] | None:
    row = row_of(cursor)
    return None if row is None else (row[0], row[1].int)
