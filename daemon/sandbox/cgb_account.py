"""The account that the CGB simulator keeps: contacts, custom fields, tags, flows."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from aiohttp import web

MADE: Final = web.RequestKey("made", bool)
"""Set on a request that made a contact."""

TEXT, NUMBER, DATE, DATETIME, BOOLEAN = 0, 1, 2, 3, 4
WINDOW_S: Final = 24 * 3600.0
"""How long free text reaches a person after their last message (WhatsApp's customer service window)."""

REFERENCE_FIELDS: Final[tuple[tuple[int, str, int], ...]] = (
    (779770, "customer_name", TEXT),
    (877737, "visa_country", TEXT),
    (527249, "visa_type", TEXT),
    (949873, "visa_quantity", NUMBER),
    (837162, "visa_intent", TEXT),
    (863041, "visa_entries", TEXT),
    (816014, "visa_validity", TEXT),
    (824812, "visa_flag", TEXT),
    (592947, "visa_url", TEXT),
    (905364, "visa_url_2", TEXT),
    (189039, "stay_limit", NUMBER),
    (459752, "OrderNumber", TEXT),
    (763048, "order_urgent", BOOLEAN),
    (470125, "order_priority", NUMBER),
    (661549, "order_date", DATE),
    (271948, "order_days", NUMBER),
    (358366, "order_sum_ils", NUMBER),
    (100644, "order_date_time", DATETIME),
    (662459, "wa_alerts", BOOLEAN),
    (610001, "Email", TEXT),
)
"""(id, name, type) of the custom fields that a new account has."""


@dataclass(slots=True, kw_only=True)
class Switches:
    """How the simulator behaves where the real service's behaviour is not certain; switched at any time.

    *ghost*: an unknown contact is an empty one in a 200, or a 404. *second_post*: a creation of an existing
    contact updates it or is refused. *unknown_field*: ignored or refused. *empty_messages*: `send_content`
    without messages is taken or refused. *limit_form*: see `faults.limited`; *limit* None: no limit.
    *bad_token_status*: 401, 403, or 200 with an error inside. *outcome*: what becomes of messages: delivered,
    read, a Meta error code, drop, duplicate, out_of_order; *outcomes*: by phone digits. *lag_s*: how long
    flows still read old values. *whatsapp*: documented style's answer for phones not in *no_whatsapp*.
    """

    ghost: Literal["200", "404"] = "200"
    second_post: Literal["upsert", "refuse"] = "upsert"
    unknown_field: Literal["ignore", "error"] = "ignore"
    empty_messages: Literal["take", "refuse"] = "take"
    error_shape: Literal["flat", "nested"] = "flat"
    error_status: int = 200
    limit: int | None = 100
    limit_window_s: float = 60.0
    limit_form: Literal["429", "200"] = "429"
    limit_retry_after: str | None = None
    bad_token_status: int = 401
    plus_tolerant_search: bool = False
    outcome: str = "delivered"
    outcomes: dict[str, str] = field(default_factory=dict)
    status_delay_s: float = 0.05
    lag_s: float = 1.0
    whatsapp: bool = True
    no_whatsapp: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Contact:
    """One contact. *values*: by field name. *history*: (when, values) before each write, for the lag of flows."""

    id: str
    phone: str
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    gender: int = 2
    values: dict[str, Any] = field(default_factory=dict)
    tags: set[int] = field(default_factory=set)
    history: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    last_message_at: float | None = None
    touched_at: float = field(default_factory=time.time)

    def write(self, values: Mapping[str, Any]) -> None:
        """Write custom fields; flows read them a little later."""
        now = time.time()
        self.history.append((now, dict(self.values)))
        self.values.update(values)
        self.touched_at = now

    def seen_by_flow(self, lag_s: float) -> dict[str, Any]:
        """The values as a flow reads them now: writes of the last *lag_s* seconds do not show."""
        horizon = time.time() - lag_s
        return next((before for at, before in self.history if at > horizon), self.values)

    @property
    def in_window(self) -> bool:
        """Whether free text would reach the person."""
        return self.last_message_at is not None and time.time() - self.last_message_at < WINDOW_S


class Account:
    """Everything the simulator remembers; contact ids are text, other ids numbers."""

    def __init__(self) -> None:
        self.contacts: dict[str, Contact] = {}
        self.fields: dict[str, tuple[int, int]] = {}
        self.tags: dict[str, int] = {}
        self.flows: dict[int, str] = {}
        self.flow_runs: list[dict[str, Any]] = []
        self.reset()

    def reset(self) -> None:
        """Back to a new account."""
        self.contacts.clear()
        self.flow_runs.clear()
        self.fields = {name: (field_id, kind) for field_id, name, kind in REFERENCE_FIELDS}
        self.tags = {"vizi": 310001}
        self.flows = {500123: "order_received", 500124: "visa_approved"}

    def make(self, phone: str, **attributes: Any) -> Contact:
        """A new contact whose id is its phone's digits; other digits are another contact."""
        digits = bare(phone)
        contact = Contact(id=digits, phone=digits, **attributes)
        self.contacts[digits] = contact
        return contact

    def field_by_id(self, field_id: str) -> str | None:
        """The name of a custom field."""
        return next((name for name, (known, _) in self.fields.items() if str(known) == field_id), None)

    def tag(self, name: str) -> int:
        """The id of a tag, made where it is new."""
        return self.tags.setdefault(name, 310001 + len(self.tags))

    def run_flow(self, contact: Contact, flow_id: int, lag_s: float) -> None:
        """Note a flow's run with the values that it read."""
        seen = contact.seen_by_flow(lag_s)
        stale = seen != contact.values
        self.flow_runs.append({"flow_id": flow_id, "contact": contact.id, "values": dict(seen), "stale": stale})

    def shown(self, contact: Contact) -> dict[str, Any]:
        """The contact in the live API's form."""
        return {
            "id": int(contact.id) if contact.id.isascii() and contact.id.isdigit() else contact.id,
            "page_id": 100001,
            "phone": contact.phone,
            "email": contact.email,
            "first_name": contact.first_name,
            "last_name": contact.last_name,
            "channel": 5,
            "gender": contact.gender,
            "subscribed": 1,
            "tags": [{"id": i, "name": name} for name, i in self.tags.items() if i in contact.tags],
            "custom_fields": self.values_shown(contact),
        }

    def values_shown(self, contact: Contact) -> list[dict[str, Any]]:
        """The contact's custom fields in the live API's form: other than text they may be numbers."""
        shown = []
        for name, value in contact.values.items():
            field_id, kind = self.fields.get(name, (0, TEXT))
            if kind != TEXT and isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,15}", value):
                value = int(value)
            shown.append({"id": field_id, "name": name, "type": kind, "value": value})
        return shown


def bare(phone: str) -> str:
    """*phone* without a leading plus."""
    return phone.strip().removeprefix("+")
