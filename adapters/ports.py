"""What an outside system must offer to the workers. One Protocol per role; adapters translate, never decide.

Every method makes at most the calls its docstring names, each with a deadline, and raises only the errors of
`schemas.errors`: Transient, Uncertain, ChannelDown, Permanent (Refused, Malformed).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, TypeAlias

from schemas.contacts import ContactDraft, DirectoryContact, FieldValue
from schemas.phone import Phone

Question: TypeAlias = Literal["field_names", "has_whatsapp"]


class ContactDirectory(Protocol):
    """Contacts by phone: CGB, in its live and its documented style."""

    def asks(self, question: Question) -> bool:
        """Whether the method of this name would make a call now; else what it answers says nothing of the service."""
        ...

    async def find(self, phone: Phone) -> DirectoryContact | None:
        """The contact of *phone*, or None when there is none (ghost answers count as none)."""
        ...

    async def create(self, draft: ContactDraft) -> str:
        """Make the contact with its fields in one request; return its id.

        Raises: Refused when the directory says that it exists already or that the draft is wrong.
        """
        ...

    async def update(self, contact_id: str, fields: Mapping[str, FieldValue]) -> None:
        """Write *fields* of an existing contact, all in one request."""
        ...

    async def field_names(self) -> frozenset[str] | None:
        """Names of the account's custom fields (cached CGB_CACHE_TIMEOUT seconds); None: the style has no such call
        and takes any name."""
        ...

    async def has_whatsapp(self, phone: Phone) -> bool | None:
        """Whether *phone* is on WhatsApp; None where the service has no way to tell (live style: always, without a
        call)."""
        ...
