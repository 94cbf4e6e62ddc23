"""What a contact is to hold, where orders and the directory both say something of it. Values in, values out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias

from adapters.postgres.person_orders import PersonOrders
from daemon.contacts.field_policy import FieldPolicy
from daemon.contacts.fields import fields_of
from schemas.contacts import FieldValue, ToldField
from schemas.languages import LANGUAGES
from schemas.orders import Order
from schemas.phone import Phone

NAME: Final = "customer_name"
EMAIL: Final = "Email"
LANGUAGE: Final = "language"


CORRECTED: Final[Mapping[str, str]] = {NAME: "name", EMAIL: "email"}
"""The fields that a correction of an order may be about, and what it calls them."""

SaidAt: TypeAlias = Callable[[str], datetime | None]
"""Gives the time at which the orders have said what they say of a field; None: they say nothing of the person."""


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
    return said_of(order, stand.told, policy), in_force(fields, stand.told, said_by(order), policy)


def in_force(
    fields: Mapping[str, FieldValue], told: Mapping[str, ToldField], said_at: SaidAt, policy: FieldPolicy
) -> dict[str, FieldValue]:
    """*fields*, what an order says, and in their place what the directory has *told* where that goes before it: of a
    field that the directory owns, unless it is empty there, and of one that is the newest's, unless the order's word is
    newer."""
    now = dict(fields)
    for name, (value, at) in told.items():
        if name not in now:
            continue
        owner = policy.owner_of(name)
        if (owner == "cgb" and value) or (owner == "newest" and is_later(at, said_at(name))):
            now[name] = value
    return now


def never(field: str) -> datetime | None:
    """When orders have spoken of a person who has none."""
    return None


def is_later(told_at: datetime, said_at: datetime | None) -> bool:
    """Whether what the directory told is later than what the orders say."""
    return said_at is None or said_at < told_at


def said_by(order: Order) -> SaidAt:
    """When *order* has said what it says of a field: a correction counts from when it was made."""

    corrected_at = dict(order.corrected_at or ())

    def said_at(field: str) -> datetime:
        at = corrected_at.get(CORRECTED.get(field, ""))
        return order.ordered_at if at is None else max(order.ordered_at, at)

    return said_at


def said_of(order: Order, told: Mapping[str, ToldField], policy: FieldPolicy) -> Said:
    """What the contact whose newest order is *order* says of its person."""
    name, email, language = order.client_name, order.client_email, LANGUAGES.get(order.branch or "")
    if not told:
        return Said(name, email, language)
    of_order: dict[str, FieldValue] = {NAME: name or "", EMAIL: email or "", LANGUAGE: language or ""}
    now = in_force(of_order, told, said_by(order), policy)
    return Said(*(str(now[field]) or None for field in (NAME, EMAIL, LANGUAGE)))
