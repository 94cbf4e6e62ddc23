"""People and their identities: `contacts` and `contact_identities`, in batches.

Several processes may make the same person at the same time. The unique identity decides which contact stays, and a
process that loses deletes its own. Locks are taken in one order everywhere: phones, contacts by id, other identities.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from adapters.postgres.pool import Connection
from schemas.identity import Identity, IdentityKind, email_identity
from schemas.phone import Phone

_LONGEST_VALUE: Final = 320
"""Characters of an e-mail address. Identities are indexed, and mail allows no longer address."""

_FIND: Final = """
SELECT value, contact_id FROM contact_identities WHERE kind = 'phone' AND value = ANY ($1::text[])
"""

_MAKE: Final = """
WITH given AS (
  SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
                       $8::timestamptz[], $9::timestamptz[])
    AS given (id, phone, name, email, language, order_id, ordered_at, received_at, synced_at)
), made AS (
  INSERT INTO contacts (id, name, email, language, newest_order_id, newest_order_at, newest_order_received_at,
                        cgb_synced_at)
  SELECT id, name, email, language, order_id, ordered_at, received_at, synced_at FROM given
)
INSERT INTO contact_identities (contact_id, kind, value)
SELECT id, 'phone', phone FROM given ORDER BY phone
ON CONFLICT (kind, value) DO NOTHING
RETURNING contact_id
"""

_ADD_IDENTITIES: Final = """
INSERT INTO contact_identities (contact_id, kind, value)
SELECT contact_id, kind, value
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS given (contact_id, kind, value)
ORDER BY kind, value
ON CONFLICT (kind, value) DO NOTHING
"""

_REMOVE: Final = "DELETE FROM contacts WHERE id = ANY ($1::uuid[])"

# Rows are locked in the order of id, and each is updated only after it is locked.
_REMEMBER: Final = """
WITH locked AS MATERIALIZED (SELECT id FROM contacts WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE)
UPDATE contacts SET
  name = COALESCE(given.name, contacts.name),
  email = COALESCE(given.email, contacts.email),
  language = COALESCE(given.language, contacts.language),
  newest_order_id = given.order_id,
  newest_order_at = given.ordered_at,
  newest_order_received_at = given.received_at,
  cgb_synced_at = GREATEST(contacts.cgb_synced_at, given.synced_at),
  updated_at = now()
FROM locked JOIN unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
                        $7::timestamptz[], $8::timestamptz[], $9::boolean[])
  AS given (id, name, email, language, order_id, ordered_at, received_at, synced_at, chosen) USING (id)
WHERE contacts.id = locked.id
  AND (given.chosen OR contacts.newest_order_at IS NULL
       OR (contacts.newest_order_at, contacts.newest_order_received_at, contacts.newest_order_id COLLATE "C")
          <= (given.ordered_at, given.received_at, given.order_id COLLATE "C"))
"""

# The array is asked for as well, so that a plan of a small table does not read all phones of a large one.
_WRITTEN: Final = """
UPDATE contact_identities i SET cgb_contact_id = given.contact_id, cgb_digest = given.digest
FROM unnest($1::text[], $2::text[], $3::bytea[]) AS given (phone, contact_id, digest)
WHERE i.kind = 'phone' AND i.value = ANY ($1::text[]) AND i.value = given.phone
"""

_FORGET: Final = "UPDATE contact_identities SET cgb_digest = NULL WHERE kind = 'phone' AND value = ANY ($1::text[])"

_HOLD: Final = "SELECT id FROM contacts WHERE id = ANY ($1::uuid[]) ORDER BY id FOR KEY SHARE"

_NOTHING: Final = (None,) * 7


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Buyer:
    """What one order, synced at *synced_at*, says about its buyer. *age* is the order's `age`.

    *chosen*: it was chosen among the orders that the person has now, so it counts also where a newer one was known:
    that one is canceled, or has become another person's. *written*: the digest of what the contact holds of it.
    *asker*: the other order of this person whose sync tells it.
    """

    phone: Phone
    age: tuple[datetime, datetime, str]
    synced_at: datetime
    name: str | None = None
    email: str | None = None
    language: str | None = None
    cgb_id: str | None = None
    chosen: bool = False
    written: bytes | None = None
    asker: str | None = None

    @property
    def order_id(self) -> str:
        """The id of that order."""
        return self.age[2]


async def ensure(conn: Connection, phones: Sequence[str]) -> Mapping[str, UUID]:
    """Phone (E.164) -> contact id; a missing contact is made. Call it inside a transaction."""
    contacts, _ = await _ensure(conn, dict.fromkeys(phones))
    return contacts


async def remember(conn: Connection, buyers: Sequence[Buyer]) -> Mapping[str, UUID]:
    """Keep what orders say about their buyers; returns (asking) order id -> contact id. Call it inside a transaction.

    The phone identifies the person. Name, e-mail and newest order come from the newest order of all; an order without a
    name or an e-mail leaves the known one. An identity that belongs to another person stays with that person.
    """
    if not buyers:
        return {}
    from_old_to_new = sorted(buyers, key=lambda buyer: buyer.age)
    contacts, made = await _ensure(conn, {buyer.phone.e164: buyer for buyer in from_old_to_new})
    newest: dict[UUID, Buyer] = {}
    for buyer in (*from_old_to_new, *(b for b in buyers if b.chosen)):
        if (contact := contacts[buyer.phone.e164]) not in made:
            newest[contact] = buyer
    if newest:
        chosen = [buyer.chosen for buyer in newest.values()]
        await conn.execute(_REMEMBER, list(newest), *_told(list(newest.values())), chosen)
    await add_identities(conn, [(contacts[b.phone.e164], identity) for b in buyers for identity in _identities(b)])
    if written := {b.phone.e164: (b.cgb_id, b.written) for b in buyers if b.written is not None}:
        ids, digests = zip(*written.values(), strict=True)
        await conn.execute(_WRITTEN, list(written), list(ids), list(digests))
    return {buyer.asker or buyer.order_id: contacts[buyer.phone.e164] for buyer in buyers}


async def held(conn: Connection, phones: Iterable[str]) -> Mapping[str, UUID]:
    """Phone (E.164) -> contact id, for those that have a contact. The contacts stay until the end of the transaction,
    so that a row may refer to them."""
    found: dict[str, UUID] = {row[0]: row[1] for row in await conn.fetch(_FIND, list(phones))}
    there = {row[0] for row in await conn.fetch(_HOLD, list(found.values()))} if found else set()
    return {phone: contact for phone, contact in found.items() if contact in there}


@dataclass(frozen=True, slots=True)
class Doubt:
    """What the directory's contact of *phone* (E.164) holds is not known any more."""

    phone: str


async def forget_written(conn: Connection, phones: Iterable[str]) -> None:
    """What the contacts of these phones hold is not known any more: the next sync looks."""
    await conn.execute(_FORGET, sorted(phones))


async def _ensure(conn: Connection, wanted: Mapping[str, Buyer | None]) -> tuple[dict[str, UUID], set[UUID]]:
    """(phone -> contact id, the ids of the contacts made here from their buyers)."""
    found: dict[str, UUID] = {row[0]: row[1] for row in await conn.fetch(_FIND, list(wanted))}
    missing = sorted(phone for phone in wanted if phone not in found)
    if not missing:
        return found, set()
    made = {phone: uuid4() for phone in missing}
    won = {
        row[0] for row in await conn.fetch(_MAKE, list(made.values()), missing, *_told([wanted[p] for p in missing]))
    }
    found.update({phone: contact for phone, contact in made.items() if contact in won})
    if len(won) < len(made):
        await conn.execute(_REMOVE, [contact for contact in made.values() if contact not in won])
        # A second query has a new snapshot (read committed), which shows the contacts that won.
        found.update({row[0]: row[1] for row in await conn.fetch(_FIND, missing)})
    return found, won


def _told(buyers: Sequence[Buyer | None]) -> list[list[Any]]:
    """The columns of *buyers*: name, e-mail, language, the order's id, when ordered, received and synced."""
    rows = [
        (b.name, b.email, b.language, b.order_id, b.age[0], b.age[1], b.synced_at) if b else _NOTHING for b in buyers
    ]
    return [list(column) for column in zip(*rows, strict=True)]


async def add_identities(conn: Connection, owned: Sequence[tuple[UUID, Identity]]) -> None:
    """Add identities to contacts. An identity that exists already stays with its contact."""
    first = {(identity.kind.value, identity.value): contact for contact, identity in reversed(owned)}
    if first:
        kinds, values = [kind for kind, _ in first], [value for _, value in first]
        await conn.execute(_ADD_IDENTITIES, list(first.values()), kinds, values)


def _identities(buyer: Buyer) -> list[Identity]:
    identities = []
    if buyer.cgb_id:
        identities.append(Identity(IdentityKind.CGB, buyer.cgb_id))
    if buyer.email and len(buyer.email) <= _LONGEST_VALUE:
        identities.append(email_identity(buyer.email))
    return identities
