"""Who a person is in the firm's own system: `whatsapp_user_mapping`, and the users' buckets.

A person is found by Chatwoot's contact, by the phone in any notation that has its country code, and by whatever else is
known of the same person in `contact_identities`. A contact goes before a phone, what is verified before what is not,
and the older mapping before the newer one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from adapters.postgres.pool import Connection, Pool
from schemas.phone import aliases, line

_FIND: Final = """
SELECT DISTINCT ON (place) place, user_id
FROM (
  SELECT r.place, m.user_id, m.is_verified, m.id, 0 AS rank
  FROM unnest($1::int[], $2::text[], $3::text[]) AS r (place, account, contact)
  CROSS JOIN LATERAL (
    SELECT user_id, is_verified, id FROM whatsapp_user_mapping
    WHERE chatwoot_contact_id = r.contact AND chatwoot_account_id = r.account LIMIT 1) AS m
  UNION ALL
  SELECT r.place, m.user_id, m.is_verified, m.id, 1
  FROM unnest($4::int[], $5::text[]) AS r (place, digits)
  CROSS JOIN LATERAL (
    SELECT user_id, is_verified, id FROM whatsapp_user_mapping WHERE digits = r.digits
    ORDER BY is_verified DESC, id LIMIT 1) AS m
) AS found
ORDER BY place, rank, is_verified DESC, id
"""
_SAME_PERSON: Final = """
SELECT r.place, i.kind, i.value
FROM unnest($1::int[], $2::text[], $3::text[]) AS r (place, kind, value)
CROSS JOIN LATERAL (
  SELECT contact_id FROM contact_identities WHERE kind = r.kind AND value = r.value LIMIT 1) AS known
CROSS JOIN LATERAL (
  SELECT kind, value FROM contact_identities
  WHERE contact_id = known.contact_id AND kind IN ('phone', 'chatwoot') ORDER BY id LIMIT 100) AS i
"""
_BUCKETS: Final = "SELECT user_id, bucket_name FROM user_bucket_mapping WHERE user_id = ANY($1)"
_HAVE_BUCKETS: Final = """
INSERT INTO user_bucket_mapping (user_id, bucket_name)
SELECT * FROM unnest($1::text[], $2::text[]) ORDER BY 1 ON CONFLICT (user_id) DO NOTHING
"""
_USER_OF_BUCKET: Final = "SELECT user_id FROM user_bucket_mapping WHERE bucket_name = $1"
_UNAPPLIED: Final = """
SELECT id, user_id, digits, chatwoot_contact_id, chatwoot_account_id FROM whatsapp_user_mapping
WHERE applied_at IS NULL OR applied_at < now() - make_interval(mins => $1)
ORDER BY applied_at NULLS FIRST LIMIT $2
"""
_ONE_MAPPING: Final = """
SELECT id, user_id, digits, chatwoot_contact_id, chatwoot_account_id FROM whatsapp_user_mapping WHERE id = $1
"""
_APPLIED: Final = "UPDATE whatsapp_user_mapping SET applied_at = now() WHERE id = ANY($1)"
_UNMAPPED: Final = """
SELECT id, chatwoot_account_id, chatwoot_contact_id, line FROM meeting_notes
WHERE user_id IS NULL AND line = ANY($1)
UNION
SELECT n.* FROM unnest($2::text[], $3::text[]) AS r (account, contact)
CROSS JOIN LATERAL (
  SELECT id, chatwoot_account_id, chatwoot_contact_id, line FROM meeting_notes
  WHERE user_id IS NULL AND chatwoot_account_id = r.account AND chatwoot_contact_id = r.contact LIMIT $4) AS n
LIMIT $4
"""
_LOCK_UNMAPPED: Final = """
SELECT id FROM meeting_notes WHERE id = ANY($1::uuid[]) AND user_id IS NULL ORDER BY id FOR NO KEY UPDATE
"""
_ASSIGN: Final = """
UPDATE meeting_notes SET user_id = ($2::text[])[array_position($1::uuid[], id)]
WHERE id = ANY($1::uuid[])
"""
_ASSIGN_AUDIO: Final = """
UPDATE audio_files AS a SET user_id = n.user_id FROM meeting_notes AS n
WHERE a.meeting_note_id = n.id AND n.id = ANY($1) AND a.user_id IS DISTINCT FROM n.user_id
"""


class Who(NamedTuple):
    """What is known of a person. *phones*: E.164, or lines. *contacts*: Chatwoot's (account, contact)."""

    phones: tuple[str, ...] = ()
    contacts: tuple[tuple[str, str], ...] = ()


class Named(NamedTuple):
    """A row of `whatsapp_user_mapping`. *digits*: of its number."""

    id: int
    user: str
    digits: str | None
    contact: str | None
    account: str | None

    @property
    def who(self) -> Who:
        """The person that it names."""
        known = self.contact is not None and self.account is not None
        return Who(
            (line(f"+{self.digits}"),) if self.digits else (),
            ((self.account or "", self.contact or ""),) if known else (),
        )


class Unmapped(NamedTuple):
    """A note of nobody known."""

    id: UUID
    who: Who


async def find(pool: Pool, people: Sequence[Who]) -> list[str | None]:
    """The user that each of *people* is; None where no mapping names one."""
    found = await _find(pool, dict(enumerate(people)))
    left = {place: who for place, who in enumerate(people) if place not in found}
    if left:
        found |= await _find(pool, await _widened(pool, left))
    return [found.get(place) for place in range(len(people))]


async def _find(pool: Pool, people: Mapping[int, Who]) -> dict[int, str]:
    contacts = [(place, *contact) for place, who in people.items() for contact in who.contacts]
    digits = [(place, text) for place, who in people.items() for text in digits_of(who.phones)]
    if not contacts and not digits:
        return {}
    rows = await pool.fetch(_FIND, *_columns(contacts, 3), *_columns(digits, 2))
    return {row["place"]: row["user_id"] for row in rows}


async def _widened(pool: Pool, people: Mapping[int, Who]) -> dict[int, Who]:
    """*people* with what else is known of each: those of whom nothing else is known are left out."""
    asked = [(place, "phone", phone) for place, who in people.items() for one in who.phones for phone in aliases(one)]
    asked += [(place, "chatwoot", ":".join(one)) for place, who in people.items() for one in who.contacts]
    more: dict[int, Who] = {}
    for place, kind, value in await pool.fetch(_SAME_PERSON, *_columns(asked, 3)) if asked else ():
        who = more.get(place, Who())
        if kind == "phone":
            more[place] = who._replace(phones=(*who.phones, value))
        else:
            account, _, contact = value.partition(":")
            more[place] = who._replace(contacts=(*who.contacts, (account, contact)))
    return {place: who for place, who in more.items() if who != people[place]}


def digits_of(phones: Iterable[str]) -> list[str]:
    """How the numbers of *phones* are written in a mapping, whatever else stands between the digits."""
    return list(dict.fromkeys(alias[1:] for phone in phones for alias in aliases(phone)))


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


async def buckets(pool: Pool, users: Sequence[str]) -> dict[str, str]:
    """User -> bucket, of those that have one. *users*: names that stand for users among them."""
    return {row["user_id"]: row["bucket_name"] for row in await pool.fetch(_BUCKETS, list(users))}


async def have_buckets(conn: Connection | Pool, named: Mapping[str, str]) -> None:
    """Keep which bucket is whose; one that is known already stays."""
    if named:
        await conn.execute(_HAVE_BUCKETS, list(named), list(named.values()))


async def user_of_bucket(pool: Pool, bucket: str) -> str | None:
    """Whose *bucket* is; None: nobody's."""
    found: str | None = await pool.fetchval(_USER_OF_BUCKET, bucket)
    return found


async def unapplied(pool: Pool, minutes: int, most: int) -> list[Named]:
    """Mappings whose notes were not looked for within *minutes*, new and changed ones first."""
    return [Named(*row) for row in await pool.fetch(_UNAPPLIED, minutes, most)]


async def mapping(pool: Pool, id: int) -> list[Named]:
    """That mapping, where it is there."""
    return [Named(*row) for row in await pool.fetch(_ONE_MAPPING, id)]


async def applied(pool: Pool, mappings: Sequence[Named]) -> None:
    """Their notes were looked for."""
    await pool.execute(_APPLIED, [one.id for one in mappings])


async def same_person(pool: Pool, who: Who) -> Who:
    """*who*, with whatever else is known of the same person."""
    more = (await _widened(pool, {0: who})).get(0, Who())
    return Who((*who.phones, *more.phones), (*who.contacts, *more.contacts))


async def unmapped(pool: Pool, who: Who, most: int) -> list[Unmapped]:
    """Notes of this person that have no user yet."""
    lines = list({line(phone) for phone in who.phones})
    rows = await pool.fetch(_UNMAPPED, lines, *_columns(who.contacts, 2), most)
    return [
        Unmapped(
            row["id"],
            Who(
                () if row["line"] is None else (row["line"],),
                ((row["chatwoot_account_id"], row["chatwoot_contact_id"]),) if row["chatwoot_contact_id"] else (),
            ),
        )
        for row in rows
    ]


async def assign(conn: Connection, users: Mapping[UUID, str]) -> list[UUID]:
    """Give notes without a user theirs. Returns those that had none. Locks as `adapters.postgres.notes` tells."""
    assigned = [row["id"] for row in await conn.fetch(_LOCK_UNMAPPED, list(users))]
    await conn.execute(_ASSIGN, assigned, [users[id] for id in assigned])
    await conn.execute(_ASSIGN_AUDIO, assigned)
    return assigned
