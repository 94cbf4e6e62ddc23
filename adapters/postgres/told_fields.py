"""What the contact directory has told of its contacts' fields: `told_fields`, and what of it the contacts here say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from adapters.postgres.pool import Connection, Pool
from schemas.contacts import Owner
from schemas.names import words_of

MOST_OF_ONE: Final = 100
"""Identities of one person that are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ToldRow:
    """The directory has told, by the event *event_id*, that *field* of the contact of the phone line *line* holds
    *value* at *at*. *ours*: what it was to hold then. *owner*: of the field. *taken*: it goes before what the orders
    say."""

    line: str
    field: str
    value: str
    at: datetime
    event_id: str
    ours: str | None
    owner: Owner
    taken: bool


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TakenPerson:
    """What a contact here is to say from now on; None: as before. It was so at the directory at *at*. *always*: also
    where an order is newer than that."""

    contact: UUID
    at: datetime
    name: str | None = None
    email: str | None = None
    language: str | None = None
    always: bool = False


# A row that arrives late changes nothing. Of two events of one moment the ids decide, so the order of arrival does not.
_STORE: Final = """
INSERT INTO told_fields AS t (line, field, value, told_at, event_id, ours, owner, taken)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[],
                     $8::boolean[])
ON CONFLICT (line, field) DO UPDATE SET value = excluded.value, told_at = excluded.told_at,
  event_id = excluded.event_id, ours = excluded.ours, owner = excluded.owner, taken = excluded.taken
WHERE (t.told_at, t.event_id COLLATE "C") < (excluded.told_at, excluded.event_id COLLATE "C")
"""

_TAKE: Final = """
UPDATE contacts c SET
  name = COALESCE(given.name, c.name),
  words = CASE WHEN given.name IS NULL THEN c.words ELSE array_to_tsvector(string_to_array(given.words, ' ')) END,
  email = COALESCE(given.email, c.email), language = COALESCE(given.language, c.language), updated_at = now()
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::boolean[])
  AS given (id, name, words, email, language, at, always)
WHERE c.id = ANY ($1::uuid[]) AND c.id = given.id
  AND (given.always OR c.newest_order_at IS NULL OR c.newest_order_at < given.at)
"""

_CALL: Final = """
UPDATE contacts c SET name = given.name, words = array_to_tsvector(string_to_array(given.words, ' ')),
  updated_at = now()
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS given (id, name, words)
WHERE c.id = ANY ($1::uuid[]) AND c.id = given.id AND c.name IS NULL
"""

# The phone under which the directory's contact was synced, else the only one that the person has: an id that several
# lines share is nobody's. Each look is in a LATERAL part with a LIMIT, so that a plan made for small tables does not
# read large ones.
_PHONES: Final = f"""
SELECT given.cgb_id, COALESCE(phone.synced, CASE WHEN phone.n = 1 THEN phone.first END)
FROM unnest($1::text[]) WITH ORDINALITY AS given (cgb_id, place)
LEFT JOIN LATERAL (
  SELECT contact_id FROM contact_identities WHERE kind = 'cgb' AND value = given.cgb_id LIMIT 1
) i ON true
LEFT JOIN LATERAL (
  SELECT (array_agg(p.value ORDER BY p.id) FILTER (WHERE p.cgb_contact_id = given.cgb_id))[1] AS synced,
    count(*) AS n, min(p.value) AS first
  FROM (
    SELECT kind, value, cgb_contact_id, id FROM contact_identities WHERE contact_id = i.contact_id LIMIT {MOST_OF_ONE}
  ) p WHERE p.kind = 'phone'
) phone ON true
ORDER BY given.place
"""  # noqa: S608 - constants only


async def store(conn: Connection, rows: Sequence[ToldRow]) -> None:
    """Keep what was told, of each field the newest. Call it after contacts and identities were locked."""
    newest: dict[tuple[str, str], ToldRow] = {}
    for row in rows:
        known = newest.get((row.line, row.field))
        if known is None or (known.at, known.event_id) < (row.at, row.event_id):
            newest[row.line, row.field] = row
    if newest:
        columns = [
            (r.line, r.field, r.value, r.at, r.event_id, r.ours, r.owner, r.taken) for _, r in sorted(newest.items())
        ]
        await conn.execute(_STORE, *map(list, zip(*columns, strict=True)))


async def take(conn: Connection, people: Sequence[TakenPerson]) -> None:
    """Let the contacts say what was taken. Call it after they were locked."""
    for person in sorted(people, key=lambda one: one.at):
        row = (person.contact, person.name, " ".join(words_of(person.name)), person.email, person.language)
        await conn.execute(_TAKE, *([value] for value in (*row, person.at, person.always)))


async def call(conn: Connection, names: Mapping[UUID, str]) -> None:
    """Give contacts without a name these ones. Call it after they were locked."""
    if names:
        words = [" ".join(words_of(name)) for name in names.values()]
        await conn.execute(_CALL, list(names), list(names.values()), words)


async def phones_of(conn: Connection | Pool, cgb_ids: Sequence[str]) -> list[str | None]:
    """The phone (E.164) of the person whom each of these contacts of CGB is, where it is known here."""
    rows = await conn.fetch(_PHONES, cgb_ids)
    return [phone for _, phone in rows]
