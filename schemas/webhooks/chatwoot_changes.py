"""What Chatwoot tells of conversations and contacts besides what people write, and who has written what goes out.

A conversation is told of again with each message, as its `waiting_since` and the like change. So an update counts only
where `changed_attributes` names something that somebody here goes by.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from schemas.webhooks.chatwoot import part, type_of, word

CONVERSATIONS: Final[Mapping[str, str]] = {
    "conversation_created": "created",
    "conversation_status_changed": "status",
    "conversation_opened": "status",
    "conversation_resolved": "status",
    "conversation_updated": "updated",
}
"""Chatwoot's events of conversations -> ours. The third and the fourth come where an agent bot's address is ours."""

CONTACTS: Final = frozenset({"contact_created", "contact_updated"})

STATUSES: Final = frozenset({"open", "resolved", "pending", "snoozed"})

_OF_A_CONVERSATION: Final = frozenset(
    {"status", "assignee_id", "assignee_agent_bot_id", "label_list", "cached_label_list"}
)
_OF_A_CONTACT: Final = frozenset({"name", "phone_number", "email", "identifier"})
_LATEST_S: Final = 10**11
"""The year 5138."""


def tells_of_a_conversation(event: str, doc: Mapping[str, Any]) -> bool:
    """Whether the conversation *doc* has changed in something that counts: an update in its status, in who answers, or
    in its labels."""
    return CONVERSATIONS[event] != "updated" or bool(_changed(doc).keys() & _OF_A_CONVERSATION)


def tells_of_a_contact(event: str, doc: Mapping[str, Any]) -> bool:
    """Whether the contact *doc* is new, or has another name, phone, e-mail address or identifier."""
    return event == "contact_created" or bool(_changed(doc).keys() & _OF_A_CONTACT)


def moment_of(doc: Mapping[str, Any]) -> datetime | None:
    """When what *doc* shows was so, as Chatwoot tells it; None where it does not."""
    value = doc.get("updated_at")
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LATEST_S:
        return datetime.fromtimestamp(value, UTC)
    return None


def status_in(conversation: Mapping[str, Any]) -> str | None:
    """How it stands; None where that is not told, or not known here."""
    status = word(conversation, "status")
    return status if status in STATUSES else None


def is_assigned(conversation: Mapping[str, Any]) -> bool | None:
    """Whether a human agent is to answer it; None where that is not told."""
    meta = part(conversation, "meta")
    if "assignee" not in meta:
        return None
    return bool(part(meta, "assignee")) and word(meta, "assignee_type") != "AgentBot"


def labels_of(conversation: Mapping[str, Any]) -> list[str] | None:
    """Its labels in an order of their own; None where they are not told."""
    found = conversation.get("labels")
    return sorted({one for one in found if isinstance(one, str)}) if isinstance(found, list) else None


def is_by_a_person_of_ours(doc: Mapping[str, Any]) -> bool:
    """Whether a human agent has written the message *doc*, in Chatwoot or on the phone. Messages of bots, automations
    and campaigns are nobody's; those that a program posts with an agent's token look like the agent's own. Raises:
    Malformed."""
    if doc.get("private") is True or type_of(doc) != "outgoing":
        return False
    marks = part(doc, "content_attributes")
    if marks.get("external_echo") is True:
        return True
    by_itself = marks.get("automation_rule_id") or part(doc, "additional_attributes").get("campaign_id")
    return word(part(doc, "sender"), "type") == "user" and not by_itself


def told_state(doc: Mapping[str, Any]) -> dict[str, Any]:
    """What makes one report of a conversation or a contact another one than the last: what is shown, and when."""
    return {
        **{name: doc.get(name) for name in ("status", "labels", "updated_at", *sorted(_OF_A_CONTACT))},
        "assignee": part(part(doc, "meta"), "assignee").get("id"),
        "changed": {
            name: value
            for name, value in _changed(doc).items()
            if name in _OF_A_CONVERSATION | _OF_A_CONTACT | {"updated_at"}
        },
    }


def _changed(doc: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that have changed: an array of objects with one member each, or one object with all."""
    found = doc.get("changed_attributes")
    parts = found if isinstance(found, list) else [found]
    return {name: value for one in parts if isinstance(one, dict) for name, value in one.items()}
