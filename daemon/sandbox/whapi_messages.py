"""The messages of the Whapi simulator: what its channel has taken, and what it posts of that to its webhook."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias
from uuid import uuid4

from aiohttp import ClientError, ClientSession, ClientTimeout

Outcome: TypeAlias = Literal["delivered", "read", "played", "failed", "duplicate", "out_of_order", "batch", "drop"]
"""What becomes of a message: delivered; read at once, without a `delivered`; a voice message that is played; failed
after it was sent; every status twice; read before the others; all in one body; drop: nothing is told of it, not even
that it was sent."""

CHANNEL_ID: Final = "LYNX-A1"
PERSON: Final = "@s.whatsapp.net"

_STAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "delivered": ("pending", "sent", "delivered"),
    "read": ("pending", "sent", "read"),
    "played": ("sent", "delivered", "read", "played"),
    "failed": ("pending", "sent", "failed"),
    "duplicate": ("sent", "sent", "delivered", "delivered"),
    "out_of_order": ("read", "delivered", "sent"),
    "batch": ("sent", "delivered", "read"),
    "drop": (),
}
_CODES: Final[Mapping[str, int]] = {"failed": 0, "pending": 1, "sent": 2, "delivered": 3, "read": 4, "played": 5}
_ADDRESS: Final = re.compile(r"[\d-]{9,31}(@[\w.]+)?")
_TRIES: Final = 5
_TIMEOUT: Final = ClientTimeout(total=10)


class Messages:
    """Takes messages and posts to *url* (None: nowhere), with *secret* in X-Webhook-Secret where one is given.

    *taken*: the messages that the channel has taken, in Whapi's own form. *heard*: the ids of what people have written.
    *reactions*: id -> our emoji on that message. *read*: the ids that were marked as read. *posted*: the bodies that
    were answered 2xx.
    """

    def __init__(self, url: str | None, secret: str | None) -> None:
        self.url = url
        self.secret = secret
        self.taken: list[dict[str, Any]] = []
        self.heard: set[str] = set()
        self.reactions: dict[str, str] = {}
        self.read: list[str] = []
        self.posted: list[dict[str, Any]] = []
        self._http: ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, kind: str, chat_id: str, content: Any, outcome: Outcome, delay_s: float) -> dict[str, Any]:
        """Take a message to *chat_id*; its echo and its statuses follow, *delay_s* seconds apart. Returns it."""
        message = {
            "id": f"{uuid4().hex[:20]}-{uuid4().hex[:12]}",
            "from_me": True,
            "type": kind,
            "chat_id": chat_id,
            "timestamp": int(time.time()),
            "source": "api",
            "status": "pending",
            kind: content,
        }
        self.taken.append(message)
        if self.url is not None and outcome != "drop":
            self._later([_body("messages", message), *_told(message, outcome)], delay_s)
        return message

    def of(self, chat_id: str) -> list[dict[str, Any]]:
        """What was taken for a chat, the newest first."""
        return [message for message in reversed(self.taken) if message["chat_id"] == chat_id]

    async def receive(self, chat_id: str, text: str = "hello", **members: Any) -> int:
        """Post a message that somebody has written in *chat_id*; returns the status of the answer, 0 for none.
        *members*: further ones, or others in place of these."""
        message: dict[str, Any] = {
            "id": f"{uuid4().hex[:20]}-{uuid4().hex[:12]}",
            "from_me": False,
            "type": "text",
            "chat_id": chat_id,
            "timestamp": int(time.time()),
            "source": "mobile",
            "text": {"body": text},
            "from": chat_id.removesuffix(PERSON),
            "from_name": "Ana",
        }
        message |= members
        self.heard.add(message["id"])
        return await self.post(_body("messages", message))

    def has(self, id: str) -> bool:
        """Whether a chat has the message of that id."""
        return id in self.heard or any(one["id"] == id for one in self.taken)

    async def post(self, document: Mapping[str, Any]) -> int:
        """Post any body once; returns the status of the answer, 0 for none."""
        headers = {"Content-Type": "application/json"}
        if self.secret is not None:
            headers["X-Webhook-Secret"] = self.secret
        if self._http is None:
            self._http = ClientSession(timeout=_TIMEOUT)
        try:
            async with self._http.post(str(self.url), data=json.dumps(document), headers=headers) as answer:
                if 200 <= answer.status < 300:
                    self.posted.append(dict(document))
                return answer.status
        except (ClientError, TimeoutError, OSError):
            return 0

    async def close(self) -> None:
        """Give up what is not posted yet."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.close()
            self._http = None

    def _later(self, bodies: list[dict[str, Any]], delay_s: float) -> None:
        task = asyncio.create_task(self._deliver(bodies, delay_s), name="sandbox-whapi")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, bodies: list[dict[str, Any]], delay_s: float) -> None:
        for body in bodies:
            await asyncio.sleep(delay_s)
            for attempt in range(_TRIES):
                if 200 <= await self.post(body) < 300:
                    break
                await asyncio.sleep(0.2 * 2**attempt)


def chat_of(to: Any) -> str | None:
    """The chat that *to* names, None where Whapi would refuse it: a plus is refused."""
    if not isinstance(to, str) or not (found := _ADDRESS.fullmatch(to)):
        return None
    return to if found[1] else f"{to}{PERSON}"


def _told(message: Mapping[str, Any], outcome: Outcome) -> list[dict[str, Any]]:
    statuses = [_status(message, status) for status in _STAGES[outcome]]
    return [_body("statuses", *statuses)] if outcome == "batch" else [_body("statuses", one) for one in statuses]


def _status(message: Mapping[str, Any], status: str) -> dict[str, Any]:
    return {
        "id": message["id"],
        "code": _CODES[status],
        "status": status,
        "recipient_id": message["chat_id"],
        "viewer_id": message["chat_id"].removesuffix(PERSON),
        "timestamp": str(int(time.time())),
    }


def _body(name: str, *parts: Any) -> dict[str, Any]:
    return {name: list(parts), "event": {"type": name, "event": "post"}, "channel_id": CHANNEL_ID}
