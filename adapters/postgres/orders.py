"""The `orders` table, in batches. Every write is harmless to repeat, and takes its row locks in the order of
order_id."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from adapters.postgres.pool import Connection
from schemas.orders import Order

LONGEST_ERROR: Final = 500

_COLUMNS: Final[Mapping[str, str]] = {
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
    "client_phone_raw": "jsonb",
    "whatsapp_alerts_enabled": "boolean",
    "product_country": "text",
    "product_country_flag": "text",
    "product_doc_type": "text",
    "product_doc_name": "text",
    "product_intent": "text",
    "product_entries": "text",
    "product_validity": "text",
    "product_data": "jsonb",
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
    "passport_data": "jsonb",
    "extra_nationality_data": "jsonb",
    "address_data": "jsonb",
    "family_data": "jsonb",
    "occupation_data": "jsonb",
    "military_data": "jsonb",
    "past_travels_data": "jsonb",
    "files_data": "jsonb",
    "applicants_data": "jsonb",
    "emergency_contact_data": "jsonb",
    "business_data": "jsonb",
    "form_meta_data": "jsonb",
    "coupon_data": "jsonb",
    "extra_data": "jsonb",
    "ordered_at": "timestamptz",
    "raw_body": "text",
}
"""The columns that are filled from the member of an Order of the same name, with their types."""

_DERIVED: Final[Mapping[str, str]] = {
    "client_phone": "text",
    "client_phone_e164": "text",
    "webhook_received_at": "timestamptz",
}

_ALL: Final = {**_COLUMNS, **_DERIVED}

# JSON travels as text: arrays of jsonb need a codec on every connection. The names and types are those above.
_STORE: Final = f"""
INSERT INTO orders ({", ".join(_ALL)}, cgb_sync_status)
SELECT {", ".join(f"{n}::jsonb" if t == "jsonb" else n for n, t in _ALL.items())}, 'pending'
FROM unnest({", ".join(f"${i}::{'text' if t == 'jsonb' else t}[]" for i, t in enumerate(_ALL.values(), 1))})
  AS given ({", ".join(_ALL)})
ORDER BY order_id
ON CONFLICT (order_id) DO NOTHING
"""  # noqa: S608

_LOCK: Final = "SELECT FROM orders WHERE order_id = ANY ($1::text[]) ORDER BY order_id FOR UPDATE"

# Whether the contact was there before this order's sync is what the first look said; a later one sees our own
# contact.
_MARK_SYNCING: Final = """
UPDATE orders SET
  cgb_sync_status = 'syncing',
  cgb_sync_attempted_at = given.at,
  cgb_sync_error = NULL,
  cgb_contact_exists = COALESCE(orders.cgb_contact_exists, given.contact_exists),
  updated_at = now()
FROM unnest($1::text[], $2::timestamptz[], $3::boolean[]) AS given (order_id, at, contact_exists)
WHERE orders.order_id = given.order_id
"""

_MARK_RESULT: Final = """
UPDATE orders SET
  cgb_sync_status = given.status,
  cgb_sync_attempted_at = CASE WHEN given.status = 'failed' THEN given.at
                               ELSE COALESCE(orders.cgb_sync_attempted_at, given.at) END,
  cgb_sync_completed_at = CASE WHEN given.status <> 'failed' THEN given.at END,
  cgb_sync_error = given.error,
  cgb_contact_id = COALESCE(given.contact_id, orders.cgb_contact_id),
  cgb_contact_exists = COALESCE(orders.cgb_contact_exists, given.contact_exists),
  cgb_has_whatsapp = COALESCE(given.has_whatsapp, orders.cgb_has_whatsapp),
  processed_at = given.at,
  updated_at = now()
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::boolean[], $7::boolean[])
  AS given (order_id, status, at, error, contact_id, contact_exists, has_whatsapp)
WHERE orders.order_id = given.order_id
"""

_LINK: Final = """
UPDATE orders SET cbb_contact_uuid = given.contact
FROM unnest($1::text[], $2::uuid[]) AS given (order_id, contact)
WHERE orders.order_id = given.order_id AND orders.cbb_contact_uuid IS DISTINCT FROM given.contact
"""

End: TypeAlias = Literal["synced", "no_whatsapp", "failed"]


@dataclass(frozen=True, slots=True)
class Syncing:
    """The sync of an order is about to write, at *at*; *contact_exists*: what the look before it said."""

    order_id: str
    at: datetime
    contact_exists: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncResult:
    """How the sync of an order ended, at *at*. *error*: for `failed`, at most LONGEST_ERROR characters are
    kept.

    What is None leaves what was learned before: the contact's id and whether the number is on WhatsApp.
    """

    order_id: str
    status: End
    at: datetime
    error: str | None = None
    contact_id: str | None = None
    contact_exists: bool | None = None
    has_whatsapp: bool | None = None


async def store(conn: Connection, orders: Sequence[Order]) -> None:
    """Keep *orders*, status pending. An order that is there already stays as it first came, its sync columns
    too."""
    if not orders:
        return
    first = {order.order_id: order for order in reversed(orders)}
    columns = [[_value(order, name) for order in first.values()] for name in _ALL]
    await conn.execute(_STORE, *columns)


async def mark_syncing(conn: Connection, marks: Sequence[Syncing]) -> None:
    """Say that a sync is under way. The last mark of an order counts. Unknown orders are passed over."""
    if not marks:
        return
    last = {mark.order_id: mark for mark in marks}
    rows = [last[order_id] for order_id in sorted(last)]
    await conn.execute(_LOCK, sorted(last))
    await conn.execute(
        _MARK_SYNCING,
        [row.order_id for row in rows],
        [row.at for row in rows],
        [row.contact_exists for row in rows],
    )


async def mark_results(conn: Connection, results: Sequence[SyncResult]) -> None:
    """Say how syncs ended. The last result of an order counts. Unknown orders are passed over."""
    if not results:
        return
    last = {result.order_id: result for result in results}
    rows = [last[order_id] for order_id in sorted(last)]
    await conn.execute(_LOCK, sorted(last))
    await conn.execute(
        _MARK_RESULT,
        [row.order_id for row in rows],
        [row.status for row in rows],
        [row.at for row in rows],
        [row.error[:LONGEST_ERROR] if row.error else None for row in rows],
        [row.contact_id for row in rows],
        [row.contact_exists for row in rows],
        [row.has_whatsapp for row in rows],
    )


async def link(conn: Connection, contacts: Mapping[str, UUID]) -> None:
    """Say whose the orders are. *contacts*: the contact by order id; the rows are locked by this transaction
    already."""
    if contacts:
        await conn.execute(_LINK, list(contacts), list(contacts.values()))


def _value(order: Order, column: str) -> Any:
    match column:
        case "client_phone":
            return order.phone.digits if order.phone else None
        case "client_phone_e164":
            return order.phone.e164 if order.phone else None
        case "webhook_received_at":
            return order.received_at
    value = getattr(order, column)
    if _COLUMNS[column] != "jsonb" or value is None:
        return value
    # Decimals inside (prices) are finite and no longer than a float shows; the raw body keeps every digit.
    return json.dumps(value, default=float, ensure_ascii=False)
