"""The sync of orders, in the table `orders`: under way, waiting, or ended. In batches; every write is harmless to
repeat, and takes its row locks in the order of order_id.

A mark is of one state of an order. Where the row has a newer state, the mark tells of what counts no more, and changes
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from adapters.postgres.pool import Connection

LONGEST_ERROR: Final = 500

# Rows are locked in the order of order_id, and each is updated only after it is locked. cgb_contact_exists keeps its
# first value: a later lookup may see the contact that this order's own sync has made. Only where CGB itself told the
# first write that the contact is there, the lookup before it was wrong.
_MARK: Final = """
WITH locked AS MATERIALIZED (
  SELECT order_id FROM orders WHERE order_id = ANY ($1::text[]) ORDER BY order_id FOR UPDATE)
UPDATE orders SET
  cgb_sync_status = COALESCE(given.status, orders.cgb_sync_status),
  cgb_sync_attempted_at = CASE WHEN given.status IS NULL OR given.status IN ('syncing', 'failed')
                               THEN COALESCE(given.at, orders.cgb_sync_attempted_at)
                               ELSE COALESCE(orders.cgb_sync_attempted_at, given.at) END,
  cgb_sync_completed_at = CASE WHEN given.status = 'synced' THEN given.at
                               WHEN given.status = 'failed' THEN NULL
                               ELSE orders.cgb_sync_completed_at END,
  cgb_sync_error = CASE WHEN given.status IS NOT NULL THEN given.error
                        WHEN orders.cgb_sync_status IN ('pending', 'syncing')
                        THEN COALESCE(given.error, orders.cgb_sync_error)
                        ELSE orders.cgb_sync_error END,
  cgb_contact_id = COALESCE(given.contact_id, orders.cgb_contact_id),
  cgb_contact_exists = CASE WHEN given.told_so THEN given.contact_exists
                            ELSE COALESCE(orders.cgb_contact_exists, given.contact_exists) END,
  cbb_contact_uuid = COALESCE(given.contact, orders.cbb_contact_uuid),
  processed_at = CASE WHEN given.status <> 'syncing' THEN given.at ELSE orders.processed_at END,
  updated_at = now()
FROM locked JOIN unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::boolean[], $7::uuid[],
                        $8::text[], $9::boolean[])
  AS given (order_id, status, at, error, contact_id, contact_exists, contact, event_id, told_so) USING (order_id)
WHERE orders.order_id = locked.order_id
  AND (given.event_id IS NULL OR orders.event_id IS NULL OR given.event_id = orders.event_id)
"""

End: TypeAlias = Literal["synced", "failed"]
"""An order that is synced ends as `no_whatsapp` where that is known of its number: `whatsapp_checks.show` says so."""


@dataclass(frozen=True, slots=True)
class Syncing:
    """The sync of an order is about to write, at *at*. *contact_exists*: what the lookup before it found."""

    order_id: str
    at: datetime
    contact_exists: bool | None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """The sync of an order waits, and *why*. The error of an order whose sync has ended before stays as it is.
    *tried_at*: when the attempt failed after which it waits; None: it waits for another reason."""

    order_id: str
    why: str
    event_id: str | None = None
    tried_at: datetime | None = None


Mark: TypeAlias = "Syncing | Waiting | SyncResult"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncResult:
    """How the sync of an order ended, at *at*. *error*: for `failed`; at most LONGEST_ERROR characters are kept.

    None for the contact's id and for its existence leaves the stored value. *told_so*: the directory has told the
    first write of this order that the contact exists, so that counts and not what the lookup found.
    """

    order_id: str
    status: End
    at: datetime
    error: str | None = None
    contact_id: str | None = None
    contact_exists: bool | None = None
    event_id: str | None = None
    told_so: bool = False


@dataclass(frozen=True, slots=True)
class NotMeant:
    """The order is not to be synced, and *why*: its row has no status."""

    order_id: str
    why: str
    event_id: str


@dataclass(frozen=True, slots=True)
class Coalesced:
    """The contact *contact_id* of *phone* (E.164) shows what it is to show, since *order_id* was synced at *at*: so it
    does for the person's orders that were left to that sync."""

    phone: str
    order_id: str
    at: datetime
    contact_id: str


_LEAVE: Final = """
WITH locked AS MATERIALIZED (
  SELECT order_id FROM orders WHERE order_id = ANY ($1::text[]) ORDER BY order_id FOR UPDATE)
UPDATE orders SET cgb_sync_status = NULL, cgb_sync_error = given.why, updated_at = now()
FROM locked JOIN unnest($1::text[], $2::text[], $3::text[]) AS given (order_id, why, event_id) USING (order_id)
WHERE orders.order_id = locked.order_id AND given.event_id = orders.event_id
"""

_END_COALESCED: Final = """
WITH locked AS MATERIALIZED (
  SELECT order_id, given.at, given.contact_id
  FROM orders JOIN unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[])
    AS given (phone, other_id, at, contact_id) ON client_phone_e164 = given.phone
  WHERE client_phone_e164 = ANY ($1::text[]) AND cgb_sync_status = 'syncing' AND order_id <> given.other_id
  ORDER BY order_id FOR UPDATE OF orders)
UPDATE orders SET cgb_sync_status = 'synced', cgb_sync_completed_at = locked.at, cgb_sync_error = NULL,
  cgb_contact_id = locked.contact_id, cgb_contact_exists = COALESCE(cgb_contact_exists, true),
  processed_at = locked.at, updated_at = now()
FROM locked WHERE orders.order_id = locked.order_id
RETURNING orders.order_id
"""


async def leave(conn: Connection, rows: Sequence[NotMeant]) -> None:
    """Record orders that are not to be synced."""
    if rows:
        columns = zip(*((row.order_id, row.why, row.event_id) for row in rows), strict=True)
        await conn.execute(_LEAVE, *map(list, columns))


async def end_coalesced(conn: Connection, rows: Sequence[Coalesced]) -> list[str]:
    """Record the end of the orders that were left to the sync of another one of their person; returns their ids."""
    last = {row.phone: row for row in rows}
    if not last:
        return []
    columns = zip(*((r.phone, r.order_id, r.at, r.contact_id) for r in last.values()), strict=True)
    return [order_id for (order_id,) in await conn.fetch(_END_COALESCED, *map(list, columns))]


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
            return order_id, "syncing", one.at, None, None, one.contact_exists, contact, one.event_id, False
        case Waiting():
            why = one.why[:LONGEST_ERROR]
            return order_id, None, one.tried_at, why, None, None, contact, one.event_id, False
        case SyncResult():
            error = one.error[:LONGEST_ERROR] if one.error else None
            told = one.contact_id, one.contact_exists, contact, one.event_id, one.told_so
            return order_id, one.status, one.at, error, *told
    return order_id, None, None, None, None, None, contact, None, False
