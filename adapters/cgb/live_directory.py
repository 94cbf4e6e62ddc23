"""CGB as the service at https://app.chatgptbuilder.io/api answers, by its Swagger page (v1.1) and by observation."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, Final
from urllib.parse import quote

from adapters.cgb.client import CgbCalls, Rejection
from adapters.cgb.field_values import live_value, text_of
from adapters.gate import Gate
from schemas.contacts import ContactDraft, DirectoryContact, FieldValue
from schemas.errors import Refused, Transient
from schemas.phone import Phone

_ABOUT_MESSAGES: Final = re.compile(r"message|content|empty", re.I)
_ABOUT_FIELDS: Final = re.compile(r"field|contact|user", re.I)


class LiveCgb:
    """The `ContactDirectory` of the running service.

    *api_key*: gives the account's access token, sent in `X-ACCESS-TOKEN` and nowhere else. *cache_s*: for how many
    seconds the account's list of custom fields is reused. The id of a WhatsApp contact is its phone's digits.
    """

    def __init__(self, gate: Gate, *, base_url: str, api_key: Callable[[], str], cache_s: float) -> None:
        self._calls = CgbCalls(gate, base_url, lambda: {"X-ACCESS-TOKEN": api_key()}, account="/accounts/me")
        self._cache_s = cache_s
        self._fields: dict[str, str] = {}
        self._fields_until = 0.0
        self._fetching: asyncio.Task[dict[str, str]] | None = None
        self._field_by_field = False

    async def find(self, phone: Phone) -> DirectoryContact | None:
        """The contact of *phone*; one call.

        For an unknown contact the running service answers 200 with a contact that has no phone and no name; the Swagger
        page says 404. Both give None.
        """
        try:
            answer = await self._calls.ask("GET", f"/contacts/{phone.digits}")
        except Rejection as refusal:
            if refusal.not_found:
                return None
            raise
        if isinstance(answer, dict) and isinstance(answer.get("data"), dict):
            answer = answer["data"]
        if not isinstance(answer, dict) or not (answer.get("phone") or answer.get("first_name")):
            return None
        return DirectoryContact(id=_text_id(answer.get("id")) or phone.digits, fields=_named(answer))

    async def create(self, draft: ContactDraft) -> str:
        """Make the contact with its fields in one call; return its id.

        The whole name goes to `first_name`, because splitting names went wrong. A contact that exists already (made by
        another client, or by an earlier attempt) is looked up, with two calls at most, and updated instead.
        Raises: Refused ("… exists already …") when the service says that it exists and a search does not find it.
        """
        body: dict[str, Any] = {
            "phone": draft.phone.digits,
            "first_name": draft.name or "",
            "last_name": "",
            "actions": _actions(draft.fields),
        }
        if draft.email:
            body["email"] = draft.email
        try:
            answer = await self._calls.ask("POST", "/contacts", json=body, own=True)
        except Rejection as refusal:
            if not refusal.exists_already:
                raise
            found = await self._search(draft.phone)
            if found is None:
                raise Refused("CGB: the contact exists already, yet a search by phone does not show it") from None
            await self.update(found, draft.fields)
            return found
        return _made_id(answer) or draft.phone.digits

    async def update(self, contact_id: str, fields: Mapping[str, FieldValue]) -> None:
        """Write *fields* in one call; name and e-mail of an existing contact cannot be changed at all.

        The call sends content without messages. If the service refuses such a call, this update and all later ones
        write each field with a call of its own.
        Raises: Refused; in that second way also for a name that the account does not have.
        """
        if not fields:
            return
        if not self._field_by_field:
            try:
                await self._calls.ask(
                    "POST",
                    f"{_path(contact_id)}/send_content",
                    json={"messages": [], "actions": _actions(fields)},
                )
                return
            except Rejection as refusal:
                if not _refuses_no_messages(refusal):
                    raise
        await self._write_singly(contact_id, fields)
        self._field_by_field = True

    async def field_names(self) -> frozenset[str]:
        """Names of the custom fields, at most cache_s old; callers at the same time share one call."""
        return frozenset(await self._field_ids())

    async def has_whatsapp(self, phone: Phone) -> bool | None:
        """None, without a call: the service has no way to tell."""
        return None

    async def _search(self, phone: Phone) -> str | None:
        """The id of the contact whose phone is exactly *phone*, kept with or without its plus."""
        for value in (phone.digits, phone.e164):
            params = {"field_id": "phone", "value": value}
            answer = await self._calls.ask("GET", "/contacts/find_by_custom_field", params=params)
            rows = answer.get("data") if isinstance(answer, dict) else answer
            for row in rows if isinstance(rows, list) else ():
                if not isinstance(row, dict):
                    continue
                contact_id = _text_id(row.get("id"))
                if contact_id and str(row.get("phone") or contact_id).removeprefix("+") == phone.digits:
                    return contact_id
        return None

    async def _write_singly(self, contact_id: str, fields: Mapping[str, FieldValue]) -> None:
        ids = await self._field_ids()
        if missing := sorted(name for name in fields if name not in ids):
            raise Refused(f"CGB: the account has no custom field {', '.join(missing)}"[:200])
        for name, value in fields.items():
            path = f"{_path(contact_id)}/custom_fields/{quote(ids[name], safe='')}"
            await self._calls.ask("POST", path, form={"value": live_value(value)})

    async def _field_ids(self) -> dict[str, str]:
        if time.monotonic() < self._fields_until:
            return self._fields
        if self._fetching is None:
            # All callers share the task, so it runs in no caller's context: the permit of one event must not stop it.
            self._fetching = asyncio.create_task(self._fetch_fields(), name="cgb-custom-fields", context=Context())
            self._fetching.add_done_callback(self._fetched)
        # Shielded: one caller's cancellation must not fail the others.
        return await asyncio.shield(self._fetching)

    async def _fetch_fields(self) -> dict[str, str]:
        answer = await self._calls.ask("GET", "/accounts/custom_fields", own=True)
        rows = answer.get("data") if isinstance(answer, dict) else answer
        if not isinstance(rows, list):
            raise Transient("CGB: the list of custom fields has an unknown shape")
        ids = {
            row["name"]: field_id
            for row in rows
            if isinstance(row, dict) and isinstance(row.get("name"), str) and (field_id := _text_id(row.get("id")))
        }
        self._fields, self._fields_until = ids, time.monotonic() + self._cache_s
        return ids

    def _fetched(self, task: asyncio.Task[dict[str, str]]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # marks the error as seen, in case every caller is gone


def _path(contact_id: str) -> str:
    return f"/contacts/{quote(contact_id, safe='')}"


def _actions(fields: Mapping[str, FieldValue]) -> list[dict[str, str]]:
    return [
        {"action": "set_field_value", "field_name": name, "value": live_value(value)} for name, value in fields.items()
    ]


def _named(contact: Mapping[str, Any]) -> dict[str, str]:
    """The `custom_fields` of a contact, by name."""
    rows = contact.get("custom_fields")
    named: dict[str, str] = {}
    for row in rows if isinstance(rows, list) else ():
        if (
            isinstance(row, dict)
            and isinstance(row.get("name"), str)
            and (text := text_of(row.get("value"))) is not None
        ):
            named[row["name"]] = text
    return named


def _made_id(answer: Any) -> str | None:
    """The id in the answer to a creation: `data.id` as observed, or `id` or `contact_id`, which other clients read."""
    if not isinstance(answer, dict):
        return None
    data = answer.get("data")
    inner = data.get("id") if isinstance(data, dict) else None
    return _text_id(inner) or _text_id(answer.get("id")) or _text_id(answer.get("contact_id"))


def _text_id(value: Any) -> str | None:
    """An id as text, whether it came as text or as a whole number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value).strip() or None


def _refuses_no_messages(refusal: Rejection) -> bool:
    """Whether *refusal* may be about the missing messages; the service's wording is not known."""
    if refusal.not_found:
        return False
    return bool(_ABOUT_MESSAGES.search(refusal.heard)) or not _ABOUT_FIELDS.search(refusal.heard)
