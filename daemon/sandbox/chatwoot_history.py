"""What the Chatwoot simulator answers to those who look through conversations: lists by pages or by time, and messages
with who has written them."""

from __future__ import annotations

import time
from typing import Final

from aiohttp import web

from daemon.sandbox import chatwoot_views as views
from daemon.sandbox.chatwoot_account import Conversation, Message
from daemon.sandbox.chatwoot_api import ChatwootApi

PER_PAGE: Final = 25
AFTER: Final = 100
BEFORE: Final = 20
BETWEEN: Final = 1000


class ChatwootHistory(ChatwootApi):
    """Takes the place of the two calls that look: by chatwoot/chatwoot, app/finders/conversation_finder.rb and
    message_finder.rb."""

    async def _conversations(self, request: web.Request) -> web.Response:
        query, found = request.query, list(self.account.conversations.values())
        if (status := query.get("status", "open")) != "all":
            found = [one for one in found if one.status == status]
        if (source_id := query.get("source_id")) is not None:
            found = [one for one in found if one.address == source_id]
        if (inbox_id := query.get("inbox_id")) is not None:
            found = [one for one in found if str(one.inbox_id) == inbox_id]
        found.sort(key=lambda one: -one.active_at)
        if (within := query.get("updated_within")) is not None:
            since = time.time() - int(within)
            shown = [one for one in found if one.active_at > since]
        else:
            first = (int(query.get("page", "1")) - 1) * PER_PAGE
            shown = found[first : first + PER_PAGE]
        payload = [views.conversation(one, self.account) for one in shown]
        return web.json_response({"data": {"meta": {"all_count": len(found)}, "payload": payload}})

    async def _messages(self, request: web.Request) -> web.Response:
        talk, query = self._talk(request), request.query
        after, before = (int(query[name]) if name in query else None for name in ("after", "before"))
        found = sorted(talk.messages, key=lambda one: one.id)
        if after is not None and before is not None:
            found = [one for one in found if after <= one.id < before][:BETWEEN]
        elif after is not None:
            found = [one for one in found if one.id > after][:AFTER]
        else:
            found = [one for one in found if before is None or one.id < before][-BEFORE:]
        shown = [views.message(one, talk) | _sender(one, talk) for one in found]
        return web.json_response({"meta": {"labels": []}, "payload": shown})


def _sender(one: Message, talk: Conversation) -> dict[str, object]:
    """Who has written it, where it is the person."""
    if one.message_type != 0:
        return {}
    who = talk.contact
    names = ("id", "name", "phone_number", "identifier", "email")
    return {"sender": {name: getattr(who, name) for name in names} | {"type": "contact"}}
