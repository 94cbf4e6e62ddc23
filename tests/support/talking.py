"""A person who writes in Chatwoot, and the webhooks that tell a running process of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import Any, Final

import orjson

from adapters.chatwoot.source import signed
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, Message
from tests.support.daemons import Running

SECRET: Final = "chatwoot-webhook-secret"


@dataclass(slots=True)
class Person:
    """The person of *phone*. *here*: the process that hears of what they write."""

    chatwoot: ChatwootSandbox
    phone: str
    here: Running

    def hears(self) -> list[Message]:
        """What was sent to them by Chatwoot."""
        return [
            one
            for talk, one in self.chatwoot.account.messages()
            if talk.contact.phone_number == self.phone and one.message_type == 1
        ]

    async def write(self, text: str, *, answers: Message | None = None, times: int = 1) -> int:
        """Write *text*, as a tap or a reply does where it *answers* a message; the webhook comes so many *times*.
        Returns the id of the message."""
        talk = self.chatwoot.account.receive(self.phone, text)
        written = talk.messages[-1]
        if answers is not None:
            written.content_attributes["in_reply_to"] = answers.id
        document = self._webhook(talk, written)
        for _ in range(times):
            await self.tell(document)
        return written.id

    async def tell(self, document: dict[str, Any]) -> None:
        """Chatwoot calls the webhook."""
        request = signed(orjson.dumps(document), SECRET, int(time()))
        url = f"{self.here.url}/webhooks/chatwoot"
        async with self.here.session.post(url, data=request.body, headers=dict(request.headers)) as answer:
            assert answer.status == 202, await answer.text()

    def _webhook(self, talk: Any, message: Message) -> dict[str, Any]:
        sender = {"id": talk.contact.id, "name": "Noa", "phone_number": self.phone, "identifier": None}
        inbox = {"id": 1, "contact_id": talk.contact.id, "inbox_id": talk.inbox_id, "source_id": talk.address}
        return {
            "event": "message_created",
            "id": message.id,
            "message_type": "incoming",
            "content_type": "text",
            "content": message.content,
            "content_attributes": dict(message.content_attributes),
            "additional_attributes": {},
            "private": False,
            "created_at": datetime.fromtimestamp(message.created_at, UTC).isoformat(),
            "source_id": f"wamid.{message.id}",
            "account": {"id": ACCOUNT_ID, "name": "Acme"},
            "inbox": {"id": talk.inbox_id, "name": "WhatsApp"},
            "sender": sender,
            "conversation": {
                "id": talk.id,
                "inbox_id": talk.inbox_id,
                "channel": "Channel::Whatsapp",
                "status": talk.status,
                "can_reply": True,
                "contact_inbox": inbox,
                "messages": [],
                "labels": [],
                "meta": {"sender": sender},
            },
        }
