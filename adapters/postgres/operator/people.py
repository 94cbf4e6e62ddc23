"""People as an operator looks for them: by their identities, orders and names, with the merges of their past and what
the contact directory (CGB) has told of them. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from adapters.postgres.merges import MERGED, UNMERGED
from adapters.postgres.pool import Pool, Record
from schemas.contacts import Owner
from schemas.identity import PROOFS, Identity
from schemas.phone import aliases

MOST_NAMESAKES: Final = 1000
"""Contacts with fitting names that are looked at, at most. Of these, those with the newest orders are told."""

MOST_MERGES: Final = 100
MOST_EMAILS: Final = 100
MOST_TOLD: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundContact:
    """A contact as a list tells of it. *phones*: E.164, the first known one first."""

    id: UUID
    name: str | None
    email: str | None
    phones: Sequence[str]
    newest_order_id: str | None
    newest_order_at: datetime | None
    cgb_synced_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredContact:
    """All that is stored of a contact itself. *apart_from*: those that an operator took apart from it."""

    found: FoundContact
    language: str | None
    created_at: datetime
    updated_at: datetime
    apart_from: Sequence[UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredIdentity:
    """An identity of a contact. Of a phone: *cgb_contact_id*, the contact that CGB has, and *cgb_known*: whether what
    that contact holds is known, so that the next sync need not look."""

    kind: str
    value: str
    since: datetime
    cgb_contact_id: str | None = None
    cgb_known: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PastMerge:
    """A merge of *merged* into *stays*, or its undoing. *why*: who showed them to be one person's: a source or an
    operator; None of an undoing."""

    at: datetime
    actor: str
    action: str
    stays: UUID
    merged: UUID
    why: str | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StoredTold:
    """The directory has told that *field* of the contact of the phone line *line* holds *value* at *at*, as text in its
    own encoding ("": it is empty there). *ours*: what the contact was to hold then; None: nothing. *owner*: of the
    field. *taken*: the directory's word counted; else the orders' value was written again."""

    field: str
    value: str
    at: datetime
    ours: str | None
    owner: Owner
    taken: bool
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """What the directory has told of *field* at *at* was not taken. *contact_id*: of the person; None where nobody has
    the phone line any more."""

    contact_id: UUID | None
    field: str
    at: datetime
    owner: Owner


_BY_ID: Final = "SELECT id FROM contacts WHERE id BETWEEN $1 AND $2 ORDER BY id LIMIT $3"
_BY_IDENTITY: Final = """
SELECT i.contact_id, i.kind FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS given (kind, value, place)
CROSS JOIN LATERAL (
  SELECT contact_id, kind FROM contact_identities i WHERE i.kind = given.kind AND i.value = given.value LIMIT 1
) i ORDER BY place
"""
_BY_EMAIL: Final = "SELECT contact_id FROM contact_emails WHERE email = $1 ORDER BY id DESC LIMIT $2"
_BY_ORDER: Final = "SELECT cbb_contact_uuid FROM orders WHERE order_id = $1"
_BY_WORDS: Final = """
SELECT id FROM (SELECT id, newest_order_at FROM contacts WHERE words @@ $1::tsquery LIMIT $3) named
ORDER BY newest_order_at DESC NULLS LAST, id LIMIT $2
"""
# The row keeps the newest order that the contact ever showed, so that an older one does not go before it; an order that
# was corrected to another person is no order of this one.
_FOUND: Final = """
id, name, email, newest.newest_order_id, newest.newest_order_at, cgb_synced_at,
ARRAY(SELECT value FROM contact_identities i WHERE i.contact_id = c.id AND i.kind = 'phone' ORDER BY i.id) AS phones
"""
_NEWEST: Final = """
LEFT JOIN LATERAL (
  SELECT c.newest_order_id, c.newest_order_at FROM orders o
  WHERE o.order_id = c.newest_order_id AND o.cbb_contact_uuid IN (c.id, c.merged_into) LIMIT 1
) newest ON true
"""
_LIST: Final = f"SELECT {_FOUND} FROM contacts c {_NEWEST} WHERE id = ANY ($1::uuid[])"  # noqa: S608 - constants only
_ONE: Final = f"""
SELECT {_FOUND}, language, created_at, updated_at, apart_from FROM contacts c {_NEWEST} WHERE id = $1
"""  # noqa: S608 - constants only
_IDENTITIES: Final = """
SELECT kind, value, created_at AS since, cgb_contact_id, cgb_digest IS NOT NULL AS cgb_known
FROM contact_identities WHERE contact_id = $1 AND kind = ANY ($2::text[]) ORDER BY array_position($2::text[], kind), id
"""
_EMAILS: Final = "SELECT email, created_at FROM contact_emails WHERE contact_id = $1 ORDER BY id DESC LIMIT $2"
_MERGES: Final = """
WITH RECURSIVE person AS (
  SELECT $1::uuid AS id UNION ALL SELECT c.id FROM person JOIN contacts c ON c.merged_into = person.id
)
SELECT a.at, a.actor, a.action, a.subject, a.detail::text AS detail
FROM audit_log a WHERE a.subject IN (SELECT 'contact:' || id FROM person) AND a.action = ANY ($2::text[])
ORDER BY a.id DESC LIMIT $3
"""

_TOLD: Final = """
SELECT field, value, told_at AS at, ours, owner, taken, line
FROM told_fields WHERE line = ANY ($1::text[]) ORDER BY line, field LIMIT $2
"""
_CONFLICTS: Final = """
SELECT line, field, told_at AS at, owner FROM told_fields
WHERE NOT taken AND ($1::timestamptz IS NULL OR told_at >= $1) ORDER BY told_at DESC, line, field LIMIT $2
"""
_OF_PHONES: Final = """
SELECT given.phone, i.contact_id FROM unnest($1::text[]) AS given (phone) CROSS JOIN LATERAL (
  SELECT contact_id FROM contact_identities i WHERE i.kind = 'phone' AND i.value = given.phone LIMIT 1
) i
"""


async def by_id(pool: Pool, beginning: str, limit: int) -> list[UUID]:
    """The contacts whose ids begin with these hexadecimal digits."""
    low, high = UUID(beginning.ljust(32, "0")), UUID(beginning.ljust(32, "f"))
    return [row[0] for row in await pool.fetch(_BY_ID, low, high, limit)]


async def by_identity(pool: Pool, identities: Sequence[Identity]) -> Mapping[UUID, str]:
    """The contacts that have one of *identities*, and the kind by which each was found first."""
    kinds, values = [identity.kind.value for identity in identities], [identity.value for identity in identities]
    found: dict[UUID, str] = {}
    for row in await pool.fetch(_BY_IDENTITY, kinds, values):
        found.setdefault(row["contact_id"], row["kind"])
    return found


async def by_email(pool: Pool, email: str, limit: int) -> list[UUID]:
    """The contacts that have this address (in lower case), those that had it last first."""
    return [row[0] for row in await pool.fetch(_BY_EMAIL, email, limit)]


async def by_order(pool: Pool, order_id: str) -> UUID | None:
    """The contact of the order with this id."""
    contact: UUID | None = await pool.fetchval(_BY_ORDER, order_id)
    return contact


async def by_words(pool: Pool, words: Sequence[str], limit: int) -> list[UUID]:
    """The contacts whose names have, for each of *words* (`schemas.names.words_of`), a word that begins with it."""
    query = " & ".join(f"'{word}':*" for word in words)
    return [row[0] for row in await pool.fetch(_BY_WORDS, query, limit, MOST_NAMESAKES)]


async def listed(pool: Pool, contacts: Iterable[UUID]) -> list[FoundContact]:
    """These contacts, those with the newest orders first."""
    found = [_found(row) for row in await pool.fetch(_LIST, list(contacts))]
    return sorted(found, key=lambda one: (one.newest_order_at is None, _ago(one.newest_order_at), one.id))


async def find(pool: Pool, contact: UUID) -> StoredContact | None:
    """The contact with this id."""
    row = await pool.fetchrow(_ONE, contact)
    if row is None:
        return None
    rest = {name: row[name] for name in StoredContact.__slots__ if name != "found"}
    return StoredContact(found=_found(row), **rest)


async def identities(pool: Pool, contact: UUID) -> list[StoredIdentity]:
    """The identities of *contact*: its proofs, the strongest first, then the e-mails that it had last."""
    proofs = await pool.fetch(_IDENTITIES, contact, [kind.value for kind in PROOFS])
    emails = await pool.fetch(_EMAILS, contact, MOST_EMAILS)
    return [
        *(StoredIdentity(**dict(row)) for row in proofs),
        *(StoredIdentity(kind="email", value=row[0], since=row[1]) for row in emails),
    ]


async def merges(pool: Pool, contact: UUID) -> list[PastMerge]:
    """What the audit log says of merges into *contact*, and into those that were merged into it; the last one first."""
    rows = await pool.fetch(_MERGES, contact, [MERGED, UNMERGED], MOST_MERGES)
    return [_past(row["at"], row["actor"], row["action"], row["subject"], orjson.loads(row["detail"])) for row in rows]


async def told(pool: Pool, lines: Sequence[str]) -> list[StoredTold]:
    """What the directory has told last of each field of the contacts of these phone lines, by line and field; at most
    MOST_TOLD."""
    return [StoredTold(**dict(row)) for row in await pool.fetch(_TOLD, lines, MOST_TOLD)]


async def conflicts(pool: Pool, since: datetime | None, limit: int) -> list[Conflict]:
    """The fields whose value the directory has told last and that was not taken, newest first. *since*: told since
    then."""
    rows = await pool.fetch(_CONFLICTS, since, limit)
    notations = {line: aliases(line) for line, *_ in rows}
    known_phones = await pool.fetch(_OF_PHONES, [phone for known in notations.values() for phone in known])
    of_phone: dict[str, UUID] = {row["phone"]: row["contact_id"] for row in known_phones}
    of_line = {line: next(filter(None, map(of_phone.get, known)), None) for line, known in notations.items()}
    return [Conflict(contact_id=of_line[line], field=field, at=at, owner=owner) for line, field, at, owner in rows]


def _past(at: datetime, actor: str, action: str, subject: str, detail: Mapping[str, Any]) -> PastMerge:
    stays, merged = UUID(subject.partition(":")[2]), UUID(detail["merged"])
    return PastMerge(at=at, actor=actor, action=action, stays=stays, merged=merged, why=detail.get("why"))


def _found(row: Record) -> FoundContact:
    return FoundContact(**{name: row[name] for name in FoundContact.__slots__})


def _ago(at: datetime | None) -> float:
    return 0.0 if at is None else -at.timestamp()
