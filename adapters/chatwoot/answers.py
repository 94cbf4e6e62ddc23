"""What Chatwoot answers about contacts, conversations and messages, as far as it is needed to send. Each function reads
one shape, and gives None where the answer has another one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from schemas.phone import Phone, aliases

T = TypeVar("T")

_NUMBER: Final = re.compile(r"(?:whatsapp:)?\+?([0-9]{7,15})")
"""An address that is a number: as WhatsApp inboxes have it, and those of Twilio. Others are no numbers."""


@dataclass(frozen=True, slots=True, repr=False)
class Contact:
    """*addresses*: inbox -> whom the contact is there (`source_id`). A contact that was merged may have several in one
    inbox. *phone*: in E.164, None where the contact has none."""

    id: int
    phone: str | None
    addresses: tuple[tuple[int, str], ...]

    def in_inbox(self, inbox_id: int) -> list[str]:
        """Its addresses there."""
        return [source_id for inbox, source_id in self.addresses if inbox == inbox_id]


@dataclass(frozen=True, slots=True, repr=False)
class Conversation:
    """*address*: whom it writes to, None where the answer does not say. *active_at*: unix seconds, 0 where there was
    nothing yet. *can_reply*: free text may be sent now. *phone*: of its contact."""

    id: int
    inbox_id: int
    contact_id: int | None
    phone: str | None
    address: str | None
    resolved: bool
    can_reply: bool
    active_at: float


@dataclass(frozen=True, slots=True, repr=False)
class Message:
    """A message of a conversation. *marks*: its `content_attributes`. *at*: unix seconds."""

    id: int
    at: float
    marks: Mapping[str, Any]


def is_another(address: str, phone: Phone) -> bool:
    """Whether *address* is a number, and not that of *phone*."""
    found = _NUMBER.fullmatch(address)
    return found is not None and f"+{found[1]}" not in aliases(phone.e164)


def contacts(data: Any) -> list[Contact] | None:
    """Of `POST /contacts/filter`."""
    return _each(data, _contact)


def contact_made(data: Any) -> Contact | None:
    """Of `POST /contacts`: the contact with its address in the inbox that was named."""
    payload = data.get("payload") if isinstance(data, dict) else None
    if not isinstance(payload, dict) or (made := _contact(payload.get("contact"))) is None:
        return None
    own = _address(payload.get("contact_inbox"))
    return made if own is None or own in made.addresses else Contact(made.id, made.phone, (*made.addresses, own))


def contactable(data: Any) -> list[tuple[int, str]] | None:
    """Of `GET /contacts/{id}/contactable_inboxes`: inbox, and whom the contact would be there."""
    return _each(data, _address)


def conversations(data: Any) -> list[Conversation] | None:
    """Of `GET /contacts/{id}/conversations` and of `GET /conversations`, which wraps the same in `data`."""
    inner = data.get("data") if isinstance(data, dict) else None
    return _each(inner if isinstance(inner, dict) else data, conversation)


def conversation(data: Any) -> Conversation | None:
    """Of `POST /conversations`, and each of a list."""
    if not isinstance(data, dict) or (id := _whole(data.get("id"))) is None:
        return None
    if (inbox_id := _whole(data.get("inbox_id"))) is None:
        return None
    sender = _object(_object(data.get("meta")).get("sender"))
    return Conversation(
        id=id,
        inbox_id=inbox_id,
        contact_id=_whole(sender.get("id")),
        phone=_text(sender.get("phone_number")),
        address=_written_to(data),
        resolved=data.get("status") == "resolved",
        can_reply=data.get("can_reply") is not False,
        active_at=_seconds(data.get("last_activity_at")),
    )


def messages(data: Any) -> list[Message] | None:
    """Of `GET /conversations/{id}/messages`."""
    return _each(data, _message)


def message_made(data: Any) -> int | None:
    """Of `POST /conversations/{id}/messages`: the id of the message."""
    return _whole(data.get("id")) if isinstance(data, dict) else None


def _contact(data: Any) -> Contact | None:
    if not isinstance(data, dict) or (id := _whole(data.get("id"))) is None:
        return None
    inboxes = data.get("contact_inboxes")
    found = [_address(one) for one in inboxes] if isinstance(inboxes, list) else []
    return Contact(id, _text(data.get("phone_number")), tuple(one for one in found if one is not None))


def _address(data: Any) -> tuple[int, str] | None:
    inbox_id, source_id = _whole(_object(_object(data).get("inbox")).get("id")), _text(_object(data).get("source_id"))
    return None if inbox_id is None or source_id is None else (inbox_id, source_id)


def _written_to(data: Mapping[str, Any]) -> str | None:
    """Whom a conversation writes to: only its messages tell."""
    last = data.get("messages")
    told = [*(last if isinstance(last, list) else ()), data.get("last_non_activity_message")]
    for one in told:
        contact_inbox = _object(_object(_object(one).get("conversation")).get("contact_inbox"))
        if (source_id := _text(contact_inbox.get("source_id"))) is not None:
            return source_id
    return None


def _message(data: Any) -> Message | None:
    if not isinstance(data, dict) or (id := _whole(data.get("id"))) is None:
        return None
    return Message(id, _seconds(data.get("created_at")), _object(data.get("content_attributes")))


def _each(data: Any, read: Callable[[Any], T | None]) -> list[T] | None:
    payload = data.get("payload") if isinstance(data, dict) else None
    if not isinstance(payload, list):
        return None
    return [found for one in payload if (found := read(one)) is not None]


def _object(data: Any) -> Mapping[str, Any]:
    return data if isinstance(data, dict) else {}


def _whole(value: Any) -> int | None:
    """An id: a whole number, or one as text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 18:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def first(found: Sequence[Contact], phone: Phone) -> Contact | None:
    """Of *found* the one that is *phone*: the oldest, as parallel creations make twins. The filter of a gateway may
    give others."""
    mine = [one for one in found if one.phone in aliases(phone.e164)]
    return min(mine, key=lambda one: one.id, default=None)
