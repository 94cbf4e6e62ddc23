"""Whose contact in the directory is due to be looked at again: people who have ordered lately, in turns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.pool import Connection, Pool
from schemas.phone import aliases

# By the index of created_at, so a round reads one page of orders, however many there are.
_PAGE: Final = """
SELECT created_at, client_phone_e164 FROM orders
WHERE created_at > now() - make_interval(days => $1) AND created_at < $2
ORDER BY created_at DESC LIMIT $3
"""

# Of the notations of a line the one that was synced has a digest. Rows that another process claims are left to it.
_CLAIM: Final = """
WITH due AS MATERIALIZED (
  SELECT id FROM contact_identities
  WHERE kind = 'phone' AND value = ANY ($1::text[]) AND cgb_contact_id IS NOT NULL AND cgb_digest IS NOT NULL
    AND COALESCE(cgb_seen_at, '-infinity') < now() - make_interval(mins => $2)
  ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED)
UPDATE contact_identities i SET cgb_seen_at = now() FROM due WHERE i.id = due.id RETURNING i.value
"""

_SEEN: Final = """
WITH locked AS MATERIALIZED (
  SELECT id FROM contact_identities WHERE kind = 'phone' AND value = ANY ($1::text[]) ORDER BY id FOR UPDATE)
UPDATE contact_identities i SET cgb_seen_at = now() FROM locked WHERE i.id = locked.id
"""


class Page(NamedTuple):
    """Phones (E.164, each once) of orders, newest first. *until*: when the last one was stored; None: there are no
    more."""

    phones: Sequence[str]
    until: datetime | None


async def ordered_lately(pool: Pool, days: int, before: datetime, limit: int) -> Page:
    """Who has ordered within *days*, by the orders stored before *before*."""
    rows = await pool.fetch(_PAGE, days, before, limit)
    phones = list(dict.fromkeys(row["client_phone_e164"] for row in rows if row["client_phone_e164"]))
    return Page(phones, rows[-1]["created_at"] if len(rows) == limit else None)


async def claim(conn: Connection | Pool, phones: Sequence[str], minutes: int, limit: int) -> list[str]:
    """Those of *phones*, at most *limit*, whose contact is known and was not looked at for *minutes*. They count as
    looked at from now on, so each is claimed by one process."""
    return [value for (value,) in await conn.fetch(_CLAIM, phones, minutes, limit)]


async def seen(conn: Connection, phones: Sequence[str]) -> None:
    """The contacts of *phones* were looked at, or have told of themselves, just now."""
    await conn.execute(_SEEN, sorted({notation for phone in phones for notation in aliases(phone)}))
