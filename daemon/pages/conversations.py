"""Conversations with people: the list, and one with what was said, what is asked, and what waits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from daemon.operator import conversations
from daemon.operator.faults import NotThere
from daemon.operator.lists import conversations as listing
from daemon.operator.lists.pages import Page, Position
from daemon.pages.lists import Column, Filter, ListView, filter_of, show
from daemon.pages.visit import Visit
from schemas.api.lists import ConversationFilter

SHOWN: Final = 50
"""Messages of a conversation that its page has, the newest."""

NAME: Final = re.compile(r"c[0-9]{1,18}|chatwoot:[0-9]{1,18}:[0-9]{1,18}")
"""What names a conversation in an address: nothing that tells who the person is."""

VIEW: Final = ListView(
    title="Conversations",
    path="/conversations",
    columns=[
        Column("id", "Conversation", href="/conversations/c{id}"),
        Column("newest_at", "Newest", "time"),
        Column("system", "By"),
        Column("name", "Name"),
        Column("phone", "Phone"),
        Column("status", "Status", "state"),
        Column("message_count", "Messages", "number"),
        Column("escalated_at", "Handed over", "time"),
        Column("escalated_why", "Why"),
    ],
    filters=[
        Filter("status", "Status", ["open", "pending", "snoozed", "resolved"]),
        Filter("escalated", "Handed to a person", ["true", "false"]),
    ],
    yet="A conversation is here once a person has written, by Chatwoot or by a WhatsApp channel: set up its webhook.",
)


async def listed(visit: Visit) -> web.Response:
    """Those in which a person has written last come first."""

    async def read(given: Mapping[str, str], cursor: str | None) -> Page:
        return await listing.page(visit.read, filter_of(ConversationFilter, given), Position(cursor))

    return await show(visit, VIEW, read)


async def page(visit: Visit) -> web.Response:
    """One of them. What was said, and by whom, is shown to who has revealed it."""
    name = visit.request.match_info["id"]
    if not NAME.fullmatch(name):
        raise NotThere(conversations.NONE)
    masked = await conversations.show(visit.read, name, SHOWN, visit.now, reveal=False, actor=visit.by)
    subject = f"conversation:{masked['number']}"
    told = masked
    if subject in visit.revealed:
        told = await conversations.show(visit.pool, name, SHOWN, visit.now, reveal=True, actor=visit.by)
    return visit.page("conversation.html", told=told, subject=subject)
