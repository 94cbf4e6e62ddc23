"""The records of the Chatwoot simulator as its API shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from daemon.sandbox.chatwoot_account import ACCOUNT_ID, Account, Contact, Conversation, Message
from daemon.sandbox.chatwoot_staff import Agent, Inbox

BLOBS: Final = "/rails/active_storage/blobs/redirect"
"""Where files are. No token is needed there: the id of a file is signed."""


def contact(one: Contact, account: Account) -> dict[str, Any]:
    """A contact with its inboxes."""
    addresses = [{"source_id": id, "inbox": inbox(account.inboxes[of])} for of, id in one.addresses]
    times = {"created_at": int(one.created_at)}
    if one.last_activity_at is not None:
        times["last_activity_at"] = int(one.last_activity_at)
    return short_contact(one) | times | {"contact_inboxes": addresses}


def inbox(one: Inbox) -> dict[str, Any]:
    """The inbox in its short form."""
    return {"id": one.id, "avatar_url": "", "channel_id": 5, "name": one.name, "channel_type": one.channel_type}


def conversation(one: Conversation, account: Account) -> dict[str, Any]:
    """A conversation with the last message that is neither private nor an activity."""
    shown = [message for message in one.messages if message.shown]
    last = nested(shown[-1], one, account) if shown else None
    of = account.inboxes.get(one.inbox_id)
    meta: dict[str, Any] = {
        "sender": short_contact(one.contact),
        "channel": None if of is None else of.channel_type,
        "hmac_verified": False,
    }
    if one.assignee is not None:
        meta |= {"assignee": agent(one.assignee), "assignee_type": "User"}
    return {
        "meta": meta,
        "id": one.id,
        "messages": [last] if last else [],
        "account_id": ACCOUNT_ID,
        "additional_attributes": one.additional_attributes,
        "can_reply": account.can_reply(one),
        "custom_attributes": one.custom_attributes,
        "inbox_id": one.inbox_id,
        "labels": one.labels,
        "muted": False,
        "snoozed_until": None,
        "status": one.status,
        "created_at": int(one.created_at),
        "updated_at": one.active_at,
        "timestamp": int(one.active_at),
        "first_reply_created_at": None if one.first_reply_at is None else int(one.first_reply_at),
        "last_non_activity_message": last,
        "last_activity_at": int(one.active_at),
        "agent_last_seen_at": 0,
        "contact_last_seen_at": 0,
        "waiting_since": one.waiting_since,
        "unread_count": one.unread,
        "priority": None,
    }


def message(one: Message, talk: Conversation, account: Account) -> dict[str, Any]:
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
    if one.sender is not None:
        shown["sender"] = sender(one.sender)
    if one.attachments:
        shown["attachments"] = attachments(one, account)
    return shown


def attachments(one: Message, account: Account) -> list[dict[str, Any]]:
    """The files of a message, each with its address."""
    return [_attachment(one, at, account) for at in range(len(one.attachments))]


def _attachment(one: Message, at: int, account: Account) -> dict[str, Any]:
    name, kind, body = one.attachments[at]
    id, file_type = one.id * 10 + at, _file_type(kind)
    shown: dict[str, Any] = {
        "id": id,
        "message_id": one.id,
        "file_type": file_type,
        "account_id": ACCOUNT_ID,
        "extension": name.rpartition(".")[2] or None,
        "content_type": kind,
        "data_url": f"{account.files_at}{BLOBS}/signed-{id}/{quote(name)}",
        "thumb_url": "",
        "file_size": len(body),
        "width": None,
        "height": None,
    }
    if file_type == "audio":
        shown |= {"data_url": shown["data_url"] + "?disposition=inline", "transcribed_text": ""}
    return shown


def nested(one: Message, talk: Conversation, account: Account) -> dict[str, Any]:
    """A message as it stands in its conversation: with all of its columns."""
    told = {
        "assignee_id": None if talk.assignee is None else talk.assignee.id,
        "unread_count": talk.unread,
        "last_activity_at": int(talk.active_at),
        "contact_inbox": {"source_id": talk.address},
    }
    by = one.sender
    kind = None if by is None else "Contact" if isinstance(by, Contact) else "User"
    return message(one, talk, account) | {
        "account_id": ACCOUNT_ID,
        "updated_at": iso(one.created_at),
        "processed_message_content": one.content,
        "additional_attributes": one.additional,
        "external_source_ids": {},
        "sentiment": {},
        "sender_type": kind,
        "sender_id": None if by is None else by.id,
        "conversation": told,
    }


def sender(by: Contact | Agent) -> dict[str, Any]:
    """Who wrote, in the short form."""
    return short_contact(by) | {"type": "contact"} if isinstance(by, Contact) else agent(by)


def agent(one: Agent) -> dict[str, Any]:
    """An agent, or a bot, in the short form."""
    shown = {"id": one.id, "name": one.name, "avatar_url": "", "type": one.type}
    if one.type == "agent_bot":
        return shown
    return shown | {"available_name": one.name, "availability_status": "online", "thumbnail": ""}


def short_contact(one: Contact) -> dict[str, Any]:
    """A contact without its inboxes."""
    return {
        "additional_attributes": one.additional_attributes,
        "custom_attributes": one.custom_attributes,
        "email": one.email,
        "id": one.id,
        "identifier": one.identifier,
        "name": one.name,
        "phone_number": one.phone_number,
        "thumbnail": "",
        "blocked": one.blocked,
    }


def iso(at: float) -> str:
    """Unix seconds as Rails writes a time."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _file_type(kind: str) -> str:
    """What Chatwoot takes a file for, by the type that it came with."""
    return next((name for name in ("image", "audio", "video") if kind.startswith(f"{name}/")), "file")
