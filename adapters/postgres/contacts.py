"""People and their identities: `contacts` and `contact_identities`, in batches.

Any number of processes may make the same person at the same time: the unique identity decides, and who loses
takes its own empty contact away again. Locks are taken in one order everywhere: phones, contacts by id, other
identities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from adapters.postgres.pool import Connection, Pool
from schemas.identity import Identity, IdentityKind, email_identity
from schemas.phone import Phone

_LONGEST_VALUE: Final = 320
"""Identities are indexed, and an address longer than mail allows is not one."""

_FIND: Final = """
SELECT value, contact_id FROM contact_identities WHERE kind = 'phone' AND value = ANY ($1::text[])
"""

_ADD_CONTACTS: Final = "INSERT INTO contacts (id) SELECT unnest($1::uuid[])"

_ADD_IDENTITIES: Final = """
INSERT INTO contact_identities (contact_id, kind, value)
SELECT contact_id, kind, value
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS given (contact_id, kind, value)
ORDER BY kind, value
ON CONFLICT (kind, value) DO NOTHING
RETURNING contact_id
"""

_REMOVE: Final = "DELETE FROM contacts WHERE id = ANY ($1::uuid[])"

_LOCK: Final = "SELECT FROM contacts WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE"

_REMEMBER: Final = """
UPDATE contacts SET
  name = COALESCE(given.name, contacts.name),
  email = COALESCE(given.email, contacts.email),
  language = COALESCE(given.language, contacts.language),
  newest_order_id = given.order_id,
  newest_order_at = given.ordered_at,
  newest_order_received_at = given.received_at,
  cgb_synced_at = GREATEST(contacts.cgb_synced_at, given.synced_at),
  updated_at = now()
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[],
            $8::timestamptz[])
  AS given (id, name, email, language, order_id, ordered_at, received_at, synced_at)
WHERE contacts.id = given.id
  AND (contacts.newest_order_at IS NULL
       OR (contacts.newest_order_at, contacts.newest_order_received_at, contacts.newest_order_id COLLATE "C")
          <= (given.ordered_at, given.received_at, given.order_id COLLATE "C"))
"""

_NEWEST: Final = """
SELECT i.value, c.newest_order_at, c.newest_order_received_at, c.newest_order_id
FROM contact_identities i JOIN contacts c ON c.id = i.contact_id
WHERE i.kind = 'phone' AND i.value = ANY ($1::text[]) AND c.newest_order_at IS NOT NULL
"""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Buyer:
    """A person as one order of theirs, synced at *synced_at*, tells of them. *age* is the order's `age`."""

    phone: Phone
    age: tuple[datetime, datetime, str]
    synced_at: datetime
    name: str | None = None
    email: str | None = None
    language: str | None = None
    cgb_id: str | None = None

    @property
    def order_id(self) -> str:
        """The order that tells."""
        return self.age[2]


async def newest_orders(conn: Connection | Pool, phones: Sequence[str]) -> Mapping[str, tuple[datetime, datetime, str]]:
    """The newest synced order of the person of each phone (E.164): when ordered, when received, its id.

    Phones of nobody, or of people without a synced order, are missing from the answer.
    """
    rows = await conn.fetch(_NEWEST, list(dict.fromkeys(phones)))
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


async def ensure(conn: Connection, phones: Sequence[str]) -> Mapping[str, UUID]:
    """The person of each phone (E.164), made where there is none. Inside a transaction."""
    wanted = sorted(set(phones))
    found: dict[str, UUID] = {row[0]: row[1] for row in await conn.fetch(_FIND, wanted)}
    missing = [phone for phone in wanted if phone not in found]
    if not missing:
        return found
    made = {phone: uuid4() for phone in missing}
    await conn.execute(_ADD_CONTACTS, list(made.values()))
    kinds = [IdentityKind.PHONE.value] * len(made)
    won = {row[0] for row in await conn.fetch(_ADD_IDENTITIES, list(made.values()), kinds, list(made))}
    if lost := [contact for contact in made.values() if contact not in won]:
        await conn.execute(_REMOVE, lost)
    # A second look is a new snapshot (read committed): it shows who won.
    found.update({row[0]: row[1] for row in await conn.fetch(_FIND, missing)})
    return found


async def remember(conn: Connection, buyers: Sequence[Buyer]) -> Mapping[str, UUID]:
    """Keep what orders tell of their buyers; return the contact by order id. Inside a transaction.

    The person is who has the phone. Name, e-mail and newest order are those of the newest order ever told of;
    one that lacks a name or an e-mail leaves the known one. An identity that belongs to somebody else stays
    theirs.
    """
    if not buyers:
        return {}
    contacts = await ensure(conn, [buyer.phone.e164 for buyer in buyers])
    newest: dict[UUID, Buyer] = {}
    for buyer in sorted(buyers, key=lambda buyer: buyer.age):
        newest[contacts[buyer.phone.e164]] = buyer
    await conn.execute(_LOCK, sorted(newest))
    await conn.execute(
        _REMEMBER,
        list(newest),
        [buyer.name for buyer in newest.values()],
        [buyer.email for buyer in newest.values()],
        [buyer.language for buyer in newest.values()],
        [buyer.order_id for buyer in newest.values()],
        [buyer.age[0] for buyer in newest.values()],
        [buyer.age[1] for buyer in newest.values()],
        [buyer.synced_at for buyer in newest.values()],
    )
    await add_identities(conn, [(contacts[b.phone.e164], identity) for b in buyers for identity in _identities(b)])
    return {buyer.order_id: contacts[buyer.phone.e164] for buyer in buyers}


async def add_identities(conn: Connection, owned: Sequence[tuple[UUID, Identity]]) -> None:
    """Add identities to people. One that somebody has already, whoever it is, stays where it is."""
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
