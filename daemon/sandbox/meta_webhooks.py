"""What Meta's Cloud API tells of messages, as Ferryman sees it: batches, signed as Meta signs them."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import ClientSession, ClientTimeout

from daemon.sandbox.vizi import Reply

PATH: Final = "/webhooks/meta"
TIMEOUT: Final = ClientTimeout(total=10)
PHONE_NUMBER_ID: Final = "1060001"
AT: Final = 1928826900
"""2031-02-14 09:15 UTC."""


def batch(*values: Mapping[str, Any], field: str = "messages") -> dict[str, Any]:
    """A body with an entry for each of *values*."""
    entries = [{"id": "990001", "changes": [{"field": field, "value": value}]} for value in values]
    return {"object": "whatsapp_business_account", "entry": entries}


def value(**lists: Any) -> dict[str, Any]:
    """The value of a change, with these `messages`, `statuses`, `contacts`, …"""
    metadata = {"display_phone_number": "15550001111", "phone_number_id": PHONE_NUMBER_ID}
    return {"messaging_product": "whatsapp", "metadata": metadata, **lists}


def message(wa_id: str, id: str, text: str = "hello", **members: Any) -> dict[str, Any]:
    """A message of the person *wa_id*. *members*: further ones, or others in place of these."""
    return {"from": wa_id, "id": id, "timestamp": str(AT), "type": "text", "text": {"body": text}} | members


def status(wa_id: str, id: str, status: str, **members: Any) -> dict[str, Any]:
    """A status of the message *id*, which was sent to *wa_id*. *members*: as in `message`."""
    return {"id": id, "status": status, "timestamp": str(AT), "recipient_id": wa_id} | members


def failed(wa_id: str, id: str, code: int, **members: Any) -> dict[str, Any]:
    """The status of a message that has failed with *code*."""
    told = {"code": code, "title": "Failed", "message": "Failed", "error_data": {"details": "it has failed"}}
    return status(wa_id, id, "failed", errors=[told | {"href": "https://example.test/errors"}], **members)


def contact(wa_id: str | None, name: str | None = None, user_id: str | None = None) -> dict[str, Any]:
    """A contact, as it stands beside messages and statuses."""
    told: dict[str, Any] = {} if wa_id is None else {"wa_id": wa_id}
    return told | ({} if name is None else {"profile": {"name": name}}) | ({"user_id": user_id} if user_id else {})


def escaped(document: Mapping[str, Any]) -> bytes:
    """The JSON of *document* with its text escaped as Meta does it: no byte above ASCII, and no bare slash."""
    return json.dumps(document, separators=(",", ":")).replace("/", "\\/").encode()


def signature(secret: str, body: bytes) -> str:
    """The header that proves *body*."""
    return "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()


class MetaWebhooks:
    """Posts to the Ferryman at *url*. *secret*: of the app; None: nothing is signed."""

    def __init__(self, session: ClientSession, url: str, *, secret: str | None) -> None:
        self._session = session
        self._url = url + PATH
        self._secret = secret

    async def post(self, document: Mapping[str, Any]) -> Reply:
        """Post any body. Raises aiohttp.ClientError or TimeoutError when no answer comes."""
        body = escaped(document)
        headers = {"Content-Type": "application/json"}
        if self._secret is not None:
            headers["X-Hub-Signature-256"] = signature(self._secret, body)
        async with self._session.post(self._url, data=body, headers=headers, timeout=TIMEOUT) as answer:
            accepted = await answer.json(content_type=None) if answer.status == 202 else {}
            return Reply(answer.status, tuple(accepted.get("event_ids", ())))

    async def challenge(self, token: str, challenge: str = "1158201444") -> tuple[int, str]:
        """Ask whether the address may be told; returns the status and the body of the answer. Raises as `post`."""
        query = {"hub.mode": "subscribe", "hub.challenge": challenge, "hub.verify_token": token}
        async with self._session.get(self._url, params=query, timeout=TIMEOUT) as answer:
            return answer.status, await answer.text()
