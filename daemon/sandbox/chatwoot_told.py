"""The bodies of the Chatwoot simulator's webhooks, made of its records as version 4.16 writes them, and of the versions
before it (chatwoot/chatwoot: app/presenters/conversations/event_data_presenter.rb, app/models)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from daemon.sandbox import chatwoot_views as views
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, Account, Contact, Conversation, Message
from daemon.sandbox.chatwoot_staff import Agent

Subject: TypeAlias = "Contact | Conversation | tuple[Conversation, Message]"
Changes: TypeAlias = "Mapping[str, tuple[Any, Any]]"
"""Attribute -> what it was, and what it is."""

OF_ACCOUNT: Final = {"id": ACCOUNT_ID, "name": "Veerboot Demo"}
_TYPES: Final = ("incoming", "outgoing", "activity", "template")


@dataclass(slots=True, kw_only=True)
class Variants:
    """How the bodies differ from those of version 4.16.

    *no_account*: conversation events name no account, as before v4.14.2. *utc_times*: times of messages as
    `2020-03-03 13:05:57 UTC`; *text_ids*: ids of messages as text: both as the help article has them. *foreign_last*:
    `conversation.messages` holds another message than the one that is told of. *rootless*: addresses of files begin
    `http:///rails`, as where the installation lacks its own address.
    """

    no_account: bool = False
    utc_times: bool = False
    text_ids: bool = False
    foreign_last: bool = False
    rootless: bool = False


def body(event: str, subject: Subject, account: Account, variants: Variants, changes: Changes | None) -> dict[str, Any]:
    """What is told of *subject*, as it stands now."""
    match subject:
        case Contact():
            told = _contact(subject)
        case Conversation():
            told = _conversation(subject, account, None, variants)
        case (talk, message):
            told = _message(message, talk, account, variants)
    if event == "conversation_status_changed":
        told["changed_attributes"] = None  # after the commit the record of changes is empty already
    elif changes is not None and not event.startswith("message_"):
        told["changed_attributes"] = [
            {name: {"previous_value": was, "current_value": now}} for name, (was, now) in changes.items()
        ]
    return told | {"event": event}


def _contact(one: Contact) -> dict[str, Any]:
    """The long form, which has no type."""
    return views.short_contact(one) | {"account": dict(OF_ACCOUNT), "avatar": ""}


def _message(one: Message, talk: Conversation, account: Account, variants: Variants) -> dict[str, Any]:
    inbox = account.inboxes[talk.inbox_id]
    told: dict[str, Any] = {
        "account": dict(OF_ACCOUNT),
        "additional_attributes": one.additional,
        "content_attributes": one.content_attributes,
        "content_type": one.content_type,
        "content": one.content,
        "conversation": _conversation(talk, account, one, variants),
        "created_at": _time(one.created_at, variants),
        "id": str(one.id) if variants.text_ids else one.id,
        "inbox": {"id": inbox.id, "name": inbox.name},
        "message_type": _TYPES[one.message_type],
        "private": one.private,
        "sender": _sender(one.sender),
        "source_id": one.source_id,
    }
    if variants.no_account:
        del told["account"]
    if one.attachments:
        told["attachments"] = _files(one, account, variants)
    return told


def _conversation(one: Conversation, account: Account, about: Message | None, variants: Variants) -> dict[str, Any]:
    """*about*: the message that is told of."""
    shown = [message for message in one.messages if message.shown]
    if variants.foreign_last and about in shown and len(shown) > 1:
        shown.remove(about)
    last = [views.nested(shown[-1], one, account)] if shown else []
    sender = views.short_contact(one.contact) | {"type": "contact"}
    for told in last:
        if "attachments" in told:
            told["attachments"] = _files(shown[-1], account, variants)
    document: dict[str, Any] = {
        "additional_attributes": one.additional_attributes,
        "can_reply": account.can_reply(one),
        "channel": account.inboxes[one.inbox_id].channel_type,
        "contact_inbox": _contact_inbox(one),
        "id": one.id,
        "inbox_id": one.inbox_id,
        "messages": last,
        "labels": list(one.labels),
        "meta": {
            "sender": sender,
            "assignee": None if one.assignee is None else views.agent(one.assignee),
            "assignee_type": None if one.assignee is None else "User",
            "team": None,
            "hmac_verified": False,
        },
        "status": one.status,
        "custom_attributes": one.custom_attributes,
        "snoozed_until": None,
        "unread_count": one.unread,
        "first_reply_created_at": None if one.first_reply_at is None else views.iso(one.first_reply_at),
        "priority": None,
        "waiting_since": one.waiting_since,
        "agent_last_seen_at": 0,
        "contact_last_seen_at": 0,
        "last_activity_at": int(one.active_at),
        "timestamp": int(one.active_at),
        "created_at": int(one.created_at),
        "updated_at": one.active_at,
    }
    return document if variants.no_account else document | {"account": dict(OF_ACCOUNT)}


def _contact_inbox(talk: Conversation) -> dict[str, Any]:
    """The whole row, with the token that opens the conversation to a browser."""
    at = views.iso(talk.created_at)
    return {
        "id": 10_000 + talk.contact.id,
        "contact_id": talk.contact.id,
        "inbox_id": talk.inbox_id,
        "source_id": talk.address,
        "created_at": at,
        "updated_at": at,
        "hmac_verified": False,
        "pubsub_token": f"ps_demo_{talk.id}",
    }


def _sender(by: Contact | Agent | None) -> dict[str, Any] | None:
    """The sender at the top of a message: of a user other members than within a conversation."""
    match by:
        case None:
            return None
        case Contact():
            return _contact(by)
        case Agent(type="user"):
            return {"id": by.id, "name": by.name, "email": by.email, "type": by.type}
    return {"id": by.id, "name": by.name, "type": by.type}


def _files(one: Message, account: Account, variants: Variants) -> list[dict[str, Any]]:
    files = views.attachments(one, account)
    if variants.rootless:
        for file in files:
            file["data_url"] = "http://" + file["data_url"].removeprefix(account.files_at)
    return files


def _time(at: float, variants: Variants) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC" if variants.utc_times else views.iso(at)
