"""Whom and what the labels of an event are for: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.conversations import CHATWOOT, chat_of, message_key
from schemas.phone import Phone
from schemas.told import SILENT, is_test_contact, phone_told


class Skipped(Exception):
    """The event asks for nothing here; *reason*: of a closed set. *rows*: what is kept of it all the same."""

    def __init__(self, reason: str, rows: Sequence[object] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.rows = rows


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """*person*: one name for a person over all events: the phone line, else the system and its id of them. *phone*: by
    which the conversation is found where *conversation_id* is None. *contact_id*: the CRM's, where it is told."""

    person: str
    phone: Phone | None
    conversation_id: int | None = None
    contact_id: int | None = None
    name: str | None = None


def target_of(told: dict[str, Any], account_id: int) -> Target:
    """Of the data of a `message.received`. A message by the CRM names its conversation and its contact itself. Raises:
    Skipped; Malformed."""
    if is_test_contact(told.get("contact_id")):
        raise Skipped("test contact")
    if told.get("kind") in SILENT:
        raise Skipped("no message")
    chat, phone, name = chat_of(told), phone_told(told), told.get("name")
    person = f"{chat.system}:{told['contact_id']}" if phone is None else phone.line
    named = name if isinstance(name, str) else None
    if chat.system == CHATWOOT:
        if chat.account != account_id:
            raise Skipped("another account")
        return Target(person, phone, chat.conversation, contact_of(told.get("contact_id"), account_id), named)
    if phone is None:
        raise Skipped("no phone")
    return Target(person, phone, name=named)


def counted_as(told: Mapping[str, Any]) -> str | None:
    """The name under which a message counts: WhatsApp's own id of it where that is told, as a number may be heard of by
    two systems; else its system's. None: it has none."""
    received = told.get("received")
    ids = (told.get("message_id"), received.get("source_id") if isinstance(received, Mapping) else None)
    of_whatsapp = [id for id in ids if isinstance(id, str) and id.startswith("wamid.")]
    return of_whatsapp[0] if of_whatsapp else message_key(told)


def spoken_in(told: Mapping[str, Any]) -> dict[str, Any]:
    """The message of a `message.transcribed` as if it had been written. Raises: Skipped."""
    message, text = told.get("message"), told.get("text")
    if not isinstance(text, str) or not text.strip():
        raise Skipped("no text")
    if not isinstance(message, Mapping):
        raise Skipped("no message")
    return {**message, "text": text, "received": {"source_id": message.get("source_id")}}


def asked_target(told: Mapping[str, Any], account_id: int) -> Target:
    """Of the data of a `labels.requested` or a `conversation.escalated`: a conversation of the CRM, else a phone.
    Raises: Skipped; Malformed."""
    phone, name = phone_told(dict(told)), told.get("name")
    found = told.get("conversation")
    place = found if isinstance(found, Mapping) else {}
    conversation_id, account = whole(place.get("id")), whole(place.get("account"))
    if conversation_id is not None and account not in (None, account_id):
        raise Skipped("another account")
    if conversation_id is None and phone is None:
        raise Skipped("no phone")
    person = phone.line if phone is not None else f"{CHATWOOT}:conversation:{conversation_id}"
    return Target(person, phone, conversation_id, name=name if isinstance(name, str) else None)


def contact_of(contact_id: object, account_id: int) -> int | None:
    """The CRM's number of a contact by its name ACCOUNT:CONTACT."""
    account, _, contact = contact_id.partition(":") if isinstance(contact_id, str) else ("", "", "")
    return whole(contact) if whole(account) == account_id else None


def whole(value: object) -> int | None:
    """An id: a whole number above 0, or one as text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 18:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
