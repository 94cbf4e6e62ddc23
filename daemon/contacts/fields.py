"""An order as custom fields of the buyer's contact in CGB.

The names and types were observed on the running account. A contact shows one order: a field without a value in that
order is emptied, or the contact would hold one order's number with another one's date. What belongs to the person
(KEPT) stays instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from schemas.cleaned import cleaned_fields
from schemas.contacts import FieldValue
from schemas.languages import LANGUAGES
from schemas.orders import Order
from schemas.phone import Phone
from schemas.phone_places import country_of, time_zone_of

ALWAYS: Final = frozenset(
    {
        "Email",
        "OrderNumber",
        "customer_name",
        "order_urgent",
        "visa_country",
        "visa_quantity",
        "visa_type",
    }
)
"""The fields that are written to an account whose field names cannot be asked for."""

OF_AN_ORDER: Final = frozenset(
    {
        "OrderNumber",
        "order_urgent",
        "visa_country",
        "visa_quantity",
        "visa_type",
        "visa_intent",
        "visa_entries",
        "visa_validity",
        "visa_flag",
        "stay_limit",
        "order_date",
        "order_days",
        "order_sum_ils",
        "order_date_time",
        "wa_alerts",
    }
)
"""The fields that tell of the order which a contact shows."""

KEPT: Final = frozenset({"Email", "customer_name"})
"""What an order without it does not take from the person."""

ENRICHED: Final = frozenset({"country", "time_zone", "language", "orders_count", "last_order"})
"""What a contact is given beside its order, on an account that has a field of that name."""

WRITTEN: Final = OF_AN_ORDER | KEPT | ENRICHED
"""Every field that Ferryman writes."""

EMPTY: Final = ""


def digest_of(line: str, fields: Mapping[str, FieldValue]) -> bytes:
    """A digest of *fields*, as the contact of the phone line *line* is given them."""
    return hashlib.sha256(repr((line, sorted(fields.items()))).encode("utf-8", "surrogatepass")).digest()[:16]


def fields_of(order: Order, phone: Phone, orders: int, known: frozenset[str] | None) -> dict[str, FieldValue]:
    """What the contact of *phone* is to hold: the fields of *order*, its newest of *orders*, and of ENRICHED those that
    the account has. *known*: as `contact_fields` has it."""
    fields = contact_fields(order, known)
    if known is None or known.isdisjoint(ENRICHED):
        return fields
    values: dict[str, FieldValue | None] = {
        "country": country_of(phone) if "country" in known else None,
        "time_zone": time_zone_of(phone) if "time_zone" in known else None,
        "language": LANGUAGES.get(order.branch or ""),
        "orders_count": orders,
        "last_order": order.ordered_at,
    }
    return fields | {name: value for name, value in values.items() if value is not None and name in known}


def contact_fields(order: Order, known: frozenset[str] | None) -> dict[str, FieldValue]:
    """Name -> value, as it is written, of the fields that the contact of *order* is to have, among the account's fields
    *known*; EMPTY for those that the order has no value for.

    *known* None: the account takes any name; it gets those of ALWAYS only.
    `order_date` is the day of entry into the country and not of the order; the account uses that name.
    """
    wanted = ALWAYS if known is None else known
    amount = order.amount if order.currency == "ILS" else None
    values: dict[str, FieldValue | None] = {
        "Email": order.client_email,
        "OrderNumber": order.order_id,
        "customer_name": order.client_name,
        "order_urgent": order.is_urgent,
        "visa_country": order.product_country,
        "visa_quantity": order.visa_quantity,
        "visa_type": order.product_doc_type,
        "visa_intent": order.product_intent,
        "visa_entries": order.product_entries,
        "visa_validity": order.product_validity,
        "visa_flag": order.product_country_flag,
        "stay_limit": order.stay_limit,
        "order_date": order.entry_date,
        "order_days": order.processing_days,
        "order_sum_ils": None if amount is None else int(amount) if amount == int(amount) else float(amount),
        "order_date_time": order.placed_at,
        "wa_alerts": order.whatsapp_alerts_enabled,
    }
    wanted_values = {
        name: EMPTY if value is None else value
        for name, value in values.items()
        if name in wanted and not (value is None and name in KEPT)
    }
    return cleaned_fields(wanted_values)
