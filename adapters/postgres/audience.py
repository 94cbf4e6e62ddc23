"""Whom a campaign may go to by the orders that are stored: one row for each person, with their newest order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from adapters.postgres.pool import Pool

_FOUND: Final = """
SELECT * FROM (
  SELECT DISTINCT ON (o.client_phone_e164) o.client_phone_e164 AS phone, o.client_name, o.client_email, o.order_id,
    o.branch, o.order_status, o.product_country, o.product_doc_name, o.entry_date::text AS entry_date,
    o.whatsapp_alerts_enabled AS alerts, c.language, o.ordered_at
  FROM orders o LEFT JOIN contacts c ON c.id = o.cbb_contact_uuid
  WHERE o.client_phone_e164 IS NOT NULL AND ($7::text[] IS NULL OR o.branch = ANY ($7))
    AND ($1::text IS NULL OR o.branch = $1) AND ($2::text IS NULL OR o.order_status = $2)
    AND ($3::text IS NULL OR lower(o.product_country) = lower($3))
    AND ($4::timestamptz IS NULL OR o.ordered_at >= $4) AND ($5::timestamptz IS NULL OR o.ordered_at < $5)
    AND ($6::text IS NULL OR c.language = $6)
  ORDER BY o.client_phone_e164, o.ordered_at DESC, o.order_id
) newest ORDER BY ordered_at, order_id LIMIT $8
"""

FIELDS: Final = (
    "client_name",
    "client_email",
    "order_id",
    "branch",
    "order_status",
    "product_country",
    "product_doc_name",
    "entry_date",
    "language",
)
"""What a variable may take from a person's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdersQuery:
    """Which orders; None: any. *order_status*: the order system's own. *country*: that the order is about. *since*,
    *until*: when ordered. *language*: the buyer's."""

    branch: str | None = None
    order_status: str | None = None
    country: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Buyer:
    """A person. *alerts*: whether they have agreed to messages about their order. *fields*: FIELDS of their newest
    order among those asked for; None where it does not say."""

    phone: str
    alerts: bool
    fields: dict[str, str | None]


async def buyers(pool: Pool, wanted: OrdersQuery, branches: list[str] | None, limit: int) -> list[Buyer]:
    """Those who fit, in the order of their orders. *branches*: whose customers may get messages; None: all."""
    w = wanted
    asked = (w.branch, w.order_status, w.country, w.since, w.until, w.language, branches, limit)
    rows = await pool.fetch(_FOUND, *asked, timeout=60)
    return [Buyer(row["phone"], row["alerts"] is True, {name: row[name] for name in FIELDS}) for row in rows]
