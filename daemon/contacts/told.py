"""What a contact is to hold, where orders and the directory both say something of it. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.person_orders import PersonOrders
from daemon.contacts.field_policy import FieldPolicy
from daemon.contacts.fields import LANGUAGES, fields_of
from schemas.contacts import FieldValue, ToldField
from schemas.orders import Order
from schemas.phone import Phone

NAME: Final = "customer_name"
EMAIL: Final = "Email"
LANGUAGE: Final = "language"


class Said(NamedTuple):
    """What a contact says of its person; None: nothing is known."""

    name: str | None
    email: str | None
    language: str | None


NOTHING: Final = Said(None, None, None), None
"""What the contact of a person without orders is to say, and the fields that it is to hold."""


def wanted(
    order: Order, phone: Phone, stand: PersonOrders, known: frozenset[str] | None, policy: FieldPolicy
) -> tuple[Said, dict[str, FieldValue]]:
    """What the contact of *phone* is to say of its person, and the fields that it is to hold, where *order* is the
    newest one. *known*: the account's fields, as `contact_fields` has them."""
    fields: dict[str, FieldValue] = fields_of(order, phone, stand.orders, known)
    if not stand.told:
        return said_of(order, {}, policy), fields
    return said_of(order, stand.told, policy), in_force(fields, stand.told, order.ordered_at, policy)


def in_force(
    fields: Mapping[str, FieldValue], told: Mapping[str, ToldField], ordered_at: datetime | None, policy: FieldPolicy
) -> dict[str, FieldValue]:
    """*fields*, what an order of *ordered_at* says, and in their place what the directory has *told* where that goes
    before it: of a field that the directory owns, unless it is empty there, and of one that is the newest's, unless the
    order is newer. *ordered_at* None: the person has no order."""
    now = dict(fields)
    for name, (value, at) in told.items():
        if name not in now:
            continue
        owner = policy.owner_of(name)
        if (owner == "cgb" and value) or (owner == "newest" and (ordered_at is None or ordered_at < at)):
            now[name] = value
    return now


def said_of(order: Order, told: Mapping[str, ToldField], policy: FieldPolicy) -> Said:
    """What the contact whose newest order is *order* says of its person."""
    name, email, language = order.client_name, order.client_email, LANGUAGES.get(order.branch or "")
    if not told:
        return Said(name, email, language)
    of_order: dict[str, FieldValue] = {NAME: name or "", EMAIL: email or "", LANGUAGE: language or ""}
    now = in_force(of_order, told, order.ordered_at, policy)
    return Said(*(str(now[field]) or None for field in (NAME, EMAIL, LANGUAGE)))
