"""Vizi as Ferryman sees it: a client that POSTs orders and reports about applicants, signed or with the shared key, and
never repeats one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from aiohttp import ClientSession, ClientTimeout
from standardwebhooks import Webhook

Proof: TypeAlias = Literal["signature", "key", "forged", "none"]

TIMEOUT: Final = ClientTimeout(total=5)
FORGED_SECRET: Final = "whsec_" + "Zm9yZ2VkLXNlY3JldC1vZi1ub2JvZHk="


@dataclass(frozen=True, slots=True)
class Reply:
    """What Ferryman answered."""

    status: int
    event_ids: tuple[str, ...]


class Vizi:
    """Posts to the Ferryman at *url*. *secret*: a Standard Webhooks secret; *api_key*: the shared key."""

    def __init__(self, session: ClientSession, url: str, *, secret: str, api_key: str) -> None:
        self._session = session
        self._url = url
        self._webhooks = {"signature": Webhook(secret), "forged": Webhook(FORGED_SECRET)}
        self._api_key = api_key

    async def post(self, order: Mapping[str, Any], proof: Proof = "signature") -> Reply:
        """Send one order. Raises aiohttp.ClientError or TimeoutError when no answer comes within 5 s."""
        return await self._post("/webhooks/orders", order, proof)

    async def report(self, report: Mapping[str, Any], proof: Proof = "signature") -> Reply:
        """Send one report of what is wrong with an applicant's documents. Raises as `post`."""
        return await self._post("/webhooks/issues", report, proof)

    async def _post(self, path: str, document: Mapping[str, Any], proof: Proof) -> Reply:
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json", **self._proof(proof, body)}
        async with self._session.post(self._url + path, data=body, headers=headers, timeout=TIMEOUT) as answer:
            accepted = await answer.json(content_type=None) if answer.status == 202 else {}
            return Reply(answer.status, tuple(accepted.get("event_ids", ())))

    def _proof(self, proof: Proof, body: bytes) -> dict[str, str]:
        if proof == "key":
            return {"X-API-Key": self._api_key}
        if proof == "none":
            return {}
        now, message = datetime.now(UTC), f"msg_{uuid.uuid4().hex}"
        return {
            "webhook-id": message,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhooks[proof].sign(message, now, body.decode()),
        }
