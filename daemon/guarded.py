"""The contact directory behind its circuit breakers."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.ports import ContactDirectory, Question
from daemon.bus.breakers import Provider
from schemas.contacts import ContactDraft, DirectoryContact, FieldValue
from schemas.phone import Phone


class GuardedDirectory:
    """A ContactDirectory whose every call asks *provider* first. Raises besides: BreakerOpen, without a call.

    What makes no call passes by: an answer from memory must not count as a sign of life of the provider.
    """

    def __init__(self, directory: ContactDirectory, provider: Provider) -> None:
        self._directory = directory
        self._provider = provider

    def asks(self, question: Question) -> bool:
        """See ContactDirectory."""
        return self._directory.asks(question)

    async def find(self, phone: Phone) -> DirectoryContact | None:
        """See ContactDirectory."""
        return await self._provider.call("read", lambda: self._directory.find(phone))

    async def create(self, draft: ContactDraft) -> str:
        """See ContactDirectory."""
        return await self._provider.call("write", lambda: self._directory.create(draft))

    async def update(self, contact_id: str, fields: Mapping[str, FieldValue]) -> None:
        """See ContactDirectory."""
        await self._provider.call("write", lambda: self._directory.update(contact_id, fields))

    async def field_names(self) -> frozenset[str] | None:
        """See ContactDirectory."""
        if not self._directory.asks("field_names"):
            return await self._directory.field_names()
        return await self._provider.call("read", self._directory.field_names)

    async def has_whatsapp(self, phone: Phone) -> bool | None:
        """See ContactDirectory."""
        if not self._directory.asks("has_whatsapp"):
            return await self._directory.has_whatsapp(phone)
        return await self._provider.call("read", lambda: self._directory.has_whatsapp(phone))
