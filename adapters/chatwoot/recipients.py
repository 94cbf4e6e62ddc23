"""Where a message goes: Chatwoot sends in a conversation, of a contact, in an inbox. All three are found, or made.

A contact is made with an `identifier`, which Chatwoot keeps unique; phones it only looks for, so of two creations at
the same time both may come through (chatwoot/chatwoot#15453). Everything here may be done again: what an earlier
attempt has made is found by the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

import structlog

from adapters.chatwoot.answers import (
    Contact,
    Conversation,
    contact_made,
    contactable,
    contacts,
    conversation,
    conversations,
    first,
    is_another,
)
from adapters.chatwoot.client import ChatwootCalls, NotThere
from adapters.http import coded
from schemas.cleaned import NAME_LENGTH, cut, visible
from schemas.errors import Exists, FerrymanError, Refused, Transient, Uncertain
from schemas.phone import Phone, aliases

log = structlog.get_logger(__name__)

MOST: Final = 10_000
"""People who are remembered, the latest ones."""


class Place(NamedTuple):
    """A conversation. *can_reply*: free text may be sent there now; None: that was not looked at. *contact_id*: whose
    it is, where that was told."""

    conversation_id: int
    can_reply: bool | None
    contact_id: int | None = None


class _Known(NamedTuple):
    contact: Contact
    conversation_id: int
    until: float


class Recipients:
    """The conversations of people in the inbox of *calls*. One that was found is remembered for *cache_s* seconds; that
    there is none is never remembered."""

    def __init__(self, calls: ChatwootCalls, *, cache_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._calls = calls
        self._cache_s = cache_s
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._told: set[int] = set()

    async def place(self, phone: Phone, name: str | None, *, free: bool, named: int | None = None) -> Place:
        """The conversation for a message to *phone*: the one with the number *named*, where it is theirs, is in the
        inbox, and takes free text or needs not (*free*). Else of those that free text may be sent in, where *free*;
        then of those that are not resolved; then the latest. It is made where there is none. *name*: for a contact that
        is made, else it is `Contact` and the last four digits. Where *free*, what is remembered is looked at again, as
        a window may have closed.

        Raises: what the calls raise, but never Uncertain, as all of it may be done again.
        """
        one = None if named is None else await self._named(named, phone)
        if one is not None and (one.can_reply or not free):
            return Place(one.id, one.can_reply, one.contact_id)
        known = self._remembered(phone)
        if known is not None and not free:
            return Place(known.conversation_id, None, known.contact.id)
        try:
            if known is not None:
                with suppress(NotThere):
                    return await self._place_of(known.contact, phone, free, remembered=True)
            return await self._place_of(await self._contact(phone, name), phone, free, remembered=False)
        except Uncertain as error:
            raise later(error, "the message was not sent") from None
        except NotThere as gone:
            raise later(gone, "the contact is looked for anew") from None

    async def existing(self, phone: Phone, named: int | None = None) -> list[Conversation]:
        """The conversations with *phone* in the inbox, the one with the number *named* first, then the latest; nothing
        is made. Raises: what the calls raise, NotThere among it."""
        found: dict[int, Conversation] = {}
        for contact in await self._contacts(phone):
            found |= {one.id: one for one in await self._conversations(contact, phone)}
        found = found or {one.id: one for one in await self._by_address(phone)}
        if named is not None and named not in found and (one := await self._named(named, phone)) is not None:
            found[named] = one
        return sorted(found.values(), key=lambda one: (one.id != named, -one.active_at))

    def forget(self, phone: Phone) -> None:
        """The conversation of *phone* is not there."""
        self._known.pop(phone.digits, None)

    def _remembered(self, phone: Phone) -> _Known | None:
        known = self._known.get(phone.digits)
        return known if known is not None and self._clock() < known.until else None

    async def _named(self, id: int, phone: Phone) -> Conversation | None:
        """The conversation *id*; None where it is not there, is in another inbox, or writes to another number."""
        try:
            one = await self._calls.of_record("GET", f"/conversations/{id}", conversation, about=phone.digits)
        except Refused:
            return None
        if one.inbox_id != self._calls.inbox_id:
            return None
        if one.address is None:
            return one if one.phone in aliases(phone.e164) else None
        return None if is_another(one.address, phone) else one

    async def _place_of(self, contact: Contact | Conversation, phone: Phone, free: bool, *, remembered: bool) -> Place:
        if isinstance(contact, Conversation):
            return Place(contact.id, contact.can_reply, contact.contact_id)
        found = await self._conversations(contact, phone)
        chosen = max(found, key=lambda one: _rank(one, free), default=None)
        if chosen is None:
            chosen = await self._begin(contact, phone, remembered=remembered)
        self._known.pop(phone.digits, None)
        if len(self._known) >= MOST:
            self._known.pop(next(iter(self._known)))
        self._known[phone.digits] = _Known(contact, chosen.id, self._clock() + self._cache_s)
        return Place(chosen.id, chosen.can_reply, contact.id)

    async def _conversations(self, contact: Contact, phone: Phone) -> list[Conversation]:
        """Those of *contact* in the inbox that write to *phone*. A contact that was merged, or whose number was
        changed, has conversations that write to another number."""
        path, inbox_id = f"/contacts/{contact.id}/conversations", self._calls.inbox_id
        found = await self._calls.ask(path, conversations, about=phone.digits, known=True)
        elsewhere = any(is_another(address, phone) for address in contact.in_inbox(inbox_id))
        return [
            one
            for one in found
            if one.inbox_id == inbox_id and not (elsewhere if one.address is None else is_another(one.address, phone))
        ]

    async def _begin(self, contact: Contact, phone: Phone, *, remembered: bool) -> Conversation:
        """A conversation with *contact*. Where the contact was found just now, a 404 is the inbox's."""
        inbox_id = self._calls.inbox_id
        sound = [one for one in contact.in_inbox(inbox_id) if not is_another(one, phone)]
        body: dict[str, Any] = {
            "inbox_id": inbox_id,
            "contact_id": contact.id,
            "source_id": sound[0] if sound else await self._address(contact, phone),
        }
        return await self._calls.make("/conversations", body, conversation, about=phone.digits, known=remembered)

    async def _address(self, contact: Contact, phone: Phone) -> str:
        """Whom *contact* would be in the inbox, by its kind; the digits of *phone* where Chatwoot would write to
        another number, or does not say."""
        path = f"/contacts/{contact.id}/contactable_inboxes"
        found = await self._calls.ask(path, contactable, about=phone.digits, known=True)
        told = [address for inbox, address in found if inbox == self._calls.inbox_id]
        return told[0] if told and not is_another(told[0], phone) else phone.digits

    async def _contact(self, phone: Phone, name: str | None) -> Contact | Conversation:
        """The contact of *phone*, made where there is none; a conversation where the contact is not known by it."""
        if (found := first(await self._contacts(phone), phone)) is not None:
            return found
        body = {
            "inbox_id": self._calls.inbox_id,
            "name": cut(visible(name or ""), NAME_LENGTH).strip() or f"Contact{phone.digits[-4:]}",
            "phone_number": phone.e164,
            "identifier": _identifier(phone),
        }
        try:
            return await self._calls.make("/contacts", body, contact_made, about=phone.digits)
        except (Exists, Uncertain) as error:
            # Another client has made it meanwhile, which shows as a failure of the server too; or an earlier attempt.
            return await self._made_meanwhile(phone, error)

    async def _made_meanwhile(self, phone: Phone, error: Exists | Uncertain) -> Contact | Conversation:
        if (found := first(await self._contacts(phone), phone)) is not None:
            return found
        for one in await self._filtered("identifier", _identifier(phone), phone):
            if one.phone is None:
                return one
        for known in await self._by_address(phone):
            return known
        if isinstance(error, Uncertain):
            raise error
        raise coded(later(error, "no search shows that contact"), "contact-hidden") from None

    async def _contacts(self, phone: Phone) -> list[Contact]:
        """All contacts whose phone is *phone*, in the first of its notations that Chatwoot knows."""
        for number in aliases(phone.e164):
            found = await self._filtered("phone_number", number, phone)
            mine = [one for one in found if one.phone == number]
            if len(mine) > 1:
                self._tell_twins(min(one.id for one in mine), len(mine))
            if mine:
                return mine
        return []

    def _tell_twins(self, oldest: int, count: int) -> None:
        """Once in a process: a person decides whether they are merged."""
        if oldest not in self._told and len(self._told) < MOST:
            self._told.add(oldest)
            log.warning("chatwoot.contact_twins", count=count, oldest=oldest)

    async def _filtered(self, attribute: str, value: str, phone: Phone) -> list[Contact]:
        # not the search: it finds parts of numbers, and takes 100 questions a minute of the whole account
        wanted = {"attribute_key": attribute, "filter_operator": "equal_to", "values": [value], "query_operator": None}
        return await self._calls.ask("/contacts/filter", contacts, json={"payload": [wanted]}, about=phone.digits)

    async def _by_address(self, phone: Phone) -> list[Conversation]:
        """The conversations in the inbox that write to *phone*, whatever phone their contact has."""
        params = {"source_id": phone.digits, "inbox_id": str(self._calls.inbox_id), "status": "all"}
        found = await self._calls.ask("/conversations", conversations, params=params, about=phone.digits)
        return [one for one in found if one.inbox_id == self._calls.inbox_id and _surely(one, phone)]


def _surely(found: Conversation, phone: Phone) -> bool:
    """Whether *found* says that it writes to *phone*."""
    if found.address is not None:
        return found.address.isdecimal() and not is_another(found.address, phone)
    return found.phone in aliases(phone.e164)


def _rank(one: Conversation, free: bool) -> tuple[bool, bool, float, int]:
    return free and one.can_reply, not one.resolved, one.active_at, one.id


def _identifier(phone: Phone) -> str:
    return f"wa:{phone.digits}"


def later(error: FerrymanError, what: str) -> Transient:
    """*error* of what may be done again, before the message or where it was not taken: so nothing was sent. *what*:
    said of it besides."""
    again = Transient(f"{error}: {what}")
    again.said, again.code, again.channel, again.operation = error.said, error.code, error.channel, error.operation
    again.answered = error.answered or isinstance(error, Refused)
    return again
