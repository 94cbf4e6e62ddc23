"""The calls of the Chatwoot simulator about contacts that are found by a part of what is known of them, and merged."""

from __future__ import annotations

import re
import time
from typing import Any, Final

from aiohttp import web

from daemon.sandbox import chatwoot_views as views
from daemon.sandbox.chatwoot_account import Contact, Missing
from daemon.sandbox.chatwoot_api import BASE, ChatwootApi, body_of

MOST_SEARCHES: Final = 100
"""In a minute of the clock, of the whole account."""

_PER_PAGE: Final = 15
_SEARCHED: Final = ("name", "email", "phone_number", "identifier")


class ChatwootContacts(ChatwootApi):
    """The account with its search."""

    def __init__(self) -> None:
        super().__init__()
        self._searched = (0, 0)

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [
            *super().routes(),
            web.get(f"{BASE}/contacts/search", self._search),
            web.post(f"{BASE}/actions/contact_merge", self._merge),
        ]

    async def _search(self, request: web.Request) -> web.Response:
        minute = int(time.time() // 60)
        self._searched = (minute, self._searched[1] + 1 if self._searched[0] == minute else 1)
        if self._searched[1] > MOST_SEARCHES:
            return web.Response(status=429, text="Retry later\n")
        text = request.query.get("q", "").strip()
        found = [one for one in self.account.contacts.values() if text and _matches(one, text)]
        page = int(request.query.get("page", "1"))
        shown = found[(page - 1) * _PER_PAGE : page * _PER_PAGE]
        meta = {"count": len(shown), "current_page": page, "has_more": len(found) > page * _PER_PAGE}
        return web.json_response({"meta": meta, "payload": [views.contact(one, self.account) for one in shown]})

    async def _merge(self, request: web.Request) -> web.Response:
        given, contacts = body_of(request), self.account.contacts
        base, other = contacts.get(given.get("base_contact_id", 0)), contacts.get(given.get("mergee_contact_id", 0))
        if base is None or other is None:
            raise Missing
        self.merge(base, other)
        return web.json_response(views.contact(base, self.account))

    def merge(self, base: Contact, other: Contact) -> None:
        """*other* goes into *base*, whose own values win, and is gone; its conversations go over."""
        for talk in self.account.conversations.values():
            if talk.contact is other:
                talk.contact = base
        base.addresses += other.addresses
        for name in _SEARCHED:
            if getattr(base, name) is None:
                setattr(base, name, getattr(other, name))
        base.custom_attributes = other.custom_attributes | base.custom_attributes
        base.additional_attributes = other.additional_attributes | base.additional_attributes
        del self.account.contacts[other.id]


def _matches(one: Contact, text: str) -> bool:
    """Whether a part of what is known of *one* is *text*, in which % and _ stand for anything."""
    pattern = re.escape(text).replace("%", ".*").replace("_", ".")
    values: list[Any] = [getattr(one, name) for name in _SEARCHED]
    return any(value is not None and re.search(pattern, value, re.I) for value in values)
