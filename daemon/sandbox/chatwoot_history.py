"""What the Chatwoot simulator answers to those who look through conversations: all by time, or page by page."""

from __future__ import annotations

import time
from typing import Final

from aiohttp import web

from daemon.sandbox import chatwoot_views as views
from daemon.sandbox.chatwoot_api import ChatwootApi

PER_PAGE: Final = 25


class ChatwootHistory(ChatwootApi):
    """Takes the place of the list of conversations: chatwoot/chatwoot, app/finders/conversation_finder.rb."""

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
