"""Whom a message goes to: CGB sends to a contact and not to a phone, so the contact is found, or made, before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from adapters.cgb.limits import fitting_name
from adapters.http import coded
from adapters.ports import ContactDirectory
from schemas.contacts import ContactDraft
from schemas.errors import Exists, Transient, Uncertain
from schemas.phone import Phone

MOST: Final = 10_000
"""Contacts that are remembered, the latest ones."""


class Recipient(NamedTuple):
    """A contact by its *id*. *remembered*: it was not looked for now, and may be gone."""

    id: str
    remembered: bool


class Recipients:
    """The contacts of an account by phone. One that was found is remembered for *cache_s* seconds; that there is none
    is never remembered."""

    def __init__(
        self, directory: ContactDirectory, *, cache_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        self._cache_s = cache_s
        self._clock = clock
        self._known: dict[str, tuple[str, float]] = {}

    async def of(self, phone: Phone, name: str | None) -> Recipient:
        """The contact of *phone*, made where there is none: by its *name*, else as `Contact` and its last four digits.

        Raises: what the directory raises, but never Uncertain, as a contact may be made again.
        """
        known = self._known.get(phone.digits)
        if known is not None and self._clock() < known[1]:
            return Recipient(known[0], remembered=True)
        with repeatable():
            contact_id = await self._find_or_make(phone, name)
        self._known.pop(phone.digits, None)
        if len(self._known) >= MOST:
            self._known.pop(next(iter(self._known)))
        self._known[phone.digits] = contact_id, self._clock() + self._cache_s
        return Recipient(contact_id, remembered=False)

    def forget(self, phone: Phone) -> None:
        """The contact of *phone* is not there."""
        self._known.pop(phone.digits, None)

    async def _find_or_make(self, phone: Phone, name: str | None) -> str:
        found = await self._directory.find(phone)
        if found is not None:
            return found.id
        called = fitting_name(name).strip() or f"Contact{phone.digits[-4:]}"
        try:
            return await self._directory.create(ContactDraft(phone=phone, name=called, email=None, fields={}))
        except Exists:
            # Somebody else has made it meanwhile, or it is there under another id: now it is searched for by phone.
            found = await self._directory.find(phone)
        if found is None:
            raise coded(Transient("CGB: the contact exists, and no search shows it"), "contact-hidden")
        return found.id


@contextmanager
def repeatable() -> Iterator[None]:
    """For what comes before the message and may be done again: when its end is not known, nothing was sent."""
    try:
        yield
    except Uncertain as error:
        again = Transient(f"{error}; the message was not sent")
        again.said, again.code, again.answered = error.said, error.code, error.answered
        again.channel, again.operation = error.channel, error.operation
        raise again from None
