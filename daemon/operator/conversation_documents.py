"""Conversations as JSON. Without *reveal* nothing of what a person has written is in it, nor who they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unicodedata import category

from adapters.postgres.operator.conversation_parts import OpenLetter, StoredContentOrder
from adapters.postgres.operator.conversations import StoredConversation
from daemon.operator.conversation_dialog import HIDDEN, Dialog, dialog_in
from daemon.operator.conversation_names import id_of, masked_chat
from daemon.operator.conversation_timeline import Said
from daemon.operator.keys import masked_key


def row_document(one: StoredConversation, *, reveal: bool) -> dict[str, Any]:
    """What a list says of a conversation."""
    dialog = dialog_in(one.context)
    return {
        "id": id_of(one),
        "number": one.id,
        "chat": one.chat if reveal else masked_chat(one),
        "system": one.system,
        "chatwoot_account_id": one.chatwoot_account_id,
        "chatwoot_conversation_id": one.chatwoot_conversation_id,
        "phone": one.phone if reveal or one.phone is None else masked_key(one.phone),
        "name": one.name if reveal else masked_name(one.name),
        "status": one.status,
        "question": dialog.field,
        "escalated_at": one.escalated_at,
        "settles_at": one.settles_at,
        "message_count": one.message_count,
        "last_message_at": one.last_message_at,
        "newest_at": one.newest_at,
    }


def more_document(one: StoredConversation, *, reveal: bool) -> dict[str, Any]:
    """What only `show` says of the row."""
    return {
        "inbox_id": one.inbox_id,
        "channel": one.channel,
        "contact_ref": one.contact_ref if reveal else None,
        "language": one.language,
        "assigned": one.assigned,
        "agent_at": one.agent_at,
        "labels": None if one.labels is None else sorted(one.labels),
        "escalated_why": one.escalated_why,
        "due_at": one.due_at,
        "created_at": one.created_at,
        "updated_at": one.updated_at,
    }


def masked_name(name: str | None) -> str | None:
    """The first letter of *name*."""
    first = next((c for c in name or "" if category(c)[0] in "LN"), "")
    return f"{first}{HIDDEN}" if name and len(name) > 1 else name and HIDDEN


def dialog_document(
    one: StoredConversation, dialog: Dialog, said: Sequence[Said], *, reveal: bool
) -> dict[str, Any] | None:
    """The dialog as JSON; None: there is none, and nothing of one is known."""
    if dialog.field is None and dialog.name is None and dialog.paused_until is None:
        return None
    last = dialog.asked[-1].id if dialog.asked else None
    status = next((each.message.status for each in said if each.message and each.message.id == last), None)
    return {
        "name": dialog.name,
        "id": dialog.id,
        "question": dialog.field,
        "asked": len(dialog.asked),
        "asked_at": dialog.since,
        "message_id": None if last is None else str(last),
        "message_status": status,
        "wrong_answers": dialog.wrong,
        "reminded": dialog.reminded,
        "params": dialog.shown(reveal=reveal),
        "paused_until": dialog.paused_until,
        "version": one.context_version,
    }


def order_document(order: StoredContentOrder, *, reveal: bool) -> dict[str, Any]:
    """What was ordered; without *reveal* which fields are known, and not what they say."""
    return {
        "id": str(order.id),
        "created_at": order.created_at,
        "ready_at": order.ready_at,
        "notice_message_id": None if order.notice_message_id is None else str(order.notice_message_id),
        "params": dict(order.params) if reveal else dict.fromkeys(order.params, HIDDEN),
    }


def letter_document(letter: OpenLetter) -> dict[str, Any]:
    """A dead letter, without the data of its event."""
    names = ("number", "worker", "event_id", "type", "error_class", "error_text", "buried_at")
    return {name: getattr(letter, name) for name in names}
