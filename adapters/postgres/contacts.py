"""What orders say about people: the columns of `contacts`, and what a directory's contact was given last, in batches.

Whose contact it is, `people` decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from adapters.postgres import people
from adapters.postgres.people import Met
from adapters.postgres.pool import Connection
from schemas.identity import Identity, IdentityKind, email_identity
from schemas.names import words_of
from schemas.phone import Phone, aliases, line

SOURCE: Final = "orders"
"""What orders are called among the sources of identities."""

MOST_OWN: Final = 96
"""Marks of what was written to one contact that are kept."""

# The contacts are locked since they were found. An order that was chosen says what its own line has now; of a person
# with several lines, a newer order of another line still counts.
_REMEMBER: Final = """
UPDATE contacts SET
  name = COALESCE(given.name, contacts.name),
  words = CASE WHEN given.name IS NULL THEN contacts.words
               ELSE array_to_tsvector(string_to_array(given.words, ' ')) END,
  email = COALESCE(given.email, contacts.email),
  language = COALESCE(given.language, contacts.language),
  newest_order_id = given.order_id,
  newest_order_at = given.ordered_at,
  newest_order_received_at = given.received_at,
  cgb_synced_at = GREATEST(contacts.cgb_synced_at, given.synced_at),
  updated_at = now()
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
            $8::timestamptz[], $9::timestamptz[], $10::boolean[], $11::text[], $12::text[])
  AS given (id, name, words, email, language, order_id, ordered_at, received_at, synced_at, chosen, phone, other)
WHERE contacts.id = ANY ($1::uuid[]) AND contacts.id = given.id
  AND (contacts.newest_order_at IS NULL
       OR (contacts.newest_order_at, contacts.newest_order_received_at, contacts.newest_order_id COLLATE "C")
          <= (given.ordered_at, given.received_at, given.order_id COLLATE "C")
       OR given.chosen AND (
         SELECT true FROM orders o
         WHERE o.order_id = contacts.newest_order_id AND o.cbb_contact_uuid = contacts.id
           AND o.client_phone_e164 NOT IN (given.phone, given.other)
           AND COALESCE(lower(o.order_status), '') <> 'canceled'
         LIMIT 1) IS NULL)
"""

# By its place in the arrays a row finds what was written: joined with them, a plan for any arrays would compare each
# row with each.
_WRITTEN: Final = f"""
WITH there AS MATERIALIZED (
  SELECT id, array_position($1::text[], value) AS n FROM contact_identities
  WHERE kind = 'phone' AND value = ANY ($1::text[]) ORDER BY id FOR UPDATE)
UPDATE contact_identities i SET
  cgb_contact_id = ($2::text[])[there.n],
  cgb_digest = CASE WHEN i.cgb_doubt <= ($4::bigint[])[there.n] THEN ($3::bytea[])[there.n] END,
  cgb_own = CASE WHEN ($5::text[])[there.n] = '' THEN i.cgb_own
                 ELSE (string_to_array(($5::text[])[there.n], ' ') || i.cgb_own)[1:{MOST_OWN}] END,
  cgb_seen_at = now()
FROM there WHERE i.id = there.id
"""  # noqa: S608 - constants only

_FORGET: Final = """
WITH locked AS MATERIALIZED (
  SELECT id FROM contact_identities WHERE kind = 'phone' AND value = ANY ($1::text[]) ORDER BY id FOR UPDATE)
UPDATE contact_identities i SET cgb_digest = NULL, cgb_doubt = nextval('cgb_doubts') FROM locked WHERE i.id = locked.id
"""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Buyer:
    """What one order, synced at *synced_at*, says about its buyer. *age* is the order's `age`.

    *chosen*: it was chosen among the orders that the person has now, so it counts also where a newer one was known:
    that one is canceled, or has become another person's. *written*: the digest of what the contact holds of it, as far
    as *doubt*, the mark that the sync has seen, is the last one. *own*: marks of what was written to it now.
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
    doubt: int = 0
    own: Sequence[str] = ()
    asker: str | None = None

    @property
    def order_id(self) -> str:
        """The id of that order."""
        return self.age[2]


async def ensure(
    conn: Connection, phones: Sequence[str], source: str = SOURCE, *, only_known: Collection[str] = ()
) -> Mapping[str, UUID]:
    """Phone (E.164) -> contact id, as *source* has met its person; a missing contact is made, but for those of
    *only_known*. Call it inside a transaction, before a row of another table is locked."""
    groups = [Met([Identity(IdentityKind.PHONE, phone)], source, makes=phone not in only_known) for phone in phones]
    met = await people.meet(conn, groups)
    return {phone: contact for phone, contact in zip(phones, met, strict=True) if contact}


async def remember(conn: Connection, buyers: Sequence[Buyer]) -> Mapping[str, UUID]:
    """Keep what orders say about their buyers; returns (asking) order id -> contact id. Call it inside a transaction.

    Phone and CGB contact tell who the person is. Name, e-mail and newest order come from the newest order of all; an
    order without a name or an e-mail leaves the known one.
    """
    if not buyers:
        return {}
    met = await people.meet(conn, [Met(_identities(buyer), SOURCE) for buyer in buyers])
    contacts = {buyer.phone.e164: contact for buyer, contact in zip(buyers, met, strict=True) if contact}
    newest: dict[UUID, Buyer] = {}
    for buyer in (*sorted(buyers, key=lambda buyer: buyer.age), *(b for b in buyers if b.chosen)):
        newest[contacts[buyer.phone.e164]] = buyer
    await conn.execute(_REMEMBER, list(newest), *_told(list(newest.values())))
    written = {n: buyer for buyer in buyers if buyer.written is not None for n in aliases(buyer.phone.e164)}
    if written:
        own: dict[str, str] = {}
        for buyer in buyers:
            own[line(buyer.phone.e164)] = " ".join([*buyer.own, own.get(line(buyer.phone.e164), "")]).strip()
        told = [(b.cgb_id, b.written, b.doubt, own[line(b.phone.e164)]) for b in written.values()]
        await conn.execute(_WRITTEN, list(written), *map(list, zip(*told, strict=True)))
    return {buyer.asker or buyer.order_id: contacts[buyer.phone.e164] for buyer in buyers}


# A person who is new here has no row, and no directory has told of one yet.
_MEAN: Final = f"""
WITH locked AS MATERIALIZED (
  SELECT id, array_position($1::text[], value) AS n FROM contact_identities
  WHERE kind = 'phone' AND value = ANY ($1::text[]) ORDER BY id FOR UPDATE)
UPDATE contact_identities i SET cgb_own = (string_to_array(($2::text[])[locked.n], ' ') || i.cgb_own)[1:{MOST_OWN}]
FROM locked WHERE i.id = locked.id AND ($2::text[])[locked.n] <> ''
"""  # noqa: S608 - constants only


@dataclass(frozen=True, slots=True, repr=False)
class Meant:
    """The directory's contact of *phone* (E.164) is about to be given what *own* are the marks of: it may tell of it
    before the write has come to its end here."""

    phone: str
    own: Sequence[str]


async def mean(conn: Connection, rows: Sequence[Meant], *, locks: Iterable[str] = ()) -> None:
    """Keep the marks of what is about to be written. *locks*: phones whose rows the transaction locks afterwards: all
    are locked at once, by their ids, as others lock them."""
    if not rows:
        return
    marks = dict.fromkeys((notation for phone in locks for notation in aliases(phone)), "")
    for row in rows:
        for notation in aliases(row.phone):
            marks[notation] = " ".join([*row.own, marks.get(notation, "")]).strip()
    await conn.execute(_MEAN, list(marks), list(marks.values()))


@dataclass(frozen=True, slots=True)
class Doubt:
    """What the directory's contact of *phone* (E.164) holds is not known any more."""

    phone: str


async def forget_written(conn: Connection, phones: Iterable[str]) -> None:
    """What the contacts of these phones hold is not known any more: the next sync looks."""
    await conn.execute(_FORGET, sorted({notation for phone in phones for notation in aliases(phone)}))


def _told(buyers: Sequence[Buyer]) -> list[list[Any]]:
    """The columns that _REMEMBER takes of *buyers*, from the name on."""
    rows = [
        (
            b.name,
            " ".join(words_of(b.name)),
            b.email,
            b.language,
            b.order_id,
            *b.age[:2],
            b.synced_at,
            b.chosen,
            b.phone.e164,
            aliases(b.phone.e164)[-1] if b.chosen else None,  # nothing else asks for it, and it takes its time
        )
        for b in buyers
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def _identities(buyer: Buyer) -> list[Identity]:
    identities = [Identity(IdentityKind.PHONE, buyer.phone.e164)]
    if buyer.cgb_id:
        identities.append(Identity(IdentityKind.CGB, buyer.cgb_id))
    if buyer.email:
        identities.append(email_identity(buyer.email))
    return identities
