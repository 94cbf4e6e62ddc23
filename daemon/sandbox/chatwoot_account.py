"""The account of the Chatwoot simulator: contacts, conversations and messages, by the rules of Chatwoot's models."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

ACCOUNT_ID: Final = 3
INBOX_ID: Final = 12
WINDOW_S: Final = 24 * 3600.0
MOST_A_MINUTE: Final = 200
"""Messages of any kind in one conversation."""

_E164: Final = re.compile(r"\+[1-9]\d{1,14}\Z", re.A)
_SOURCE: Final = re.compile(r"\d{1,15}|[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}", re.A)
_ITEM_KEYS: Final = {"title", "value"}
_BACKTICKS: Final = re.compile(r"`.*?`", re.S)
_FILLED: Final = re.compile(r"\{\{(.*?)\}\}|\{%.*?%\}", re.S)
_LITERALS: Final = {"'{'": "{", "'%60'|url_decode": "`"}


class Invalid(Exception):
    """Chatwoot answers 422. *attributes*: those that are not valid; empty: another reason, in `str`."""

    def __init__(self, text: str, *attributes: str) -> None:
        super().__init__(text)
        self.attributes = attributes


class Raced(Exception):
    """A unique index refused what a check had let through: Chatwoot answers 500."""


class Missing(Exception):
    """There is no such record."""


@dataclass(slots=True, kw_only=True)
class Contact:
    """*addresses*: whom the contact is (`source_id`), by inbox; several where it was merged."""

    id: int
    name: str | None = None
    phone_number: str | None = None
    identifier: str | None = None
    email: str | None = None
    addresses: list[tuple[int, str]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Message:
    """*additional*: `template_params` and the like. *attachments*: (name, type, bytes) of each file."""

    id: int
    content: str | None
    message_type: int
    content_type: str
    content_attributes: dict[str, Any]
    additional: dict[str, Any] = field(default_factory=dict)
    private: bool = False
    status: str = "sent"
    source_id: str | None = None
    created_at: float = field(default_factory=time.time)
    attachments: list[tuple[str, str, bytes]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Conversation:
    """*id*: the display id, counted in the account. *address*: whom it writes to."""

    id: int
    contact: Contact
    inbox_id: int
    address: str
    status: str = "open"
    messages: list[Message] = field(default_factory=list)
    created_at: float = field(default_factory=time.time)

    @property
    def active_at(self) -> float:
        """When something last happened, in unix seconds."""
        return max((one.created_at for one in self.messages), default=self.created_at)

    @property
    def written_at(self) -> float | None:
        """When the person wrote last, in this conversation: Chatwoot's window looks at no other."""
        return max((one.created_at for one in self.messages if one.message_type == 0), default=None)


class Account:
    """*channel_type* of the inbox. *locked*: the inbox has one conversation for each contact. *insert_delay_s*: seconds
    between the look for a contact and its insertion, in which another may be made."""

    def __init__(self) -> None:
        self.channel_type = "Channel::Whatsapp"
        self.locked = False
        self.insert_delay_s = 0.0
        self.contacts: dict[int, Contact] = {}
        self.conversations: dict[int, Conversation] = {}
        self._ids = count(901)
        self._message_ids = count(7301)
        self._display_ids = count(481)

    async def make_contact(self, given: Mapping[str, Any]) -> Contact:
        """Raises: Invalid, Raced, Missing."""
        phone, identifier = given.get("phone_number") or None, given.get("identifier") or None
        if phone is not None and not _E164.search(phone):
            raise Invalid("Phone number should be in e164 format", "phone_number")
        for name, value in (("identifier", identifier), ("phone_number", phone)):
            if value is not None and any(getattr(one, name) == value for one in self.contacts.values()):
                raise Invalid(f"{name.replace('_', ' ').capitalize()} has already been taken", name)
        await asyncio.sleep(self.insert_delay_s)
        if identifier is not None and any(one.identifier == identifier for one in self.contacts.values()):
            raise Raced  # phone numbers have no such index
        made = Contact(id=next(self._ids), name=given.get("name"), phone_number=phone, identifier=identifier)
        if (inbox_id := given.get("inbox_id")) is not None:
            self.address(made, inbox_id, given.get("source_id"))
        self.contacts[made.id] = made
        return made

    def address(self, contact: Contact, inbox_id: int, source_id: str | None) -> str:
        """Whom *contact* is in the inbox, which is written down. Raises: Invalid, Missing."""
        if int(inbox_id) != INBOX_ID:
            raise Missing
        if source_id is None:
            if contact.phone_number is None:
                raise Invalid("param is missing or the value is empty: contact phone number")
            source_id = contact.phone_number.removeprefix("+")
        if not _SOURCE.fullmatch(source_id):
            raise Invalid("Source invalid source id for whatsapp inbox", "source_id")
        owner = self.owner(source_id)
        if owner is not None and owner is not contact:
            raise Invalid("Source has already been taken", "source_id")
        if owner is None:
            contact.addresses.append((INBOX_ID, source_id))
        return source_id

    def owner(self, source_id: str) -> Contact | None:
        """Whose *source_id* is in the inbox."""
        return next((one for one in self.contacts.values() if (INBOX_ID, source_id) in one.addresses), None)

    def begin(self, contact: Contact, source_id: str) -> Conversation:
        """A conversation, or the last one where there is only one for each contact."""
        mine = [one for one in self.conversations.values() if (one.contact, one.address) == (contact, source_id)]
        if self.locked and mine:
            return mine[-1]
        id = next(self._display_ids)
        made = Conversation(id=id, contact=contact, inbox_id=INBOX_ID, address=source_id)
        self.conversations[id] = made
        return made

    def can_reply(self, conversation: Conversation) -> bool:
        """Whether free text may be sent; an inbox of another kind has no window."""
        written_at = conversation.written_at
        return self.channel_type != "Channel::Whatsapp" or (
            written_at is not None and time.time() - written_at < WINDOW_S
        )

    def post(self, conversation: Conversation, given: Mapping[str, Any]) -> Message:
        """A message that goes out. Raises: Invalid."""
        lately = [one for one in conversation.messages if one.created_at > time.time() - 60]
        if len(lately) >= MOST_A_MINUTE:
            raise Invalid("Validation failed: Too many messages")
        kind, marks = given.get("content_type") or "text", dict(given.get("content_attributes") or {})
        if kind == "input_select":
            items = marks.get("items")
            if not items:
                raise Invalid("undefined method `each' for nil")
            if wrong := {key for item in items for key in item} - _ITEM_KEYS:
                raise Invalid(
                    f"Validation failed: Content attributes contains invalid keys for items : {sorted(wrong)}"
                )
        params = given.get("template_params")
        made = Message(
            id=next(self._message_ids),
            content=liquid(given.get("content"), conversation.contact, code=True),
            message_type=1,
            content_type=kind,
            content_attributes=marks,
            additional={} if params is None else {"template_params": _each(params, conversation.contact)},
            private=bool(given.get("private")),
            attachments=list(given.get("attachments") or ()),
        )
        conversation.messages.append(made)
        return made

    def receive(self, phone: str, text: str, *, ago_s: float = 0.0) -> Conversation:
        """What happens where the person of *phone* (E.164) writes by WhatsApp, *ago_s* seconds ago."""
        digits = phone.removeprefix("+")
        contact = self.owner(digits) or next((c for c in self.contacts.values() if c.phone_number == phone), None)
        if contact is None:
            contact = Contact(id=next(self._ids), name=digits, phone_number=phone)
            self.contacts[contact.id] = contact
        source_id = self.address(contact, INBOX_ID, digits)
        mine = [one for one in self.conversations.values() if one.contact is contact and one.address == source_id]
        unresolved = [one for one in mine if one.status != "resolved"]
        conversation = unresolved[-1] if unresolved else self.begin(contact, source_id)
        written = Message(
            id=next(self._message_ids),
            content=text,
            message_type=0,
            content_type="text",
            content_attributes={},
            created_at=time.time() - ago_s,
        )
        conversation.messages.append(written)
        return conversation

    def messages(self) -> Iterator[tuple[Conversation, Message]]:
        """All that are stored, in the order of their ids."""
        found = ((talk, one) for talk in self.conversations.values() for one in talk.messages)
        return iter(sorted(found, key=lambda pair: pair[1].id))


def liquid(text: Any, contact: Contact, *, code: bool = False) -> Any:
    """*text* as Liquid leaves it. *code*: what is between backticks stays as it is."""
    if not isinstance(text, str):
        return text

    def filled(found: re.Match[str]) -> str:
        what = (found[1] or "").strip()
        return _LITERALS.get(what, str(getattr(contact, what.removeprefix("contact."), "") or ""))

    if not code:
        return _FILLED.sub(filled, text)
    parts, at = [], 0
    for kept in _BACKTICKS.finditer(text):
        parts += [_FILLED.sub(filled, text[at : kept.start()]), kept[0]]
        at = kept.end()
    return "".join([*parts, _FILLED.sub(filled, text[at:])])


def _each(value: Any, contact: Contact) -> Any:
    if isinstance(value, dict):
        return {name: _each(one, contact) for name, one in value.items()}
    return [_each(one, contact) for one in value] if isinstance(value, list) else liquid(value, contact)
