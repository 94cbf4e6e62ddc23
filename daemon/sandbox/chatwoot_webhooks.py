"""What Chatwoot's webhooks tell of messages, as version 4.16 writes it, signed as Chatwoot signs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import ClientSession, ClientTimeout

from adapters.chatwoot.source import signed
from daemon.sandbox.vizi import Reply
from schemas.webhooks.chatwoot import MARKER

PATH: Final = "/webhooks/chatwoot"
TIMEOUT: Final = ClientTimeout(total=5)
"""Chatwoot waits as long, and never posts again."""

ACCOUNT: Final = 3
INBOX: Final = 12
AT: Final = 1928826900
"""2031-02-14 09:15 UTC."""
MADE: Final = "2031-02-14T09:15:00.000Z"


def contact(id: int, phone: str | None, name: str = "Noor Baak", **members: Any) -> dict[str, Any]:
    """A contact in its short form, as it stands in a conversation."""
    empty: dict[str, Any] = {
        "additional_attributes": {},
        "custom_attributes": {},
        "email": None,
        "identifier": None,
        "thumbnail": "",
    }
    return {**empty, "id": id, "name": name, "phone_number": phone, "blocked": False, "type": "contact"} | members


def conversation(id: int, sender: Mapping[str, Any], source_id: str, **members: Any) -> dict[str, Any]:
    """A conversation. *source_id*: who *sender* is on the channel."""
    inbox = {
        "id": 611,
        "contact_id": sender["id"],
        "inbox_id": INBOX,
        "source_id": source_id,
        "pubsub_token": "ps_demo",
    }
    who = {"sender": dict(sender), "assignee": None, "assignee_type": None, "team": None, "hmac_verified": False}
    times = {"created_at": AT, "timestamp": AT, "last_activity_at": AT, "updated_at": AT + 0.5, "waiting_since": AT}
    return {
        "id": id,
        "account": {"id": ACCOUNT, "name": "Demo"},
        "inbox_id": INBOX,
        "channel": "Channel::Whatsapp",
        "status": "open",
        "can_reply": True,
        "contact_inbox": inbox,
        "messages": [],
        "labels": [],
        "meta": who,
        "custom_attributes": {},
        "additional_attributes": {},
        "unread_count": 1,
        **times,
    } | members


def message(id: object, content: str | None, of: Mapping[str, Any], **members: Any) -> dict[str, Any]:
    """A `message_created` of a person in the conversation *of*."""
    sender = {name: value for name, value in of["meta"]["sender"].items() if name != "type"}
    return {
        "event": "message_created",
        "id": id,
        "message_type": "incoming",
        "content_type": "text",
        "content": content,
        "content_attributes": {},
        "additional_attributes": {},
        "private": False,
        "created_at": MADE,
        "source_id": f"wamid.DEMO{id}",
        "account": {"id": ACCOUNT, "name": "Demo"},
        "inbox": {"id": INBOX, "name": "WhatsApp"},
        "sender": {**sender, "account": {"id": ACCOUNT, "name": "Demo"}, "avatar": ""},
        "conversation": dict(of),
    } | members


def ours(id: int, our_id: str, of: Mapping[str, Any], **members: Any) -> dict[str, Any]:
    """A message of ours in the conversation *of*, as it comes back. *members*: further ones, or others."""
    marks = {MARKER: our_id, **members.pop("content_attributes", {})}
    user = {"id": 41, "name": "Bot", "email": "bot@example.test", "type": "user"}
    told = {"message_type": "outgoing", "source_id": None, "sender": user, "content_attributes": marks}
    return message(id, "hello", of) | told | members


def last(id: int, status: str) -> dict[str, Any]:
    """The last message of a conversation, as it stands in it."""
    return {"id": id, "account_id": ACCOUNT, "message_type": 1, "status": status, "created_at": AT}


class ChatwootWebhooks:
    """Posts to the Ferryman at *url*, signed with *secret* at the time that *clock* tells, in unix seconds."""

    def __init__(self, session: ClientSession, url: str, *, secret: str, clock: Any) -> None:
        self._session = session
        self._url = url + PATH
        self._secret = secret
        self._clock = clock

    async def post(self, document: Mapping[str, Any]) -> Reply:
        """Post any body, once. Raises aiohttp.ClientError or TimeoutError when no answer comes."""
        webhook = signed(escaped(document), self._secret, int(self._clock()))
        async with self._session.post(self._url, data=webhook.body, headers=webhook.headers, timeout=TIMEOUT) as answer:
            accepted = await answer.json(content_type=None) if answer.status == 202 else {}
            return Reply(answer.status, tuple(accepted.get("event_ids", ())))


def escaped(document: Mapping[str, Any]) -> bytes:
    """The JSON of *document* as Chatwoot writes it: text as it is, but for what could steer a page."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text.encode()
