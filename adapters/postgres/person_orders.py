"""The orders of one phone line: which of them its contact in the directory shows, what was written to it last, and what
the directory has told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.pool import Connection, Pool
from schemas.contacts import ToldField
from schemas.phone import aliases, line

MOST_COUNTED: Final = 1000
MOST_TOLD: Final = 200
"""Fields of one contact that the directory has told of."""


class Asked(NamedTuple):
    """A question about the person with the line of *phone* (E.164). *order_id*: the order whose sync
    asks; "" for none. *whole*: the text of the newest order is wanted even where it is this one."""

    phone: str
    order_id: str = ""
    whole: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class PersonOrders:
    """*event_id*: of the state that the asking order has now; None where it is not known. *tried*: a sync of that order
    has begun to write to the directory before. *newest_id*: the order that
    the person's contact shows: the newest one whose sync has begun to write and whose text is kept, or that asks; a
    canceled one only where no other stands. None: the person has none. *newest_body*, received at *received_at*: its
    text, None where the asking order is the newest and its text was not wanted. *written*: the digest of what the
    contact was given last, and *contact_id* the contact; None where that is not known. *orders*: how many the person's
    line has whose sync has begun to write, and the asking one; MOST_COUNTED stands for more. *notations*: those of the
    line under which the directory may have the person: the phone, and before or after it another one that the person
    is known by. *told*: what the directory has told of its fields. *doubt*: the last mark of who learned that the
    contact may hold something else. *own*: marks of what was written to it, the newest first. *follows*: where no
    order asks, whether an order of the person waits for its sync."""

    event_id: str | None
    tried: bool
    newest_id: str | None
    newest_body: str | None
    received_at: datetime | None
    contact_id: str | None
    written: bytes | None
    orders: int
    notations: tuple[str, ...]
    told: Mapping[str, ToldField] = field(default_factory=dict)
    doubt: int = 0
    own: Sequence[str] = ()
    follows: bool = False

    def brief(self) -> PersonOrders:
        """This without the text, so that it takes little memory while it waits."""
        return self if self.newest_body is None else replace(self, newest_body=None)


# The server keeps the plan that it made while the tables were small, until it has statistics. Each table is asked in a
# LATERAL part with a LIMIT, and the statuses are hidden from their index, so that no plan reads all orders or people.
_ORDERS: Final = f"""
SELECT own.event_id, COALESCE(own.tried, false), newest.order_id,
  CASE WHEN given.whole OR newest.order_id <> given.order_id THEN NULLIF(newest.raw_body, '') END,
  newest.webhook_received_at,
  COALESCE(i.cgb_contact_id, j.cgb_contact_id), COALESCE(i.cgb_digest, j.cgb_digest), counted.n,
  given.other, COALESCE(j.known, w.known, false),
  COALESCE(follows.yes, false), told.fields, told.values, told.at,
  GREATEST(i.cgb_doubt, j.cgb_doubt, 0), COALESCE(i.cgb_own, j.cgb_own)
FROM unnest($1::text[], $2::text[], $3::boolean[], $4::text[], $5::text[]) WITH ORDINALITY
  AS given (phone, order_id, whole, other, line, place)
LEFT JOIN LATERAL (
  SELECT event_id, cgb_contact_exists IS NOT NULL AS tried FROM orders WHERE order_id = given.order_id LIMIT 1
) own ON true
LEFT JOIN LATERAL (
  SELECT cgb_contact_id, cgb_digest, cgb_doubt, cgb_own FROM contact_identities
  WHERE kind = 'phone' AND value = given.phone LIMIT 1
) i ON true
LEFT JOIN LATERAL (
  SELECT cgb_contact_id, cgb_digest, cgb_doubt, cgb_own, true AS known FROM contact_identities
  WHERE kind = 'phone' AND value = given.other LIMIT 1
) j ON true
LEFT JOIN LATERAL (
  SELECT true AS known FROM contact_identities WHERE kind = 'wa_id' AND value = substr(given.other, 2) LIMIT 1
) w ON true
LEFT JOIN LATERAL (
  SELECT o.* FROM (VALUES (given.phone), (given.other)) AS notation (phone) CROSS JOIN LATERAL (
    SELECT order_id, raw_body, order_status, ordered_at, webhook_received_at FROM orders
    WHERE client_phone_e164 = notation.phone
      AND (order_id = given.order_id
           OR COALESCE(cgb_sync_status, '') IN ('syncing', 'synced', 'no_whatsapp') AND raw_body <> '')
    ORDER BY (COALESCE(lower(order_status), '') = 'canceled'), ordered_at DESC, webhook_received_at DESC,
      order_id COLLATE "C" DESC
    LIMIT 1
  ) o
  ORDER BY (COALESCE(lower(order_status), '') = 'canceled'), ordered_at DESC, webhook_received_at DESC,
    order_id COLLATE "C" DESC
  LIMIT 1
) newest ON true
LEFT JOIN LATERAL (
  SELECT count(*) AS n FROM (
    SELECT FROM orders WHERE client_phone_e164 IN (given.phone, given.other)
      AND (order_id = given.order_id OR COALESCE(cgb_sync_status, '') IN ('syncing', 'synced', 'no_whatsapp'))
    LIMIT {MOST_COUNTED}) AS theirs
) counted ON true
LEFT JOIN LATERAL (
  SELECT true AS yes FROM orders
  WHERE given.order_id = '' AND client_phone_e164 IN (given.phone, given.other)
    AND COALESCE(cgb_sync_status, '') = 'pending' AND COALESCE(lower(order_status), '') <> 'canceled'
  LIMIT 1
) follows ON true
LEFT JOIN LATERAL (
  SELECT array_agg(field) AS fields, array_agg(value) AS values, array_agg(told_at) AS at FROM (
    SELECT field, value, told_at FROM told_fields WHERE line = given.line LIMIT {MOST_TOLD}) AS one
) told ON true
ORDER BY given.place
"""  # noqa: S608 - constants only


async def of_persons(conn: Connection | Pool, asked: Sequence[Asked]) -> list[PersonOrders]:
    """The answers to *asked*, in its order."""
    others = [next(iter(aliases(one.phone)[1:]), None) for one in asked]
    lines = [line(one.phone) for one in asked]
    rows = await conn.fetch(_ORDERS, *map(list, zip(*asked, strict=True)), others, lines) if asked else []
    return [_answer(one.phone, *row) for one, row in zip(asked, rows, strict=True)]


def _answer(
    phone: str,
    event_id: str | None,
    tried: bool,
    newest_id: str | None,
    newest_body: str | None,
    received_at: datetime | None,
    contact_id: str | None,
    written: bytes | None,
    orders: int,
    other: str | None,
    known: bool,
    follows: bool,
    fields: Sequence[str] | None,
    values: Sequence[str],
    at: Sequence[datetime],
    doubt: int,
    own: Sequence[str] | None,
) -> PersonOrders:
    """*other*: the second notation of the line of *phone*, if it has one; *known*: the person is known by it.
    *fields*, *values*, *at*: what the directory has told, in columns."""
    notations: tuple[str, ...] = (phone,)
    if other is not None and contact_id == other[1:]:  # by its digits a contact of WhatsApp is named
        notations = (other, phone)
    elif other is not None and known:
        notations = (phone, other)
    told = {} if fields is None else dict(zip(fields, map(ToldField, values, at), strict=True))
    newest = newest_id, newest_body, received_at
    marks = told, doubt, own or ()
    return PersonOrders(event_id, tried, *newest, contact_id, written, orders, notations, *marks, follows)
