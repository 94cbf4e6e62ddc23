"""CGB as its older documents describe it, for gateways built to them; `live_directory` follows the running service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from adapters.cgb.client import CgbCalls, Rejection
from adapters.cgb.field_values import documented_value, text_of
from adapters.gate import Gate
from schemas.contacts import ContactDraft, DirectoryContact, FieldValue
from schemas.phone import Phone


class DocumentedCgb:
    """The `ContactDirectory` of a gateway built to the documents.

    what *api_key* gives goes into `Authorization: Bearer`. *cache_s* is not used: this style keeps nothing.
    """

    def __init__(self, gate: Gate, *, base_url: str, api_key: Callable[[], str], cache_s: float) -> None:
        self._calls = CgbCalls(gate, base_url, lambda: {"Authorization": f"Bearer {api_key()}"}, account=None)

    async def find(self, phone: Phone) -> DirectoryContact | None:
        """The contact of *phone*; one call. None for 404, and for an answer without id and phone."""
        try:
            answer = await self._calls.ask("GET", f"/contacts/{phone.digits}")
        except Rejection as refusal:
            if refusal.not_found:
                return None
            raise
        if not isinstance(answer, dict) or not (answer.get("id") or answer.get("phone")):
            return None
        cufs = answer.get("cufs")
        named = {str(name): text_of(value) for name, value in cufs.items()} if isinstance(cufs, dict) else {}
        return DirectoryContact(
            id=_id(answer) or phone.digits,
            fields={name: text for name, text in named.items() if text is not None},
        )

    async def create(self, draft: ContactDraft) -> str:
        """Make the contact with its fields in one call; return its id.

        A contact that exists already is updated instead.
        """
        body: dict[str, Any] = {
            "id": draft.phone.digits,
            "phone": draft.phone.digits,
            "name": draft.name or "",
            "cufs": _cufs(draft.fields),
        }
        if draft.email:
            body["email"] = draft.email
        try:
            answer = await self._calls.ask("POST", "/contacts", json=body, own=True)
        except Rejection as refusal:
            if not refusal.exists_already:
                raise
            await self.update(draft.phone.digits, draft.fields)
            return draft.phone.digits
        return _id(answer) or draft.phone.digits

    async def update(self, contact_id: str, fields: Mapping[str, FieldValue]) -> None:
        """Write *fields* in one call; the contact's other fields stay."""
        if fields:
            await self._calls.ask("PUT", f"/contacts/{quote(contact_id, safe='')}", json={"cufs": _cufs(fields)})

    async def field_names(self) -> frozenset[str] | None:
        """None: the documents know no list of fields, and any name is taken."""
        return None

    async def has_whatsapp(self, phone: Phone) -> bool | None:
        """What the gateway says of *phone*; one call. None where it has no such call, or no clear answer."""
        try:
            answer = await self._calls.ask("GET", f"/whatsapp/validate/{phone.digits}")
        except Rejection as refusal:
            if refusal.not_found:
                return None
            raise
        valid = answer.get("valid") if isinstance(answer, dict) else None
        return valid if isinstance(valid, bool) else None


def _cufs(fields: Mapping[str, FieldValue]) -> dict[str, str | int | float | bool]:
    return {name: documented_value(value) for name, value in fields.items()}


def _id(answer: Any) -> str | None:
    value = answer.get("id") if isinstance(answer, dict) else None
    return str(value) if isinstance(value, int | str) and not isinstance(value, bool) and value != "" else None
