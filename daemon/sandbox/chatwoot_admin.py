"""The calls of the Chatwoot simulator by which an account is set up: its webhooks, definitions of attributes, agents
and inboxes, and who owns the token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from itertools import count
from typing import Any, Final

from aiohttp import web

from daemon.sandbox import chatwoot_views as views
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, Invalid, Missing
from daemon.sandbox.chatwoot_api import BASE, ChatwootApi, body_of
from daemon.sandbox.chatwoot_hooks import EVENTS, Webhook
from daemon.sandbox.chatwoot_staff import INES

_ADDRESS: Final = re.compile(r"https?://[^\s/]+")
_KEY: Final = re.compile(r"[\w.\-]+")
_OF_CHATWOOT: Final = frozenset(
    {
        *("name", "email", "phone_number", "identifier", "country_code", "city", "company_name", "created_at"),
        *("last_activity_at", "referer", "blocked"),
    }
)
"""Attributes that a contact has anyway (app/models/custom_attribute_definition.rb)."""

_MODELS: Final = ("conversation_attribute", "contact_attribute")
_TYPES: Final = ("text", "number", "currency", "percent", "link", "date", "list", "checkbox")


class ChatwootAdmin(ChatwootApi):
    """The account with what administrators set up. `definitions`: of attributes, as the API shows them."""

    def __init__(self) -> None:
        super().__init__()
        self.definitions: list[dict[str, Any]] = []
        self._definition_ids = count(71)

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [
            *super().routes(),
            web.get(f"{BASE}/webhooks", self._webhooks),
            web.post(f"{BASE}/webhooks", self._make_webhook),
            web.patch(f"{BASE}/webhooks/{{id}}", self._change_webhook),
            web.delete(f"{BASE}/webhooks/{{id}}", self._delete_webhook),
            web.get(f"{BASE}/custom_attribute_definitions", self._definitions),
            web.post(f"{BASE}/custom_attribute_definitions", self._define),
            web.patch(f"{BASE}/custom_attribute_definitions/{{id}}", self._redefine),
            web.get(f"{BASE}/agents", self._agents),
            web.get(f"{BASE}/inboxes", self._inboxes),
            web.get("/api/v1/profile", self._profile),
        ]

    async def _webhooks(self, request: web.Request) -> web.Response:
        self.demand_administrator()
        return web.json_response({"payload": {"webhooks": [_webhook(one) for one in self.hooks.rows]}})

    async def _make_webhook(self, request: web.Request) -> web.Response:
        self.demand_administrator()
        given = self._given(request)
        self._check(given, None)
        further = {name: given[name] for name in ("name", "inbox_id") if given.get(name) is not None}
        made = self.hooks.subscribe(given["url"], given["subscriptions"], **further)
        return web.json_response({"payload": {"webhook": _webhook(made)}})

    async def _change_webhook(self, request: web.Request) -> web.Response:
        self.demand_administrator()
        changed, given = self._row(request), self._given(request)
        self._check({"url": changed.url, "subscriptions": changed.subscriptions, **given}, changed)
        changed.url = given.get("url", changed.url)
        changed.name = given.get("name", changed.name)
        changed.subscriptions = list(given.get("subscriptions", changed.subscriptions))
        return web.json_response({"payload": {"webhook": _webhook(changed)}})

    async def _delete_webhook(self, request: web.Request) -> web.Response:
        self.demand_administrator()
        self.hooks.rows.remove(self._row(request))
        return web.Response()

    def _row(self, request: web.Request) -> Webhook:
        found = next((one for one in self.hooks.rows if str(one.id) == request.match_info["id"]), None)
        if found is None:
            raise Missing
        return found

    def _given(self, request: web.Request) -> Mapping[str, Any]:
        """The webhook that is asked for: under `webhook`, or flat."""
        given = body_of(request)
        inner = given.get("webhook", given)
        if not isinstance(inner, dict):
            raise Invalid("param is missing or the value is empty: webhook")
        return inner

    def _check(self, given: Mapping[str, Any], changed: Webhook | None) -> None:
        """Raises: Invalid."""
        url, events = given.get("url"), given.get("subscriptions")
        if not isinstance(url, str) or not _ADDRESS.match(url):
            raise Invalid("Url is invalid", "url")
        if any(one.url == url and one is not changed for one in self.hooks.rows):
            raise Invalid("Url has already been taken", "url")
        if not isinstance(events, list) or not events or set(events) - set(EVENTS):
            raise Invalid("Subscriptions Invalid events", "subscriptions")

    async def _definitions(self, request: web.Request) -> web.Response:
        model = request.query.get("attribute_model")
        wanted = None if model is None else _named(model, _MODELS)
        return web.json_response([one for one in self.definitions if wanted in (None, one["attribute_model"])])

    async def _define(self, request: web.Request) -> web.Response:
        given = body_of(request)
        given = given.get("custom_attribute_definition", given)
        key, model = str(given.get("attribute_key", "")).strip(), _named(given.get("attribute_model", 0), _MODELS)
        if not given.get("attribute_display_name"):
            raise Invalid("Attribute display name can't be blank", "attribute_display_name")
        if not _KEY.fullmatch(key):
            raise Invalid("Attribute key only supports letters, numbers, …", "attribute_key")
        if key in _OF_CHATWOOT and model == "contact_attribute":
            raise Invalid("Attribute key The provided key is not allowed", "attribute_key")
        if any((one["attribute_key"], one["attribute_model"]) == (key, model) for one in self.definitions):
            raise Invalid("Attribute key has already been taken", "attribute_key")
        made = {
            "id": next(self._definition_ids),
            "attribute_display_name": given["attribute_display_name"],
            "attribute_display_type": _named(given.get("attribute_display_type", 0), _TYPES),
            "attribute_description": given.get("attribute_description"),
            "attribute_key": key,
            "attribute_values": given.get("attribute_values") or [],
            "attribute_model": model,
            "default_value": None,
        }
        self.definitions.append(made)
        return web.json_response(made)

    async def _redefine(self, request: web.Request) -> web.Response:
        found = next((one for one in self.definitions if str(one["id"]) == request.match_info["id"]), None)
        if found is None:
            raise Missing
        found["attribute_values"] = body_of(request).get("attribute_values", found["attribute_values"])
        return web.json_response(found)

    async def _agents(self, request: web.Request) -> web.Response:
        owner = {"id": self.account.owner.id, "name": self.account.owner.name, "role": self._role()}
        return web.json_response([owner, {"id": INES.id, "name": INES.name, "role": INES.role}])

    async def _inboxes(self, request: web.Request) -> web.Response:
        """All of them to an administrator; to an agent those that he belongs to."""
        every = self._role() == "administrator"
        seen = [one for one in self.account.inboxes.values() if every or self._belongs(one.members)]
        return web.json_response({"payload": [views.inbox(one) for one in seen]})

    def _belongs(self, members: set[int]) -> bool:
        return self.switches.role != "outsider" and self.account.owner.id in members

    async def _profile(self, request: web.Request) -> web.Response:
        if self.switches.role == "bot":
            raise PermissionError("Access to this endpoint is not authorized for bots")
        owner = self.account.owner
        accounts = [{"id": ACCOUNT_ID, "name": "Veerboot Demo", "role": self._role()}]
        return web.json_response({"id": owner.id, "name": owner.name, "email": owner.email, "accounts": accounts})

    def _role(self) -> str:
        return "administrator" if self.switches.role == "administrator" else "agent"


def _webhook(one: Webhook) -> dict[str, Any]:
    """As the API shows it. Before version 4.11.2 there are no secrets."""
    shown = {name: value for name, value in asdict(one).items() if name != "inbox_id"} | {"account_id": ACCOUNT_ID}
    return shown if one.secret else {name: value for name, value in shown.items() if name != "secret"}


def _named(value: Any, names: tuple[str, ...]) -> str:
    """A kind by its name or its number. Raises: ValueError, of which Rails makes a 500."""
    text = str(value)
    return names[int(text)] if text.isdecimal() and int(text) < len(names) else names[names.index(text)]
