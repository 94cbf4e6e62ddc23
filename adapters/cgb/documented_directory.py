"""CGB as its older documents describe it, for gateways built to them; `live_directory` follows the running service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from adapters.cgb.answers import demand, inner, is_contact, is_done, text_id
from adapters.cgb.client import CgbCalls, Rejection
from adapters.cgb.field_values import documented_value, text_of
from adapters.cgb.limits import fitting, fitting_email, fitting_name
from adapters.gate import Gate
from schemas.contacts import ContactDraft, DirectoryContact, FieldValue
from schemas.phone import Phone


class DocumentedCgb:
    """The `ContactDirectory` of a gateway built to the documents.

    What *api_key* gives goes into `Authorization: Bearer`. *cache_s* and *wanted* are not used: this style keeps
    nothing, and takes any field.
    """

    def __init__(
        self, gate: Gate, *, base_url: str, api_key: Callable[[], str], cache_s: float, wanted: Iterable[str] = ()
    ) -> None:
        self._calls = CgbCalls(gate, base_url, lambda: {"Authorization": f"Bearer {api_key()}"}, account=None)

    async def find(self, phone: Phone) -> DirectoryContact | None:
        """The contact of *phone*; one call. None for 404, and for an answer without id and phone.

        Raises: Foreign where the answer is about another phone.
        """
        try:
            answer = await self._calls.ask("GET", f"/contacts/{phone.digits}", shape=is_contact, about=phone.digits)
        except Rejection as refusal:
            if refusal.not_found:
                return None
            raise
        contact = inner(answer)
        if not isinstance(contact, dict) or not (contact.get("id") or contact.get("phone")):
            return None
        demand(contact.get("phone") or phone.digits, phone)
        cufs = contact.get("cufs")
        named = {str(name): text_of(value) for name, value in cufs.items()} if isinstance(cufs, dict) else {}
        return DirectoryContact(
            id=text_id(contact.get("id")) or phone.digits,
            fields={name: text for name, text in named.items() if text is not None},
        )

    async def create(self, draft: ContactDraft) -> str:
        """Make the contact with its fields in one call; return its id.

        Raises: Exists where the contact exists already. Foreign where the answer is about another phone.
        """
        body: dict[str, Any] = {
            "id": draft.phone.digits,
            "phone": draft.phone.digits,
            "name": fitting_name(draft.name),
            "cufs": _cufs(draft.fields),
        }
        if email := fitting_email(draft.email):
            body["email"] = email
        digits = draft.phone.digits
        try:
            answer = await self._calls.ask("POST", "/contacts", json=body, own=True, shape=is_done, about=digits)
        except Rejection as refusal:
            if not refusal.exists_already:
                raise
            raise refusal.as_exists() from None
        made = inner(answer)
        if not isinstance(made, dict):
            return digits
        demand(made.get("phone") or digits, draft.phone)
        return text_id(made.get("id")) or digits

    async def update(self, contact_id: str, fields: Mapping[str, FieldValue]) -> None:
        """Write *fields* in one call; the contact's other fields stay."""
        if fields:
            path = f"/contacts/{quote(contact_id, safe='')}"
            await self._calls.ask("PUT", path, json={"cufs": _cufs(fields)}, shape=is_done, about=contact_id)

    async def field_names(self) -> frozenset[str] | None:
        """None: the documents know no list of fields, and any name is taken."""
        return None


def _cufs(fields: Mapping[str, FieldValue]) -> dict[str, str | int | float | bool]:
    return {name: documented_value(value) for name, value in fitting(fields).items()}
