"""The account of the Chatwoot simulator: contacts, conversations and messages, by the rules of Chatwoot's models."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from daemon.sandbox.chatwoot_liquid import each, liquid
from daemon.sandbox.chatwoot_staff import ANA, Agent, Inbox

ACCOUNT_ID: Final = 3
INBOX_ID: Final = 12
"""The inbox that messages go out by."""

WINDOW_S: Final = 24 * 3600.0
MOST_A_MINUTE: Final = 200
"""Messages of any kind in one conversation."""

_E164: Final = re.compile(r"\+[1-9]\d{1,14}\Z", re.A)
_SOURCE: Final = re.compile(r"\d{1,15}|[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}", re.A)
_ITEM_KEYS: Final = {"title", "value"}


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
    custom_attributes: dict[str, Any] = field(default_factory=dict)
    additional_attributes: dict[str, Any] = field(default_factory=dict)
    blocked: bool = False
    created_at: float = field(default_factory=time.time)
    last_activity_at: float | None = None


@dataclass(slots=True, kw_only=True)
class Message:
    """*additional*: `template_params` and the like. *attachments*: (name, type, bytes) of each file. *sender*: None of
    a template, of an automation and of what was written in the phone's own app."""

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
    attachments: Sequence[tuple[str, str, bytes]] = field(default_factory=list)
    sender: Contact | Agent | None = None

    @property
    def shown(self) -> bool:
        """Whether the person sees it too: it is neither a note nor an activity."""
        return not self.private and self.message_type != 2


@dataclass(slots=True, kw_only=True)
class Conversation:
    """*id*: the display id, counted in the account. *address*: whom it writes to. *waiting_since*: unix seconds, 0
    where nobody waits for an answer."""

    id: int
    contact: Contact
    inbox_id: int
    address: str
    status: str = "open"
    messages: list[Message] = field(default_factory=list)
    created_at: float = field(default_factory=time.time)
    labels: list[str] = field(default_factory=list)
    custom_attributes: dict[str, Any] = field(default_factory=dict)
    additional_attributes: dict[str, Any] = field(default_factory=dict)
    assignee: Agent | None = None
    waiting_since: int = 0
    first_reply_at: float | None = None

    @property
    def active_at(self) -> float:
        """When something last happened, in unix seconds."""
        return max((one.created_at for one in self.messages), default=self.created_at)

    @property
    def written_at(self) -> float | None:
        """When the person wrote last, in this conversation: Chatwoot's window looks at no other."""
        return max((one.created_at for one in self.messages if one.message_type == 0), default=None)

    @property
    def unread(self) -> int:
        """How many messages of the person came after the last answer, of ten at most."""
        answered = max((one.id for one in self.messages if one.message_type == 1), default=0)
        return min(10, sum(one.message_type == 0 and one.id > answered for one in self.messages))


class Account:
    """*files_at*: the beginning of the addresses of its files. *locked*: the inbox has one conversation for each
    contact. *insert_delay_s*: seconds between the look for a contact and its insertion, in which another may be made.
    *liquid*: outgoing texts are templates. *owner*: of the token."""

    def __init__(self) -> None:
        self.files_at = ""
        self.inboxes = {INBOX_ID: Inbox(id=INBOX_ID)}
        self.locked = False
        self.insert_delay_s = 0.0
        self.liquid = True
        self.owner: Agent = ANA
        self.contacts: dict[int, Contact] = {}
        self.conversations: dict[int, Conversation] = {}
        self._ids = count(901)
        self._message_ids = count(7301)
        self._display_ids = count(481)

    def count_from(self, first: int) -> None:
        """Let further ids of contacts, messages and conversations begin at *first*, as in an account that is in use."""
        self._ids, self._message_ids, self._display_ids = count(first), count(first), count(first)

    @property
    def channel_type(self) -> str:
        """Of the inbox that messages go out by."""
        return self.inboxes[INBOX_ID].channel_type

    @channel_type.setter
    def channel_type(self, name: str) -> None:
        self.inboxes[INBOX_ID].channel_type = name

    async def make_contact(self, given: Mapping[str, Any]) -> Contact:
        """Raises: Invalid, Raced, Missing."""
        unique: dict[str, Any] = {name: given.get(name) or None for name in ("identifier", "phone_number", "email")}
        phone = unique["phone_number"]
        if phone is not None and not _E164.search(phone):
            raise Invalid("Phone number should be in e164 format", "phone_number")
        for name, value in unique.items():
            if value is not None and any(getattr(one, name) == value for one in self.contacts.values()):
                raise Invalid(f"{name.replace('_', ' ').capitalize()} has already been taken", name)
        await asyncio.sleep(self.insert_delay_s)
        for name in ("identifier", "email"):  # phone numbers have no such index
            if unique[name] is not None and any(getattr(c, name) == unique[name] for c in self.contacts.values()):
                raise Raced
        made = Contact(id=next(self._ids), name=given.get("name"), **unique)
        made.custom_attributes |= given.get("custom_attributes") or {}
        made.additional_attributes |= given.get("additional_attributes") or {}
        if (inbox_id := given.get("inbox_id")) is not None:
            self.address(made, inbox_id, given.get("source_id"))
        self.contacts[made.id] = made
        return made

    def address(self, contact: Contact, inbox_id: int, source_id: str | None) -> str:
        """Whom *contact* is in the inbox, which is written down. Raises: Invalid, Missing."""
        if (inbox_id := int(inbox_id)) not in self.inboxes:
            raise Missing
        if source_id is None:
            if contact.phone_number is None:
                raise Invalid("param is missing or the value is empty: contact phone number")
            source_id = contact.phone_number.removeprefix("+")
        if not _SOURCE.fullmatch(source_id):
            raise Invalid("Source invalid source id for whatsapp inbox", "source_id")
        owner = self.owner_of(source_id, inbox_id)
        if owner is not None and owner is not contact:
            raise Invalid("Source has already been taken", "source_id")
        if owner is None:
            contact.addresses.append((inbox_id, source_id))
        return source_id

    def owner_of(self, source_id: str, inbox_id: int = INBOX_ID) -> Contact | None:
        """Whose *source_id* is in the inbox."""
        return next((one for one in self.contacts.values() if (inbox_id, source_id) in one.addresses), None)

    def begin(self, contact: Contact, source_id: str, inbox_id: int = INBOX_ID) -> Conversation:
        """A conversation, or the last one where there is only one for each contact."""
        mine = self.conversations_of(contact, source_id, inbox_id)
        if self.locked and mine:
            return mine[-1]
        id = next(self._display_ids)
        made = Conversation(id=id, contact=contact, inbox_id=inbox_id, address=source_id)
        self.conversations[id] = made
        return made

    def conversations_of(self, contact: Contact, source_id: str, inbox_id: int) -> list[Conversation]:
        """Those with that address, in their order."""
        wanted = (contact.id, source_id, inbox_id)
        return [one for one in self.conversations.values() if (one.contact.id, one.address, one.inbox_id) == wanted]

    def can_reply(self, conversation: Conversation) -> bool:
        """Whether free text may be sent; an inbox of another kind has no window."""
        inbox, written_at = self.inboxes.get(conversation.inbox_id), conversation.written_at
        return (inbox is not None and inbox.channel_type != "Channel::Whatsapp") or (
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
        if given.get("message_type") == "incoming" and self.channel_type != "Channel::Api":
            raise Invalid("Incoming messages are only allowed in Api inboxes")
        params, contact = given.get("template_params"), conversation.contact
        text = given.get("content")
        return self.add(
            conversation,
            content=liquid(text, contact, code=True) if self.liquid else text,
            message_type=1,
            content_type=kind,
            content_attributes=marks,
            additional={} if params is None else {"template_params": each(params, contact)},
            private=bool(given.get("private")),
            source_id=given.get("source_id") or None,
            attachments=list(given.get("attachments") or ()),
            sender=given.get("sender", self.owner),
        )

    def add(self, conversation: Conversation, **members: Any) -> Message:
        """A further message of *conversation*."""
        plain: dict[str, Any] = {"id": next(self._message_ids), "content_type": "text", "content_attributes": {}}
        made = Message(**plain | members)
        conversation.messages.append(made)
        return made

    def contact_by(self, phone: str | None, source_id: str, inbox_id: int, name: str | None) -> tuple[Contact, bool]:
        """Who writes from *source_id* in the inbox, made where there is nobody; and whether it was made."""
        known = self.owner_of(source_id, inbox_id)
        if known is None and phone is not None:
            known = next((one for one in self.contacts.values() if one.phone_number == phone), None)
        contact = known or Contact(id=next(self._ids), name=name or source_id, phone_number=phone)
        self.contacts[contact.id] = contact
        self.address(contact, inbox_id, source_id)
        return contact, known is None

    def receive(self, phone: str, text: str, *, ago_s: float = 0.0) -> Conversation:
        """What happens where the person of *phone* (E.164) writes by WhatsApp, *ago_s* seconds ago. Nobody is told."""
        digits = phone.removeprefix("+")
        contact, _ = self.contact_by(phone, digits, INBOX_ID, None)
        conversation = self.current(contact, digits, INBOX_ID)
        at = time.time() - ago_s
        self.add(conversation, content=text, message_type=0, created_at=at, sender=contact)
        return conversation

    def current(self, contact: Contact, source_id: str, inbox_id: int) -> Conversation:
        """The conversation that a person's message comes to: the last one that is not resolved, else a new one."""
        mine = self.conversations_of(contact, source_id, inbox_id)
        unresolved = [one for one in mine if one.status != "resolved"]
        return unresolved[-1] if unresolved else self.begin(contact, source_id, inbox_id)

    def messages(self) -> Iterator[tuple[Conversation, Message]]:
        """All that are stored, in the order of their ids."""
        found = ((talk, one) for talk in self.conversations.values() for one in talk.messages)
        return iter(sorted(found, key=lambda pair: pair[1].id))
