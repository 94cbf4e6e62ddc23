"""The `orders` table, in batches. Every write is harmless to repeat, and takes its row locks in the order of
order_id."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

import orjson

from adapters.postgres.pool import Connection
from schemas.orders import Order

LONGEST_ERROR: Final = 500

_PLAIN: Final[Mapping[str, str]] = {
    "order_id": "text",
    "form_id": "text",
    "branch": "text",
    "domain": "text",
    "payment_processor": "text",
    "payment_id": "text",
    "amount": "numeric",
    "currency": "text",
    "order_status": "text",
    "client_name": "text",
    "client_email": "text",
    "whatsapp_alerts_enabled": "boolean",
    "product_country": "text",
    "product_country_flag": "text",
    "product_doc_type": "text",
    "product_doc_name": "text",
    "product_intent": "text",
    "product_entries": "text",
    "product_validity": "text",
    "visa_quantity": "integer",
    "visa_entries": "text",
    "visa_usage_deadline_days": "integer",
    "visa_document_validity_days": "integer",
    "processing_days": "integer",
    "is_urgent": "boolean",
    "entry_date": "date",
    "entry_port": "text",
    "file_transfer_method": "text",
    "face_url": "text",
    "passport_url": "text",
    "ordered_at": "timestamptz",
    "raw_body": "text",
}
"""Columns that are filled from the member of an Order of the same name, with their types."""

_PARTS: Final = (
    "client_phone_raw",
    "product_data",
    "passport_data",
    "extra_nationality_data",
    "address_data",
    "family_data",
    "occupation_data",
    "military_data",
    "past_travels_data",
    "files_data",
    "applicants_data",
    "emergency_contact_data",
    "business_data",
    "form_meta_data",
    "coupon_data",
    "extra_data",
)
"""Columns that hold the JSON of the member of the same name."""

_DERIVED: Final[Mapping[str, str]] = {
    "webhook_received_at": "timestamptz",
    "client_phone": "text",
    "client_phone_e164": "text",
}

COLUMNS: Final[Mapping[str, str]] = {**_PLAIN, **dict.fromkeys(_PARTS, "jsonb"), **_DERIVED}
"""The columns that `store` fills, with their types, in the order of OrderRow.values."""

_plain_of: Final = attrgetter(*_PLAIN)
_parts_of: Final = attrgetter(*_PARTS)

# JSON travels as text: arrays of jsonb need a codec on every connection. The names and types are those above.
_STORE: Final = f"""
INSERT INTO orders ({", ".join(COLUMNS)}, cgb_sync_status)
SELECT {", ".join(f"{n}::jsonb" if t == "jsonb" else n for n, t in COLUMNS.items())}, 'pending'
FROM unnest({", ".join(f"${i}::{'text' if t == 'jsonb' else t}[]" for i, t in enumerate(COLUMNS.values(), 1))})
  AS given ({", ".join(COLUMNS)})
ORDER BY order_id
ON CONFLICT (order_id) DO NOTHING
"""  # noqa: S608

# Rows are locked in the order of order_id, and each is updated only after it is locked. cgb_contact_exists keeps its
# first value: a later lookup may see the contact that this order's own sync has made.
_MARK: Final = """
WITH locked AS MATERIALIZED (
  SELECT order_id FROM orders WHERE order_id = ANY ($1::text[]) ORDER BY order_id FOR UPDATE)
UPDATE orders SET
  cgb_sync_status = COALESCE(given.status, orders.cgb_sync_status),
  cgb_sync_attempted_at = CASE WHEN given.status IN ('syncing', 'failed') THEN given.at
                               ELSE COALESCE(orders.cgb_sync_attempted_at, given.at) END,
  cgb_sync_completed_at = CASE WHEN given.status IN ('synced', 'no_whatsapp') THEN given.at
                               WHEN given.status = 'failed' THEN NULL
                               ELSE orders.cgb_sync_completed_at END,
  cgb_sync_error = CASE WHEN given.status IS NOT NULL THEN given.error
                        WHEN orders.cgb_sync_status IN ('pending', 'syncing')
                        THEN COALESCE(given.error, orders.cgb_sync_error)
                        ELSE orders.cgb_sync_error END,
  cgb_contact_id = COALESCE(given.contact_id, orders.cgb_contact_id),
  cgb_contact_exists = COALESCE(orders.cgb_contact_exists, given.contact_exists),
  cgb_has_whatsapp = COALESCE(given.has_whatsapp, orders.cgb_has_whatsapp),
  cbb_contact_uuid = COALESCE(given.contact, orders.cbb_contact_uuid),
  processed_at = CASE WHEN given.status <> 'syncing' THEN given.at ELSE orders.processed_at END,
  updated_at = now()
FROM locked JOIN unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::boolean[], $7::boolean[],
                        $8::uuid[])
  AS given (order_id, status, at, error, contact_id, contact_exists, has_whatsapp, contact) USING (order_id)
WHERE orders.order_id = locked.order_id
"""

End: TypeAlias = Literal["synced", "no_whatsapp", "failed"]


@dataclass(frozen=True, slots=True, repr=False)
class OrderRow:
    """An order as its row: *values* of COLUMNS, JSON as text. It is cheap to hold until its commit, because it has no
    nested objects that the garbage collector would traverse."""

    order_id: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Syncing:
    """The sync of an order is about to write, at *at*. *contact_exists*: what the lookup before it found."""

    order_id: str
    at: datetime
    contact_exists: bool | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """The sync of an order waits, and *why*. The row of an order whose sync has ended before stays as it is."""

    order_id: str
    why: str


Mark: TypeAlias = "Syncing | Waiting | SyncResult"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncResult:
    """How the sync of an order ended, at *at*. *error*: for `failed`; at most LONGEST_ERROR characters are kept.

    None for the contact's id, for its existence and for WhatsApp leaves the stored value.
    """

    order_id: str
    status: End
    at: datetime
    error: str | None = None
    contact_id: str | None = None
    contact_exists: bool | None = None
    has_whatsapp: bool | None = None


def row_of(order: Order) -> OrderRow:
    """The row of *order*."""
    phone = order.phone
    derived = (order.received_at, phone.digits, phone.e164) if phone else (order.received_at, None, None)
    return OrderRow(order.order_id, (*_plain_of(order), *map(_json, _parts_of(order)), *derived))


async def store(conn: Connection, rows: Sequence[OrderRow]) -> None:
    """Insert orders with status pending. A stored order stays as it is, its sync columns included."""
    if not rows:
        return
    first = {row.order_id: row.values for row in reversed(rows)}
    await conn.execute(_STORE, *zip(*first.values(), strict=True))


async def mark(conn: Connection, marks: Sequence[Mark], people: Mapping[str, UUID]) -> None:
    """Record syncs under way, what they wait for, how they ended, and the contacts of orders.

    *people*: order id -> contact id, also of orders without a mark. Of several marks of one order, a SyncResult counts
    before the others, else the last one counts. Unknown orders are ignored.
    """
    last: dict[str, Mark | None] = dict.fromkeys(people)
    for one in marks:
        if isinstance(one, SyncResult) or not isinstance(last.get(one.order_id), SyncResult):
            last[one.order_id] = one
    if last:
        rows = [_mark(order_id, last[order_id], people.get(order_id)) for order_id in sorted(last)]
        await conn.execute(_MARK, *map(list, zip(*rows, strict=True)))


def _mark(order_id: str, one: Mark | None, contact: UUID | None) -> tuple[Any, ...]:
    """The row of one order for _MARK. *one* is None: only the order's contact is recorded."""
    match one:
        case Syncing():
            return order_id, "syncing", one.at, None, None, one.contact_exists, None, contact
        case Waiting():
            return order_id, None, None, one.why[:LONGEST_ERROR], None, None, None, contact
        case SyncResult():
            error = one.error[:LONGEST_ERROR] if one.error else None
            return (
                order_id,
                one.status,
                one.at,
                error,
                one.contact_id,
                one.contact_exists,
                one.has_whatsapp,
                contact,
            )
    return order_id, None, None, None, None, None, None, contact


def _json(value: Any) -> str | None:
    if value is None:
        return None
    # Decimals inside (prices) are finite and no longer than a float shows; the raw body keeps every digit.
    try:
        return orjson.dumps(value, default=float).decode()
    except orjson.JSONEncodeError:  # whole numbers over 64 bits, or very deep
        return json.dumps(value, default=float, ensure_ascii=False)
