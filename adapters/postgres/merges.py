"""Two contacts become one, and become two again. Each change has its row in the audit log, from which it is undone.

The merged contact keeps its row, and its id leads to the contact that stays. The audit log says by their keys which
rows have moved. It holds no value of a person, so what was said of the person before is kept with the merged contact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson

from adapters.postgres import audit_log
from adapters.postgres.audit_log import Logged
from adapters.postgres.pool import Connection, Pool, Record
from schemas.errors import FerrymanError

MERGED: Final = "contact.merged"
UNMERGED: Final = "contact.unmerged"


@dataclass(frozen=True, slots=True)
class Pointing:
    """A table whose rows belong to contacts. *key*, of *type*, names a row; *column* names its contact. *but*: the rows
    of the contact $2 that stay with it when it is merged into $1."""

    table: str
    key: str
    type: str
    column: str
    but: str = "false"


_SHARED_MAIL: Final = "email IN (SELECT email FROM contact_emails WHERE contact_id = $1)"

POINTING: Final = (
    Pointing("contact_identities", "id", "bigint", "contact_id"),
    Pointing("contact_emails", "id", "bigint", "contact_id", but=_SHARED_MAIL),
    Pointing("orders", "order_id", "text", "cbb_contact_uuid"),
    Pointing("applicant_issues", "applicant_id", "text", "contact_id"),
)
"""All that moves with a contact, in the order in which its rows are locked."""

# Rows are locked in the order of their key, and each is updated only after it is locked.
_MOVE: Final = """
WITH locked AS MATERIALIZED (
  SELECT {key} FROM {table} WHERE {column} = $2 AND NOT ({but}) ORDER BY {key} FOR UPDATE)
UPDATE {table} SET {column} = $1 FROM locked WHERE {table}.{key} = locked.{key} RETURNING {table}.{key}
"""
_MOVE_BACK: Final = """
WITH locked AS MATERIALIZED (
  SELECT {key} FROM {table} WHERE {key} = ANY ($3::{type}[]) AND {column} = $1 ORDER BY {key} FOR UPDATE)
UPDATE {table} SET {column} = $2 FROM locked WHERE {table}.{key} = locked.{key} RETURNING {table}.{key}
"""

_LOCK: Final = (
    "SELECT id, merged_into, created_at FROM contacts WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"
)

_BURY: Final = """
UPDATE contacts m SET merged_into = s.id, stayed_as = to_jsonb(s), updated_at = now()
FROM contacts s WHERE m.id = $2 AND s.id = $1
"""
_JOIN: Final = """
UPDATE contacts s SET
  name = CASE WHEN later.newer THEN COALESCE(m.name, s.name) ELSE COALESCE(s.name, m.name) END,
  words = CASE WHEN m.name IS NOT NULL AND (later.newer OR s.name IS NULL) THEN m.words ELSE s.words END,
  email = CASE WHEN later.newer THEN COALESCE(m.email, s.email) ELSE COALESCE(s.email, m.email) END,
  language = CASE WHEN later.newer THEN COALESCE(m.language, s.language) ELSE COALESCE(s.language, m.language) END,
  newest_order_id = CASE WHEN later.newer THEN m.newest_order_id ELSE s.newest_order_id END,
  newest_order_at = CASE WHEN later.newer THEN m.newest_order_at ELSE s.newest_order_at END,
  newest_order_received_at = CASE WHEN later.newer THEN m.newest_order_received_at ELSE s.newest_order_received_at END,
  cgb_synced_at = GREATEST(s.cgb_synced_at, m.cgb_synced_at),
  apart_from = array_remove(array_remove(s.apart_from || m.apart_from, s.id), m.id),
  updated_at = now()
FROM contacts m CROSS JOIN LATERAL (
  SELECT m.newest_order_at IS NOT NULL AND (o.newest_order_at IS NULL OR
    (m.newest_order_at, m.newest_order_received_at, m.newest_order_id COLLATE "C")
    > (o.newest_order_at, o.newest_order_received_at, o.newest_order_id COLLATE "C")) AS newer
  FROM contacts o WHERE o.id = $1
) later
WHERE s.id = $1 AND m.id = $2
"""

_STANDING: Final = """
WITH RECURSIVE way AS (
  SELECT id AS asked, id, merged_into FROM contacts WHERE id = ANY ($1::uuid[])
  UNION ALL SELECT way.asked, c.id, c.merged_into FROM way JOIN contacts c ON c.id = way.merged_into
)
SELECT asked, id FROM way WHERE merged_into IS NULL
"""

_LAST: Final = """
SELECT id, detail::text AS detail FROM audit_log
WHERE subject = $1 AND action = 'contact.merged' AND detail->>'merged' = $2 ORDER BY id DESC LIMIT 1
"""
_LATER: Final = """
SELECT c.id FROM audit_log a JOIN contacts c ON c.id = (a.detail->>'merged')::uuid
WHERE a.subject = $1 AND a.action = 'contact.merged' AND a.id > $2 AND c.merged_into = $3 ORDER BY a.id DESC LIMIT 1
"""
# What an order has said since the merge stays: then the newest state of an order is neither's of before.
_PART: Final = """
UPDATE contacts s SET
  name = b.name, words = b.words, email = b.email, language = b.language, newest_order_id = b.newest_order_id,
  newest_order_at = b.newest_order_at, newest_order_received_at = b.newest_order_received_at,
  cgb_synced_at = b.cgb_synced_at, updated_at = now()
FROM contacts m, jsonb_populate_record(NULL::contacts, m.stayed_as) b
WHERE s.id = $1 AND m.id = $2
  AND ((s.newest_order_id, s.newest_order_at) IS NOT DISTINCT FROM (m.newest_order_id, m.newest_order_at)
       OR (s.newest_order_id, s.newest_order_at) IS NOT DISTINCT FROM (b.newest_order_id, b.newest_order_at))
"""
_KEEP_APART: Final = """
UPDATE contacts c SET
  apart_from = array_append(array_remove(apart_from, other.id), other.id),
  merged_into = CASE WHEN c.id = $2 THEN NULL ELSE merged_into END,
  stayed_as = CASE WHEN c.id = $2 THEN NULL ELSE stayed_as END,
  updated_at = now()
FROM unnest($3::uuid[], $4::uuid[]) AS other (of, id) WHERE c.id = other.of AND c.id = ANY ($1::uuid[])
"""


class NotMerged(FerrymanError):
    """A merge cannot be done, or cannot be undone, as the contacts are now."""


async def lock(conn: Connection, contacts: list[UUID]) -> dict[UUID, Record]:
    """Lock *contacts*: id -> its row of (id, merged_into, created_at). Call it inside a transaction, before a row of
    another table is locked."""
    return {row["id"]: row for row in await conn.fetch(_LOCK, contacts)}


async def standing(conn: Connection | Pool, contacts: Iterable[UUID]) -> dict[UUID, UUID]:
    """Each of *contacts* that there is, and the contact that stands for its person now: itself unless it was merged."""
    return {row["asked"]: row["id"] for row in await conn.fetch(_STANDING, list(contacts))}


async def merge(conn: Connection, *, stays: UUID, merged: UUID, actor: str, why: str) -> Mapping[str, int]:
    """Merge the contact *merged* into *stays*; both are locked by the caller. Returns table -> how many rows have
    moved. *why*: who showed them to be one person's. Name, e-mail and newest order are those by the newest order."""
    await conn.execute(_BURY, stays, merged)
    await conn.execute(_JOIN, stays, merged)
    moved = {}
    for one in POINTING:
        query = _MOVE.format(table=one.table, key=one.key, column=one.column, but=one.but)
        moved[one.table] = [row[0] for row in await conn.fetch(query, stays, merged)]
    detail = {"merged": str(merged), "why": why, "moved": moved}
    await audit_log.add(conn, [Logged(actor, MERGED, f"contact:{stays}", detail)])
    return {table: len(keys) for table, keys in moved.items()}


async def unmerge(conn: Connection, *, merged: UUID, actor: str) -> Mapping[str, int]:
    """Undo the merge of *merged*; returns table -> how many rows have gone back to it. Call it inside a transaction.

    What came after the merge stays with the contact that stayed. The two are not merged again by what sources show.
    Raises: NotMerged.
    """
    stays = await conn.fetchval("SELECT merged_into FROM contacts WHERE id = $1", merged)
    locked = {} if stays is None else await lock(conn, [stays, merged])
    if stays is None or locked[merged]["merged_into"] != stays:
        raise NotMerged(f"the contact {merged} is not merged: `ferryman contacts show` names the merges of a contact")
    number, detail = await _undoable(conn, stays, merged, locked[stays])
    await conn.execute(_PART, stays, merged)
    back = {}
    for one in POINTING:
        keys = detail["moved"].get(one.table, [])
        query = _MOVE_BACK.format(table=one.table, key=one.key, type=one.type, column=one.column)
        back[one.table] = len(await conn.fetch(query, stays, merged, keys))
    both = [stays, merged]
    await conn.execute(_KEEP_APART, both, merged, both, both[::-1])
    undone = {"merged": str(merged), "undoes": number, "back": back}
    await audit_log.add(conn, [Logged(actor, UNMERGED, f"contact:{stays}", undone)])
    return back


async def _undoable(conn: Connection, stays: UUID, merged: UUID, standing: Record) -> tuple[int, dict[str, Any]]:
    """The audit log's row of the merge: (its number, its detail). Raises: NotMerged where a later merge is in the way,
    or the row is not kept any more."""
    subject = f"contact:{stays}"
    row = await conn.fetchrow(_LAST, subject, str(merged))
    if row is None:
        raise NotMerged(f"the audit log no longer says what the merge of {merged} has moved, so it cannot be undone")
    later = stays if standing["merged_into"] else await conn.fetchval(_LATER, subject, row["id"], stays)
    if later:
        raise NotMerged(f"{later} was merged later: undo that first, with `ferryman contacts unmerge {later}`")
    return row["id"], orjson.loads(row["detail"])
