"""Bot flows of CGB as Ferryman sees them: a client that posts what "External Request" blocks post."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import ClientSession, ClientTimeout

from daemon.sandbox.vizi import Reply

PATH: Final = "/webhooks/cgb"
TIMEOUT: Final = ClientTimeout(total=10)
"""A flow waits for the answer, and not for long."""

SENT_AT: Final = 1928826900
"""2031-02-14 09:15 UTC."""


def contact_body(contact_id: str, **members: Any) -> dict[str, Any]:
    """What a block posts about a contact. *members*: further ones, or others in place of these."""
    return {"v": 1, "event": "contact", "contact_id": contact_id, "sent_at": SENT_AT} | members


def reply_body(contact_id: str, text: str = "ok", **members: Any) -> dict[str, Any]:
    """What a block posts about a message that a contact has written. *members*: as in `contact_body`."""
    return {"v": 1, "event": "reply", "contact_id": contact_id, "text": text, "sent_at": SENT_AT} | members


class CgbFlows:
    """Posts to the Ferryman at *url*. *secret*: what the blocks send in X-Webhook-Secret; None: they send none."""

    def __init__(self, session: ClientSession, url: str, *, secret: str | None) -> None:
        self._session = session
        self._url = url + PATH
        self._proof = {} if secret is None else {"X-Webhook-Secret": secret}

    async def contact(self, contact_id: str, **members: Any) -> Reply:
        """Tell of a contact. Raises aiohttp.ClientError or TimeoutError when no answer comes."""
        return await self.post(contact_body(contact_id, **members))

    async def reply(self, contact_id: str, text: str = "ok", **members: Any) -> Reply:
        """Tell of a message. Raises as `contact`."""
        return await self.post(reply_body(contact_id, text, **members))

    async def post(self, document: Mapping[str, Any]) -> Reply:
        """Post any object. Raises as `contact`."""
        body = json.dumps(document, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", **self._proof}
        async with self._session.post(self._url, data=body, headers=headers, timeout=TIMEOUT) as answer:
            accepted = await answer.json(content_type=None) if answer.status == 202 else {}
            return Reply(answer.status, tuple(accepted.get("event_ids", ())))
