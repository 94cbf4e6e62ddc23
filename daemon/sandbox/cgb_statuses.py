"""The status webhooks that Meta sends for messages that CGB took: late, twice, or in a wrong order."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from typing import Any, Final
from uuid import uuid4

from aiohttp import ClientError, ClientSession, ClientTimeout

_TITLES: Final = {
    131026: "Message undeliverable",
    131047: "Re-engagement message",
    132000: "Number of parameters does not match the expected number of params",
}
_TRIES: Final = 5
_TIMEOUT: Final = ClientTimeout(total=10)


class Statuses:
    """Sends statuses to *url* (None: nowhere), signed with *secret* as Meta signs where one is given.

    *accepted*: the messages that CGB took, as dicts of `wamid`, `contact`, `kind`, `outcome`, `body`. *sent*:
    the webhook bodies that were answered 2xx.
    """

    def __init__(self, url: str | None, secret: str | None) -> None:
        self.url = url
        self.secret = secret
        self.accepted: list[dict[str, Any]] = []
        self.sent: list[dict[str, Any]] = []
        self._http: ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, contact: str, kind: str, body: Any, *, outcome: str, delay_s: float) -> None:
        """Take a message; its statuses follow *delay_s* seconds later as *outcome* says ("drop": none)."""
        wamid = f"wamid.SANDBOX{uuid4().hex}"
        self.accepted.append(
            {
                "wamid": wamid,
                "contact": contact,
                "kind": kind,
                "outcome": outcome,
                "body": body,
                "at": time.time(),
            }
        )
        if self.url is None or outcome == "drop":
            return
        webhooks = [_webhook(contact, wamid, *stage) for stage in _stages(outcome)]
        task = asyncio.create_task(self._deliver(webhooks, delay_s), name="sandbox-statuses")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what is not delivered yet."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def _deliver(self, webhooks: list[dict[str, Any]], delay_s: float) -> None:
        for webhook in webhooks:
            await asyncio.sleep(delay_s)
            for attempt in range(_TRIES):
                if await self._post(webhook):
                    self.sent.append(webhook)
                    break
                await asyncio.sleep(0.2 * 2**attempt)

    async def _post(self, webhook: dict[str, Any]) -> bool:
        body = json.dumps(webhook).encode()
        headers = {"Content-Type": "application/json"}
        if self.secret:
            digest = hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
            headers["X-Hub-Signature-256"] = f"sha256={digest}"
        if self._http is None:
            self._http = ClientSession(timeout=_TIMEOUT)
        try:
            async with self._http.post(str(self.url), data=body, headers=headers) as answer:
                return 200 <= answer.status < 300
        except (ClientError, TimeoutError, OSError):
            return False


def _stages(outcome: str) -> list[tuple[str, int | None]]:
    """(status, error code) in the order in which the webhooks go out."""
    if outcome.isascii() and outcome.isdigit():
        return [("failed", int(outcome))]
    sent: tuple[str, int | None] = ("sent", None)
    delivered: tuple[str, int | None] = ("delivered", None)
    return {
        "read": [sent, delivered, ("read", None)],
        "duplicate": [sent, sent, delivered, delivered],
        "out_of_order": [delivered, sent],
    }.get(outcome, [sent, delivered])


def _webhook(contact: str, wamid: str, status: str, code: int | None) -> dict[str, Any]:
    """Meta's envelope with one status; the callback data is CGB's own, whatever the sender gave."""
    entry: dict[str, Any] = {
        "id": wamid,
        "status": status,
        "timestamp": str(int(time.time())),
        "recipient_id": contact,
        "biz_opaque_callback_data": json.dumps({"c": contact}, separators=(",", ":")),
    }
    if code is not None:
        title = _TITLES.get(code, "Message failed")
        entry["errors"] = [{"code": code, "title": title, "message": title, "error_data": {"details": title}}]
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "972555550100", "phone_number_id": "200000000000002"},
        "statuses": [entry],
    }
    changes = [{"field": "messages", "value": value}]
    return {"object": "whatsapp_business_account", "entry": [{"id": "100000000000001", "changes": changes}]}
