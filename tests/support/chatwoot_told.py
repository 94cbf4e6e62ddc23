"""What Chatwoot's webhook tells of a message that its simulator holds, in the webhook's own form; and what the
simulator was asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from daemon.sandbox import chatwoot_webhooks as webhooks
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import Conversation, Message


def told(talk: Conversation, message: Message) -> dict[str, Any]:
    """The `message_created` of *message*, which a person has written in *talk*."""
    who = talk.contact
    short = webhooks.contact(who.id, who.phone_number, who.name or "", identifier=who.identifier, email=who.email)
    at = datetime.fromtimestamp(message.created_at, UTC)
    return webhooks.message(
        message.id,
        message.content,
        webhooks.conversation(talk.id, short, talk.address, inbox_id=talk.inbox_id),
        source_id=message.source_id,
        content_attributes=dict(message.content_attributes),
        created_at=at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        inbox={"id": talk.inbox_id, "name": "WhatsApp"},
    )


def asked(sandbox: ChatwootSandbox) -> list[str]:
    """The last parts of the paths that were asked for: `conversations`, `messages`."""
    return [entry.path.rpartition("/")[2] for entry in sandbox.ledger.entries]
