"""The `orders` table, in batches: what is ordered. Every write is harmless to repeat, and takes its row locks in the
order of order_id.

The row of an order is its newest state: by when the form was changed, then by its revision, then by arrival. The
columns of its sync are in `order_marks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, NamedTuple

from adapters.postgres.json_text import json_text
from adapters.postgres.pool import Connection
from schemas.orders import Order

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
    "form_revision": "integer",
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
    "event_id": "text",
}

COLUMNS: Final[Mapping[str, str]] = {**_PLAIN, **dict.fromkeys(_PARTS, "jsonb"), **_DERIVED}
"""The columns that `store` fills, with their types, in the order of OrderRow.values."""

_TEXT, _EVENT = list(COLUMNS).index("raw_body"), list(COLUMNS).index("event_id")

_plain_of: Final = attrgetter(*_PLAIN)
_parts_of: Final = attrgetter(*_PARTS)

_OF_A_SENDING: Final = frozenset(
    {"order_id", "event_id", "ordered_at", "form_revision", "raw_body", "webhook_received_at", "form_meta_data"}
)
"""Columns in which two states may differ without saying anything else of the order."""

_KEPT_WITH_THE_PHONE: Final = ", ".join(
    f"{n} = CASE WHEN c.old_phone IS NOT DISTINCT FROM c.client_phone_e164 THEN orders.{n} END"
    for n in ("cbb_contact_uuid", "cgb_contact_id", "cgb_contact_exists", "cgb_has_whatsapp")
)
"""What tells of the person with the order's phone goes with that phone."""

_CHANGES: Final = ", ".join(
    f"CASE WHEN given.{n} IS DISTINCT FROM old.{n} THEN '{n}' END" for n in COLUMNS if n not in _OF_A_SENDING
)


def _arrays(first: int) -> str:
    """The parameters of COLUMNS, from number *first* on: an array each."""
    types = ("text" if kind == "jsonb" else kind for kind in COLUMNS.values())
    return ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types, first))


# JSON travels as text: arrays of jsonb need a codec on every connection. The names and types are those above.
_INSERT: Final = f"""
INSERT INTO orders ({", ".join(COLUMNS)}, cgb_sync_status)
SELECT {", ".join(f"{n}::jsonb" if t == "jsonb" else n for n, t in COLUMNS.items())}, 'pending'
FROM unnest({_arrays(1)}) AS given ({", ".join(COLUMNS)})
ORDER BY order_id
ON CONFLICT (order_id) DO NOTHING
RETURNING order_id
"""  # noqa: S608

# Rows are locked in the order of order_id, and each is replaced only after it is locked. A row is replaced by a newer
# state, and by another text of the same state where an operator has mended it ($1). What says nothing else of the order
# leaves its sync as it stands.
_REPLACE: Final = f"""
WITH given AS MATERIALIZED (
  SELECT {", ".join(f"{n}::jsonb AS {n}" if t == "jsonb" else n for n, t in COLUMNS.items())}, mended
  FROM unnest($1::boolean[], {_arrays(2)}) AS given (mended, {", ".join(COLUMNS)})
), old AS MATERIALIZED (
  SELECT orders.* FROM orders WHERE order_id IN (SELECT order_id FROM given) ORDER BY order_id FOR UPDATE
), compared AS MATERIALIZED (
  SELECT given.*, old.client_phone_e164 AS old_phone, array_remove(ARRAY[{_CHANGES}], NULL) AS changed
  FROM given JOIN old USING (order_id)
  WHERE (given.ordered_at, COALESCE(given.form_revision, 0), given.webhook_received_at)
        > (old.ordered_at, COALESCE(old.form_revision, 0), old.webhook_received_at)
     OR given.mended AND given.event_id = old.event_id AND given.raw_body <> old.raw_body
), replaced AS (
  UPDATE orders SET {", ".join(f"{n} = c.{n}" for n in COLUMNS if n != "order_id")},
    cgb_sync_status = CASE WHEN c.changed = '{{}}' THEN orders.cgb_sync_status ELSE 'pending' END,
    cgb_sync_error = CASE WHEN c.changed = '{{}}' THEN orders.cgb_sync_error END,
    {_KEPT_WITH_THE_PHONE},
    updated_at = now()
  FROM compared c WHERE orders.order_id = c.order_id
)
SELECT order_id, event_id, old_phone, client_phone_e164, webhook_received_at, changed FROM compared ORDER BY order_id
"""  # noqa: S608


_TEXTS_WITH: Final = """
SELECT order_id, CASE WHEN starts_with(raw_body, $2) THEN raw_body END AS raw_body
FROM orders WHERE order_id = ANY($1::text[]) ORDER BY order_id FOR UPDATE
"""


@dataclass(frozen=True, slots=True, repr=False)
class OrderRow:
    """An order as its row: *values* of COLUMNS, JSON as text. It is cheap to hold until its commit, because it has no
    nested objects that the garbage collector would traverse. *state*: sorts the states of one order from old to new.
    *mended*: an operator may have changed the text of this state."""

    order_id: str
    state: tuple[datetime, int, datetime]
    mended: bool
    values: tuple[Any, ...]

    @property
    def text(self) -> str:
        """The order's body."""
        return str(self.values[_TEXT])

    @property
    def event_id(self) -> str:
        """The event that brings this state."""
        return str(self.values[_EVENT])


class Change(NamedTuple):
    """A stored order has a new state. *event_id*: of the webhook that brought it. *old_phone*, *phone*: E.164, before
    and after. *at*: when that webhook arrived. *changed*: the names of the columns that differ, without those that say
    only when the form was sent."""

    order_id: str
    event_id: str
    old_phone: str | None
    phone: str | None
    at: datetime
    changed: Sequence[str]


def row_of(order: Order, event_id: str, *, mended: bool = False) -> OrderRow:
    """The row of *order*, told by the event *event_id*. *mended*: as OrderRow has it."""
    phone = order.phone
    derived = (order.received_at, phone.digits, phone.e164) if phone else (order.received_at, None, None)
    values = (*_plain_of(order), *map(json_text, _parts_of(order)), *derived, event_id)
    return OrderRow(order.order_id, order.state, mended, values)


async def insert(conn: Connection, rows: Sequence[OrderRow]) -> list[OrderRow]:
    """Insert orders with status pending, of each its newest state. Returns those that are there already."""
    newest: dict[str, OrderRow] = {}
    for row in rows:
        if row.order_id not in newest or newest[row.order_id].state < row.state:
            newest[row.order_id] = row
    if not newest:
        return []
    columns = zip(*(row.values for row in newest.values()), strict=True)
    made = {order_id for (order_id,) in await conn.fetch(_INSERT, *columns)}
    return [row for order_id, row in newest.items() if order_id not in made]


async def texts_with(conn: Connection, start: str, order_ids: Sequence[str]) -> dict[str, str]:
    """Order id -> its text, of those of these orders whose text begins with *start*. Locks them all until the
    transaction ends."""
    rows = await conn.fetch(_TEXTS_WITH, order_ids, start)
    return {row["order_id"]: row["raw_body"] for row in rows if row["raw_body"] is not None}


async def replace(conn: Connection, rows: Sequence[OrderRow]) -> list[Change]:
    """Replace the orders whose state here is older. Returns what was replaced."""
    if not rows:
        return []
    columns = zip(*(row.values for row in rows), strict=True)
    return [Change(*row) for row in await conn.fetch(_REPLACE, [row.mended for row in rows], *columns)]
