"""What the Chatwoot simulator keeps of labels and attributes, by the rules of Chatwoot's own code: a list of labels
replaces the former one, and so do the attributes of a conversation; those of a contact are merged."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from aiohttp import web

from daemon.sandbox import chatwoot_views as views
from daemon.sandbox.chatwoot_account import Account, Invalid
from daemon.sandbox.chatwoot_api import BASE, body_of
from daemon.sandbox.chatwoot_people import ChatwootPeople

_STATUSES: Final = ("open", "resolved", "pending", "snoozed")
_LONGEST: Final = 255
_LONGEST_VALUE: Final = 1500
_PARTS: Final = re.compile(r'\s*"([^"]*)"\s*(?:,|$)|\s*([^,]*)(?:,|$)')


@dataclass(slots=True)
class CrmRecords:
    """What was written to *account*. *changes*: conversation, and its labels before and after a change, as webhooks
    tell of it. *account_labels*: by title. *merges*: the release knows `merge`. *read_delay_s*, *write_delay_s*:
    seconds before labels are read, and between their arrival and their writing, in which others may write."""

    account: Account
    changes: list[tuple[int, list[str], list[str]]] = field(default_factory=list)
    account_labels: dict[str, dict[str, Any]] = field(default_factory=dict)
    merges: bool = False
    read_delay_s: float = 0.0
    write_delay_s: float = 0.0
    ids: count[int] = field(default_factory=lambda: count(51))

    @property
    def labels(self) -> dict[int, list[str]]:
        """By conversation."""
        return {talk.id: talk.labels for talk in self.account.conversations.values()}

    @property
    def talk_attributes(self) -> dict[int, dict[str, Any]]:
        """By conversation."""
        return {talk.id: talk.custom_attributes for talk in self.account.conversations.values()}

    @property
    def contact_attributes(self) -> dict[int, dict[str, Any]]:
        """By contact."""
        return {one.id: one.custom_attributes for one in self.account.contacts.values()}


class ChatwootCrm(ChatwootPeople):
    """The calls of a CRM beside those by which messages are sent. `crm`: what was written by them."""

    def __init__(self) -> None:
        super().__init__()
        self.crm = CrmRecords(self.account)

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [
            *super().routes(),
            web.get(f"{BASE}/labels", self._account_labels),
            web.post(f"{BASE}/labels", self._make_label),
            web.get(f"{BASE}/conversations/{{id}}", self._show),
            web.get(f"{BASE}/conversations/{{id}}/labels", self._labels),
            web.post(f"{BASE}/conversations/{{id}}/labels", self._put_labels),
            web.post(f"{BASE}/conversations/{{id}}/custom_attributes", self._put_attributes),
            web.post(f"{BASE}/conversations/{{id}}/toggle_status", self._toggle),
            web.put(f"{BASE}/contacts/{{id}}", self._change_contact),
            web.patch(f"{BASE}/contacts/{{id}}", self._change_contact),
        ]

    def set_labels(self, talk: int, labels: Iterable[str]) -> None:
        """Conversation *talk* has these labels and no others, as whoever writes them last has it."""
        before, after = self.account.conversations[talk].labels, list(labels)
        self.relabel(self.account.conversations[talk], after)
        if set(before) != set(after):
            self.crm.changes.append((talk, before, after))

    async def _account_labels(self, request: web.Request) -> web.Response:
        return _json({"payload": list(self.crm.account_labels.values())})

    async def _make_label(self, request: web.Request) -> web.Response:
        self.demand_administrator()
        asked = body_of(request)
        given = asked["label"] if isinstance(asked.get("label"), dict) else asked
        title = str(given.get("title") or "").lower()
        if not _is_title(title):
            raise Invalid("Title is invalid", "title")
        if title in self.crm.account_labels:
            raise Invalid("Title has already been taken", "title")
        self.crm.account_labels[title] = {
            "id": next(self.crm.ids),
            "title": title,
            "description": given.get("description"),
            "color": given.get("color") or "#1f93ff",
            "show_on_sidebar": given.get("show_on_sidebar"),
        }
        return _json(self.crm.account_labels[title])

    async def _show(self, request: web.Request) -> web.Response:
        return _json(views.conversation(self._talk(request), self.account))

    async def _labels(self, request: web.Request) -> web.Response:
        talk = self._talk(request)
        await asyncio.sleep(self.crm.read_delay_s)
        return _json({"payload": talk.labels})

    async def _put_labels(self, request: web.Request) -> web.Response:
        """A body without labels, or with a text for them, clears all."""
        talk = self._talk(request)
        given = body_of(request).get("labels")
        await asyncio.sleep(self.crm.write_delay_s)
        self.set_labels(talk.id, _tags(given) if isinstance(given, list) else [])
        return _json({"payload": talk.labels})

    async def _put_attributes(self, request: web.Request) -> web.Response:
        talk, asked = self._talk(request), body_of(request)
        given = asked.get("custom_attributes")
        given = given if isinstance(given, dict) else {}
        if any(isinstance(value, str) and len(value) > _LONGEST_VALUE for value in given.values()):
            raise Invalid("Custom attributes length should be <= 1500", "custom_attributes")
        was = talk.custom_attributes
        talk.custom_attributes = {**(was if self.crm.merges and asked.get("merge") is True else {}), **given}
        if was != talk.custom_attributes:
            self.happened("conversation_updated", talk, {"custom_attributes": (was, talk.custom_attributes)})
        return _json({"custom_attributes": talk.custom_attributes})

    async def _toggle(self, request: web.Request) -> web.Response:
        talk, status = self._talk(request), body_of(request).get("status")
        if status is not None and status not in _STATUSES:
            return web.json_response({"status": 500, "error": "Internal Server Error"}, status=500)
        self.set_status(talk, status or ("open" if talk.status == "resolved" else "resolved"), by=self.account.owner)
        told = {"success": True, "conversation_id": talk.id, "current_status": talk.status, "snoozed_until": None}
        return _json({"meta": {}, "payload": told})

    async def _change_contact(self, request: web.Request) -> web.Response:
        contact, asked = self._contact(request.match_info["id"]), body_of(request)
        others = [one for one in self.account.contacts.values() if one is not contact]
        if contact.phone_number is not None and any(one.phone_number == contact.phone_number for one in others):
            raise Invalid("Phone number has already been taken", "phone_number")
        given = asked.get("custom_attributes")
        was, given = contact.custom_attributes, given if isinstance(given, dict) else {}
        contact.custom_attributes = was | given
        if was != contact.custom_attributes:
            self.happened("contact_updated", contact, {"custom_attributes": (was, contact.custom_attributes)})
        return _json({"payload": views.contact(contact, self.account)})


def _tags(given: Iterable[Any]) -> list[str]:
    """As the list is read: joined by commas, parted at commas that are not in quotes, without doubles."""
    text = ", ".join(str(one) for one in given)
    found = [(quoted or plain).strip() for quoted, plain in _PARTS.findall(text)]
    return list(dict.fromkeys(one for one in found if one))


def _is_title(title: str) -> bool:
    kinds = [unicodedata.category(char)[0] for char in title]
    sound = all(kind in "LN" or char in "_-" for kind, char in zip(kinds, title, strict=True))
    return 2 <= len(title) <= _LONGEST and sound and kinds[0] in "LN"


def _json(document: Any) -> web.Response:
    return web.json_response(document)
