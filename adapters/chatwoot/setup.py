"""The calls by which an account of a Chatwoot is set up: its webhooks, and the definitions of attributes.

All of them take the token of an administrator. The secret that a webhook signs with is made by Chatwoot, and told to
administrators since version 4.11.2 (chatwoot/chatwoot: app/models/concerns/webhook_secretable.rb).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from aiohttp import ClientSession

from adapters.chatwoot.client import judge
from adapters.chatwoot.probe import TOKEN
from adapters.http import exchange
from adapters.probing import TIMEOUT_S

T = TypeVar("T")

KINDS: Final = ("text", "number", "currency", "percent", "link", "date", "list", "checkbox")
"""Kinds of attributes, by the numbers that requests have for them; answers have their names."""

_OF_CONTACTS: Final = 1
_CONTACTS: Final = "contact_attribute"


@dataclass(frozen=True, slots=True)
class Subscription:
    """A webhook of the account. *secret*: "" where this version of Chatwoot signs nothing."""

    id: int
    url: str
    events: frozenset[str]
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Definition:
    """How Chatwoot shows an attribute of contacts. *kind*: of KINDS. *values*: of a list. *id*: None: it is to be
    made."""

    key: str
    title: str
    kind: str
    values: tuple[str, ...] = ()
    id: int | None = None


class ChatwootSetup:
    """The calls to the account *account_id* of the Chatwoot at *url*.

    Raises, all of them: Transient; ChannelDown, also where *token* is none of an administrator's; Refused; Uncertain
    where a write may have been done: run it again, as what is there is looked at first.
    """

    def __init__(self, session: ClientSession, *, url: str, token: str, account_id: str) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._account_id = account_id
        self._token = token

    async def role(self) -> str:
        """The role of the token's owner in the account, as `administrator`; "" where it is not told."""
        return await self._ask("GET", f"{self._url}/api/v1/profile", lambda data: _role(data, self._account_id))

    async def webhooks(self) -> list[Subscription]:
        """All of the account."""
        return await self._call("GET", "/webhooks", _subscriptions)

    async def make_webhook(self, url: str, events: Sequence[str], name: str) -> Subscription:
        """Raises: see the class."""
        return await self._call(
            "POST", "/webhooks", _subscription_made, {"url": url, "name": name, "subscriptions": [*events]}
        )

    async def change_webhook(self, id: int, url: str, events: Sequence[str]) -> Subscription:
        """Give the webhook this address and these events."""
        return await self._call(
            "PATCH", f"/webhooks/{id}", _subscription_made, {"url": url, "subscriptions": [*events]}
        )

    async def definitions(self) -> list[Definition]:
        """Those of contacts."""
        params = {"attribute_model": str(_OF_CONTACTS)}
        return await self._call("GET", "/custom_attribute_definitions", _definitions, params=params)

    async def define(self, one: Definition) -> None:
        """Make the definition."""
        await self._call("POST", "/custom_attribute_definitions", _any, _asked(one))

    async def redefine(self, one: Definition) -> None:
        """Make the definition with its id what *one* says."""
        await self._call("PATCH", f"/custom_attribute_definitions/{one.id}", _any, _asked(one))

    async def _call(
        self,
        method: str,
        path: str,
        read: Callable[[Any], T | None],
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> T:
        return await self._ask(method, f"{self._url}/api/v1/accounts/{self._account_id}{path}", read, json, params)

    async def _ask(
        self,
        method: str,
        url: str,
        read: Callable[[Any], T | None],
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> T:
        reply = await exchange(
            self._session,
            method,
            url,
            system="Chatwoot",
            timeout_s=TIMEOUT_S,
            headers={TOKEN: self._token},
            params=params,
            json=json,
        )
        write, now = json is not None, datetime.now(UTC)
        return judge(reply, read, private=[self._token], now=now, write=write, known=False)


def _role(data: Any, account_id: str) -> str | None:
    rows = data.get("accounts") if isinstance(data, dict) else None
    if not isinstance(rows, list):
        return None
    mine = next((row for row in rows if isinstance(row, dict) and str(row.get("id")) == account_id), {})
    return str(mine.get("role") or "")


def _subscriptions(data: Any) -> list[Subscription] | None:
    payload = data.get("payload") if isinstance(data, dict) else None
    rows = payload.get("webhooks") if isinstance(payload, dict) else None
    return [found for row in rows if (found := _subscription(row))] if isinstance(rows, list) else None


def _subscription_made(data: Any) -> Subscription | None:
    payload = data.get("payload") if isinstance(data, dict) else None
    return _subscription(payload.get("webhook")) if isinstance(payload, dict) else None


def _subscription(row: Any) -> Subscription | None:
    if not isinstance(row, dict) or not isinstance(row.get("id"), int) or not isinstance(row.get("url"), str):
        return None
    events, secret = row.get("subscriptions"), row.get("secret")
    told = frozenset(one for one in events if isinstance(one, str)) if isinstance(events, list) else frozenset()
    return Subscription(row["id"], row["url"], told, secret if isinstance(secret, str) else "")


def _definitions(data: Any) -> list[Definition] | None:
    rows = [_definition(row) for row in data if isinstance(row, dict)] if isinstance(data, list) else None
    return None if rows is None else [one for one in rows if one is not None]


def _definition(row: Mapping[str, Any]) -> Definition | None:
    """One of contacts; None: it is of conversations."""
    key, values = row.get("attribute_key"), row.get("attribute_values")
    if row.get("attribute_model") not in (_CONTACTS, _OF_CONTACTS) or not isinstance(key, str):
        return None
    kind, id = row.get("attribute_display_type"), row.get("id")
    return Definition(
        key,
        str(row.get("attribute_display_name") or ""),
        KINDS[kind] if isinstance(kind, int) and 0 <= kind < len(KINDS) else str(kind),
        tuple(one for one in values if isinstance(one, str)) if isinstance(values, list) else (),
        id if isinstance(id, int) else None,
    )


def _asked(one: Definition) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "attribute_display_name": one.title,
        "attribute_display_type": KINDS.index(one.kind),
        "attribute_key": one.key,
        "attribute_model": _OF_CONTACTS,
    }
    return asked | ({"attribute_values": [*one.values]} if one.kind == "list" else {})


def _any(data: Any) -> bool:
    """Of an answer in which nothing is looked for."""
    return True
