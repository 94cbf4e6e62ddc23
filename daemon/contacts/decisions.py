"""Decides what to do with an order's contact in the directory. Values in, values out: no clock, no calls."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final, TypeAlias

from daemon.contacts.fields import ALWAYS, EMPTY, OF_AN_ORDER
from daemon.contacts.told import Said
from schemas.contacts import ContactDraft, DirectoryContact, FieldValue
from schemas.phone import Phone

_OF_ITS_ORDERS: Final = frozenset({"orders_count", "last_order"})
_YES: Final = frozenset({"1", "true", "yes"})
_NO: Final = frozenset({"0", "false", "no"})


@dataclass(frozen=True, slots=True)
class Create:
    """The directory has no contact: create this one."""

    draft: ContactDraft


@dataclass(frozen=True, slots=True)
class Update:
    """The contact exists, and *fields* are those of the order's that differ from it."""

    contact_id: str
    fields: Mapping[str, FieldValue]


@dataclass(frozen=True, slots=True)
class Keep:
    """The contact exists, and its fields are those of the order."""

    contact_id: str


Plan: TypeAlias = Create | Update | Keep


def written_by(plan: Create | Update) -> Mapping[str, FieldValue]:
    """The fields that *plan* writes."""
    return plan.draft.fields if isinstance(plan, Create) else plan.fields


def decide(
    said: Said,
    phone: Phone,
    found: DirectoryContact | None,
    fields: Mapping[str, FieldValue],
    owned: frozenset[str] = frozenset(),
) -> Plan:
    """What to do for the contact of *phone* to say this of its person, and to hold these *fields*.

    *found*: the contact in the directory. *owned*: the fields that the directory owns: only empty ones are filled.
    """
    if found is None:
        filled = {name: value for name, value in fields.items() if value != EMPTY}
        return Create(ContactDraft(phone=phone, name=said.name, email=said.email, fields=filled))
    held = found.fields
    changed = differing({n: v for n, v in fields.items() if n not in owned or not held.get(n, EMPTY).strip()}, held)
    return Update(found.id, changed) if changed else Keep(found.id)


def emptying(found: DirectoryContact, known: frozenset[str] | None, but: Container[str] = ()) -> Plan:
    """What to do for a contact whose person has no order any more. *but*: fields that are not the orders'."""
    names = [name for name in (OF_AN_ORDER | _OF_ITS_ORDERS) & (ALWAYS if known is None else known) if name not in but]
    changed = differing(dict.fromkeys(names, EMPTY), found.fields)
    return Update(found.id, changed) if changed else Keep(found.id)


def differing(wanted: Mapping[str, FieldValue], held: Mapping[str, str]) -> dict[str, FieldValue]:
    """The fields of *wanted* that are missing in *held* or have another value there, whatever its encoding. An empty
    field is as one that is missing."""
    return {name: value for name, value in wanted.items() if not _says(held.get(name, EMPTY), value)}


def _says(held: str, value: FieldValue) -> bool:
    held = held.strip()
    match value:
        case bool():
            return held.lower() in (_YES if value else _NO)
        case int() | float():
            return _number(held) == Decimal(str(value))
        case datetime():
            return _seconds(held) == int(value.timestamp())
        case date():
            return _seconds(held) == int(datetime.combine(value, time(), UTC).timestamp())
    return held == value.strip()


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _seconds(held: str) -> int | None:
    """Unix seconds of a moment that is kept as such or as ISO-8601 text."""
    number = _number(held)
    if number is not None:
        return int(number)
    try:
        moment = datetime.fromisoformat(held)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None


def due(placed: datetime, delay_ms: int, now: datetime) -> datetime | None:
    """When the sync of an order that arrived at *placed* may start, or None: at once.

    Never later than a full delay from *now*, even if another host's clock runs ahead.
    """
    delay = timedelta(milliseconds=delay_ms)
    return min(placed + delay, now + delay) if placed + delay > now and delay else None
