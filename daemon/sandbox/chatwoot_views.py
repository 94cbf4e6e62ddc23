"""The records of the Chatwoot simulator as its API shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from daemon.sandbox.chatwoot_account import ACCOUNT_ID, INBOX_ID, Account, Contact, Conversation, Message


def contact(one: Contact, account: Account) -> dict[str, Any]:
    """A contact with its inboxes."""
    addresses = [{"source_id": source_id, "inbox": inbox(account)} for _, source_id in one.addresses]
    return _contact(one) | {"contact_inboxes": addresses}


def inbox(account: Account) -> dict[str, Any]:
    """The inbox in its short form."""
    return {"id": INBOX_ID, "avatar_url": "", "channel_id": 5, "name": "WA", "channel_type": account.channel_type}


def conversation(one: Conversation, account: Account) -> dict[str, Any]:
    """A conversation with the last message that is neither private nor an activity."""
    shown = [message for message in one.messages if not message.private]
    last = _nested(shown[-1], one) if shown else None
    return {
        "meta": {"sender": _contact(one.contact), "channel": account.channel_type, "hmac_verified": False},
        "id": one.id,
        "messages": [last] if last else [],
        "account_id": ACCOUNT_ID,
        "additional_attributes": {},
        "can_reply": account.can_reply(one),
        "custom_attributes": {},
        "inbox_id": one.inbox_id,
        "labels": [],
        "status": one.status,
        "created_at": int(one.created_at),
        "updated_at": one.active_at,
        "timestamp": int(one.active_at),
        "last_non_activity_message": last,
        "last_activity_at": int(one.active_at),
        "waiting_since": 0,
        "unread_count": 0,
        "priority": None,
    }


def message(one: Message, talk: Conversation) -> dict[str, Any]:
    """A message."""
    shown: dict[str, Any] = {
        "id": one.id,
        "content": one.content,
        "inbox_id": talk.inbox_id,
        "conversation_id": talk.id,
        "message_type": one.message_type,
        "content_type": one.content_type,
        "status": one.status,
        "content_attributes": one.content_attributes,
        "created_at": int(one.created_at),
        "private": one.private,
        "source_id": one.source_id,
    }
    if one.attachments:
        shown["attachments"] = [
            {"id": one.id * 10 + at, "message_id": one.id, "file_type": _file_type(kind), "file_size": len(body)}
            for at, (_, kind, body) in enumerate(one.attachments)
        ]
    return shown


def _nested(one: Message, talk: Conversation) -> dict[str, Any]:
    told = {"last_activity_at": int(talk.active_at), "contact_inbox": {"source_id": talk.address}}
    updated_at = datetime.fromtimestamp(one.created_at, UTC).isoformat(timespec="milliseconds")
    return message(one, talk) | {"updated_at": updated_at, "conversation": told}


def _contact(one: Contact) -> dict[str, Any]:
    return {
        "additional_attributes": {},
        "custom_attributes": {},
        "email": one.email,
        "id": one.id,
        "identifier": one.identifier,
        "name": one.name,
        "phone_number": one.phone_number,
        "thumbnail": "",
        "blocked": False,
    }


def _file_type(kind: str) -> str:
    """What Chatwoot takes a file for, by the type that it came with."""
    return next((name for name in ("image", "audio", "video") if kind.startswith(f"{name}/")), "file")
