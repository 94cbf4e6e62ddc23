"""CGB as the service at https://app.chatgptbuilder.io/api answers, by its Swagger page (v1.1) and by observation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from adapters.cgb.answers import demand, inner, is_contact, is_done, is_list, same_phone, text_id
from adapters.cgb.client import CgbCalls, Rejection
from adapters.cgb.field_list import FieldList
from adapters.cgb.field_values import live_value, text_of
from adapters.cgb.limits import fitting, fitting_email, fitting_name
from adapters.cgb.short_way import ShortWay
from adapters.gate import Gate
from adapters.http import coded
from schemas.contacts import ContactDraft, DirectoryContact, FieldValue
from schemas.errors import Refused, Uncertain
from schemas.phone import Phone

_ABOUT_MESSAGES: Final = re.compile(r"\bmessages\b", re.I)
_MOST_TOLD: Final = 1000


class LiveCgb:
    """The `ContactDirectory` of the running service.

    *api_key*: gives the account's access token, sent in `X-ACCESS-TOKEN` and nowhere else. *cache_s*: for how many
    seconds the account's list of custom fields is reused. *wanted*: see `FieldList`. The id of a WhatsApp contact is
    its phone's digits.
    """

    def __init__(
        self, gate: Gate, *, base_url: str, api_key: Callable[[], str], cache_s: float, wanted: Iterable[str] = ()
    ) -> None:
        self._calls = CgbCalls(gate, base_url, lambda: {"X-ACCESS-TOKEN": api_key()}, account="/accounts/me")
        self._fields = FieldList(self._calls, cache_s=cache_s, wanted=wanted)
        self._short_way = ShortWay()
        self._told_to_exist: dict[str, None] = {}

    async def find(self, phone: Phone) -> DirectoryContact | None:
        """The contact of *phone*; one call, and two more where a creation was told that the contact exists.

        For an unknown contact the running service answers 200 with a contact that has no phone and no name; the Swagger
        page says 404. Both give None. Raises: Foreign where the answer is about another phone.
        """
        try:
            answer = await self._calls.ask("GET", f"/contacts/{phone.digits}", shape=is_contact, about=phone.digits)
        except Rejection as refusal:
            if not refusal.not_found:
                raise
            answer = {}
        contact = inner(answer)
        if not isinstance(contact, dict) or not (contact.get("phone") or contact.get("first_name")):
            if phone.digits not in self._told_to_exist:
                return None
            contact = await self._search(phone)
            if contact is None:
                return None
        demand(contact.get("phone") or contact.get("id") or phone.digits, phone)
        self._told_to_exist.pop(phone.digits, None)
        return DirectoryContact(id=text_id(contact.get("id")) or phone.digits, fields=_named(contact))

    async def create(self, draft: ContactDraft) -> str:
        """Make the contact with its fields in one call; return its id.

        The whole name goes to `first_name`, because splitting names went wrong.
        Raises: Exists where the contact exists already; the next `find` then searches for it as well. Foreign where the
        answer is about another phone. Uncertain where it has no phone and the id of another: a look-up tells.
        """
        body: dict[str, Any] = {
            "phone": draft.phone.digits,
            "first_name": fitting_name(draft.name),
            "last_name": "",
            "actions": _actions(draft.fields),
        }
        if email := fitting_email(draft.email):
            body["email"] = email
        digits = draft.phone.digits
        try:
            answer = await self._calls.ask("POST", "/contacts", json=body, own=True, shape=is_done, about=digits)
        except Rejection as refusal:
            if not refusal.exists_already:
                raise
            self._note_existing(digits)
            raise refusal.as_exists() from None
        made, data = _made_id(answer) or digits, inner(answer)
        if isinstance(data, dict) and data.get("phone"):
            demand(data["phone"], draft.phone)
        elif not same_phone(made, draft.phone):
            raise coded(Uncertain("CGB: the creation was answered with the id of another contact"), "foreign-id")
        return made

    async def update(self, contact_id: str, fields: Mapping[str, FieldValue]) -> None:
        """Write *fields* in one call; name and e-mail of an existing contact cannot be changed at all.

        The call sends content without messages. Where the service refuses that, each field is written with a call of
        its own; after the second such refusal in a row all updates of the next AGAIN_S seconds are.
        Raises: Refused; in that second way also for a name that the account does not have, and, with their names, for
        fields that are refused while the others are written.
        """
        if not fields:
            return
        if self._short_way.open:
            try:
                await self._calls.ask(
                    "POST",
                    f"{_path(contact_id)}/send_content",
                    json={"messages": [], "actions": _actions(fields)},
                    shape=is_done,
                    about=contact_id,
                )
                self._short_way.taken()
                return
            except Rejection as refusal:
                if not _refuses_no_messages(refusal):
                    raise
            self._short_way.refused()
        await self._write_singly(contact_id, fields)

    async def field_names(self) -> frozenset[str]:
        """Names of the custom fields, at most cache_s old; callers at the same time share one call."""
        return frozenset(await self._fields.ids())

    def _note_existing(self, digits: str) -> None:
        if len(self._told_to_exist) >= _MOST_TOLD:
            self._told_to_exist.pop(next(iter(self._told_to_exist)))
        self._told_to_exist[digits] = None

    async def _search(self, phone: Phone) -> dict[str, Any] | None:
        """The contact whose phone is *phone*, kept with or without its plus."""
        for value in (phone.digits, phone.e164):
            params = {"field_id": "phone", "value": value}
            answer = await self._calls.ask(
                "GET", "/contacts/find_by_custom_field", params=params, shape=is_list, about=phone.digits
            )
            for row in inner(answer):
                contact_id = text_id(row.get("id"))
                if contact_id and same_phone(row.get("phone") or contact_id, phone):
                    return dict(row)
        return None

    async def _write_singly(self, contact_id: str, fields: Mapping[str, FieldValue]) -> None:
        ids = await self._fields.ids()
        if missing := sorted(name for name in fields if name not in ids):
            raise Refused(f"CGB: the account has no custom field {', '.join(missing)}"[:200])
        refused: dict[str, Rejection] = {}
        for name, value in fitting(fields).items():
            path = f"{_path(contact_id)}/custom_fields/{quote(ids[name], safe='')}"
            try:
                await self._calls.ask("POST", path, form={"value": live_value(value)}, shape=is_done, about=contact_id)
            except Rejection as refusal:
                if refusal.not_found:
                    raise
                refused[name] = refusal
        if refused:
            raise _partly(refused, len(fields))


def _path(contact_id: str) -> str:
    return f"/contacts/{quote(contact_id, safe='')}"


def _actions(fields: Mapping[str, FieldValue]) -> list[dict[str, str]]:
    return [
        {"action": "set_field_value", "field_name": name, "value": live_value(value)}
        for name, value in fitting(fields).items()
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
    made = text_id(data.get("id")) if isinstance(data, dict) else None
    return made or text_id(answer.get("id")) or text_id(answer.get("contact_id"))


def _partly(refused: Mapping[str, Rejection], of: int) -> Refused:
    """Some of the fields that were written one by one were refused."""
    names = ", ".join(refused)
    first = next(iter(refused.values()))
    error = Refused(f"CGB: refused {len(refused)} of {of} fields ({names}); the others are written: {first}"[:400])
    error.said = first.said
    return coded(error, "fields-refused")


def _refuses_no_messages(refusal: Rejection) -> bool:
    """Whether *refusal* is about the missing messages and not about what was sent."""
    return not refusal.not_found and _ABOUT_MESSAGES.search(refusal.heard) is not None
