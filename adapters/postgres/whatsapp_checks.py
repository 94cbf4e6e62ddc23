"""What is known of numbers on WhatsApp, in the table `whatsapp_checks`, and the orders that show it.

A new answer and an order may be written at the same time. So the writer of an order shares a lock until its commit, and
the writer of a new answer holds that lock alone: one of the two sees what the other has written. Locks are taken in
one order: rows of `whatsapp_checks`, the lock, rows of `orders` by order_id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from adapters.postgres.pool import Connection, Pool
from schemas.phone import Phone, aliases
from schemas.whatsapp import Evidence

_LOCK: Final = "hashtext('ferryman.whatsapp_checks')"

_KNOWN: Final = """
SELECT phone, has_whatsapp, source, checked_at, expires_at FROM whatsapp_checks WHERE phone = ANY ($1::text[])
"""

# Of the rows that are asked for some are there and are locked, and others are made after that. So two batches that
# share both kinds would wait for each other, had they not taken their turn before, in one order. 2048 locks stand for
# all numbers.
_TAKE_TURN: Final = """
WITH wanted AS MATERIALIZED (
  SELECT DISTINCT hashtext(phone) & 2047 AS place FROM unnest($1::text[]) AS phone ORDER BY 1)
SELECT pg_advisory_xact_lock(hashtext('ferryman.whatsapp'), place) FROM wanted
"""

_COUNTING: Final = """
SELECT phone, has_whatsapp FROM whatsapp_checks WHERE phone = ANY ($1::text[]) AND expires_at > now()
ORDER BY phone FOR UPDATE
"""

# Evidence that weighs less than what is there changes nothing; `schemas.whatsapp.Evidence.weight` is the same rule.
_KEEP: Final = """
INSERT INTO whatsapp_checks AS w (phone, has_whatsapp, source, checked_at, expires_at)
SELECT phone, has_whatsapp, source, checked_at, expires_at
FROM unnest($1::text[], $2::boolean[], $3::text[], $4::timestamptz[], $5::timestamptz[])
  AS given (phone, has_whatsapp, source, checked_at, expires_at)
ORDER BY phone
ON CONFLICT (phone) DO UPDATE SET
  has_whatsapp = excluded.has_whatsapp, source = excluded.source, checked_at = excluded.checked_at,
  expires_at = excluded.expires_at
WHERE (excluded.source <> 'offline', excluded.checked_at, excluded.has_whatsapp, excluded.source COLLATE "C",
       excluded.expires_at)
    > (w.source <> 'offline', w.checked_at, w.has_whatsapp, w.source COLLATE "C", w.expires_at)
RETURNING phone
"""


def _show(wanted: str) -> str:
    """The orders that *wanted* chooses show what is known of their numbers. Rows are locked in the order of order_id,
    and each is updated only after it is locked. *wanted* stands twice, and the number is asked for order by order, so
    that a plan that was made for small tables does not read all of large ones."""
    return f"""
WITH locked AS MATERIALIZED (
  SELECT order_id, client_phone_e164 FROM orders WHERE {wanted} ORDER BY order_id FOR UPDATE)
UPDATE orders SET
  cgb_has_whatsapp = w.has_whatsapp,
  cgb_sync_status = CASE WHEN orders.cgb_sync_status IN ('synced', 'no_whatsapp')
                         THEN CASE WHEN w.has_whatsapp THEN 'synced' ELSE 'no_whatsapp' END
                         ELSE orders.cgb_sync_status END,
  updated_at = now()
FROM locked CROSS JOIN LATERAL (
  SELECT has_whatsapp FROM whatsapp_checks WHERE phone = locked.client_phone_e164 AND expires_at > now() LIMIT 1) w
WHERE {wanted} AND orders.order_id = locked.order_id
  AND (orders.cgb_has_whatsapp IS DISTINCT FROM w.has_whatsapp
       OR orders.cgb_sync_status = CASE WHEN w.has_whatsapp THEN 'no_whatsapp' ELSE 'synced' END)
"""  # noqa: S608


_SHOW: Final = _show("orders.order_id = ANY ($1::text[])")
_SHOW_BY_PHONE: Final = _show("orders.client_phone_e164 = ANY ($1::text[])")


async def known_of(conn: Connection | Pool, phones: Sequence[Phone]) -> list[Evidence | None]:
    """What is known of each of *phones*, also where it has expired."""
    rows = await conn.fetch(_KNOWN, [phone.e164 for phone in phones])
    found = {row[0]: Evidence(Phone(row[0]), *tuple(row)[1:]) for row in rows}
    return [found.get(phone.e164) for phone in phones]


async def keep(conn: Connection, evidence: Iterable[Evidence]) -> None:
    """Keep *evidence* for every notation of its numbers, where it weighs more than what is known. The orders of a
    number whose answer is new show it. Call it inside a transaction."""
    heaviest: dict[str, Evidence] = {}
    for one in evidence:
        for e164 in aliases(one.phone.e164):
            if e164 not in heaviest or heaviest[e164].weight < one.weight:
                heaviest[e164] = one
    if not heaviest:
        return
    phones = sorted(heaviest)
    await conn.execute(_TAKE_TURN, phones)
    before = {row[0]: row[1] for row in await conn.fetch(_COUNTING, phones)}
    told = [heaviest[phone] for phone in phones]
    rows = [(one.has_whatsapp, one.source, one.at, one.expires_at) for one in told]
    kept = [row[0] for row in await conn.fetch(_KEEP, phones, *map(list, zip(*rows, strict=True)))]
    if new := [phone for phone in kept if before.get(phone) is not heaviest[phone].has_whatsapp]:
        await conn.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        await conn.execute(_SHOW_BY_PHONE, new)


async def hold(conn: Connection) -> None:
    """Let no new answer be written until the end of this transaction. Call it before rows of `orders` are locked."""
    await conn.execute(f"SELECT pg_advisory_xact_lock_shared({_LOCK})")


async def show(conn: Connection, order_ids: Sequence[str]) -> None:
    """Let these orders show what is known of their numbers; of those whose sync has ended well, the status says it too.
    Call it after `hold`, in the same transaction."""
    await conn.execute(_SHOW, sorted(set(order_ids)))
