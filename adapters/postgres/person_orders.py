"""The orders of one person: which of them the person's contact shows, and what was written to it last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.pool import Connection, Pool


class Asked(NamedTuple):
    """A question about the person with *phone* (E.164). *order_id*: the order whose sync asks; "" for none. *whole*:
    the text of the newest order is wanted even where it is this one."""

    phone: str
    order_id: str = ""
    whole: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class PersonOrders:
    """*event_id*: of the state that the asking order has now; None where it is not known. *newest_id*: the order that
    the person's contact shows: the newest one whose sync has begun to write, or that asks; a canceled one only where no
    other stands. None: the person has none. *newest_body*, received at *received_at*: its text, None where the asking
    order is the newest and its text was not wanted. *written*: the digest of what the contact was given last, and
    *contact_id* the contact; None where that is not known."""

    event_id: str | None
    newest_id: str | None
    newest_body: str | None
    received_at: datetime | None
    contact_id: str | None
    written: bytes | None


# The server keeps the plan that it made while the tables were small, until it has statistics. Each table is asked in a
# LATERAL part with a LIMIT, and the statuses are hidden from their index, so that no plan reads all orders or people.
_ORDERS: Final = """
SELECT own.event_id, newest.order_id,
  CASE WHEN given.whole OR newest.order_id <> given.order_id THEN newest.raw_body END, newest.webhook_received_at,
  i.cgb_contact_id, i.cgb_digest
FROM unnest($1::text[], $2::text[], $3::boolean[]) WITH ORDINALITY AS given (phone, order_id, whole, place)
LEFT JOIN LATERAL (SELECT event_id FROM orders WHERE order_id = given.order_id LIMIT 1) own ON true
LEFT JOIN LATERAL (
  SELECT cgb_contact_id, cgb_digest FROM contact_identities WHERE kind = 'phone' AND value = given.phone LIMIT 1
) i ON true
LEFT JOIN LATERAL (
  SELECT order_id, raw_body, webhook_received_at FROM orders o
  WHERE o.client_phone_e164 = given.phone
    AND (o.order_id = given.order_id OR COALESCE(o.cgb_sync_status, '') IN ('syncing', 'synced', 'no_whatsapp'))
  ORDER BY (COALESCE(lower(order_status), '') = 'canceled'), ordered_at DESC, webhook_received_at DESC,
    order_id COLLATE "C" DESC
  LIMIT 1
) newest ON true
ORDER BY given.place
"""


async def of_persons(conn: Connection | Pool, asked: Sequence[Asked]) -> list[PersonOrders]:
    """The answers to *asked*, in its order."""
    rows = await conn.fetch(_ORDERS, *map(list, zip(*asked, strict=True))) if asked else []
    return [PersonOrders(*row) for row in rows]
