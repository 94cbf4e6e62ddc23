"""How the orders of the table `orders` stand. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from adapters.postgres.pool import Pool, Record

STATUSES: Final = ("pending", "syncing", "synced", "no_whatsapp", "failed")
"""The values of `orders.cgb_sync_status`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStanding:
    """Where an order stands. *reason*: why it has failed, or what it waits for. *contact_existed*: whether the contact
    was there before this order. None: not known."""

    order_id: str
    status: str | None
    reason: str | None
    kept_at: datetime
    received_at: datetime
    attempted_at: datetime | None
    completed_at: datetime | None
    cgb_contact_id: str | None
    contact_existed: bool | None
    has_whatsapp: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOrder:
    """An order as an operator reads it, with its buyer. The rest of what was ordered is in its event's data."""

    standing: OrderStanding
    branch: str | None
    ordered_at: datetime
    order_status: str | None
    amount: Decimal | None
    currency: str | None
    product_country: str | None
    product_doc_type: str | None
    client_name: str | None
    client_email: str | None
    client_phone: str | None
    whatsapp_alerts_enabled: bool | None
    contact_id: UUID | None


class OrderMessage(NamedTuple):
    """A message that a rule has asked for, as its order wants it. *subject*: what it is about, "" where that is the
    order. *withdrawn*: canceled, because the order does not want it any more."""

    id: UUID
    rule: str
    kind: str
    subject: str
    withdrawn: bool
    provider: str
    status: str
    error: str | None
    not_before: datetime | None
    created_at: datetime
    sent_at: datetime | None


MOST_MESSAGES: Final = 100

_STANDING: Final = """
order_id, cgb_sync_status AS status, cgb_sync_error AS reason, created_at AS kept_at,
webhook_received_at AS received_at, cgb_sync_attempted_at AS attempted_at, cgb_sync_completed_at AS completed_at,
cgb_contact_id, cgb_contact_exists AS contact_existed, cgb_has_whatsapp AS has_whatsapp
"""
_LIST: Final = f"""
SELECT {_STANDING} FROM orders
WHERE ($1::text IS NULL OR cgb_sync_status = $1) AND ($2::timestamptz IS NULL OR created_at >= $2)
ORDER BY created_at DESC, order_id LIMIT $3
"""  # noqa: S608 - constants only
_STANDINGS: Final = f"SELECT {_STANDING} FROM orders WHERE order_id = ANY($1::text[])"  # noqa: S608 - constants only
_ONE: Final = f"""
SELECT {_STANDING}, branch, ordered_at, order_status, amount, currency, product_country, product_doc_type, client_name,
    client_email, client_phone_e164 AS client_phone, whatsapp_alerts_enabled, cbb_contact_uuid AS contact_id
FROM orders WHERE order_id = $1
"""  # noqa: S608 - constants only
_OF_A_PERSON: Final = f"""
SELECT {_STANDING} FROM orders
WHERE cbb_contact_uuid = $1 OR (cbb_contact_uuid IS NULL AND client_phone_e164 = ANY ($2::text[]))
ORDER BY ordered_at DESC, order_id LIMIT $3
"""  # noqa: S608 - constants only
_MESSAGES: Final = """
SELECT m.id, a.rule, a.kind, a.subject, a.withdrawn, m.provider, m.status, m.error, m.not_before, m.created_at,
  m.sent_at
FROM automatic_messages a JOIN messages m ON m.id = a.message_id
WHERE a.order_id = $1 ORDER BY m.created_at, m.id LIMIT $2
"""
_COUNTS: Final = "SELECT cgb_sync_status AS status, count(*) AS n FROM orders GROUP BY 1"


async def listed(pool: Pool, status: str | None, since: datetime | None, limit: int) -> list[OrderStanding]:
    """The orders that were kept last, newest first. *status*, *since*: only those of this status, kept since then."""
    return [_standing(row) for row in await pool.fetch(_LIST, status, since, limit)]


async def standings(pool: Pool, order_ids: Sequence[str]) -> dict[str, OrderStanding]:
    """Where these orders stand, by their ids; those without a row are left out."""
    return {row["order_id"]: _standing(row) for row in await pool.fetch(_STANDINGS, order_ids)}


async def of_person(pool: Pool, contact: UUID, phones: Sequence[str], limit: int) -> list[OrderStanding]:
    """The orders of a contact, and those with one of *phones* that have no contact yet; newest first."""
    return [_standing(row) for row in await pool.fetch(_OF_A_PERSON, contact, phones, limit)]


async def find(pool: Pool, order_id: str) -> StoredOrder | None:
    """The order with this id."""
    row = await pool.fetchrow(_ONE, order_id)
    if row is None:
        return None
    rest = {name: row[name] for name in StoredOrder.__slots__ if name != "standing"}
    return StoredOrder(standing=_standing(row), **rest)


async def messages(pool: Pool, order_id: str) -> list[OrderMessage]:
    """The messages that rules have asked for because of an order, the first one first; at most MOST_MESSAGES."""
    return [OrderMessage(*row) for row in await pool.fetch(_MESSAGES, order_id, MOST_MESSAGES)]


async def counts(pool: Pool) -> dict[str, int]:
    """Status -> how many orders have it."""
    found = {row["status"]: row["n"] for row in await pool.fetch(_COUNTS, timeout=30)}
    return {status: found.get(status, 0) for status in STATUSES}


def _standing(row: Record) -> OrderStanding:
    return OrderStanding(**{name: row[name] for name in OrderStanding.__slots__})
