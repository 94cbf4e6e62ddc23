"""Who is who: the one place that finds or makes the contact of identities that were seen together.

Orders, and every other source, tell what they have seen as a `Met`. The notations of one phone line are one identity,
and each stays as it was written. Contacts whose identities turn out to be one person's are merged (`merges`). A contact
that has a phone gets another line by such a merge alone, so that this can be undone.

Several processes may meet the same person at the same time. Locks are taken in one order everywhere: phone lines,
contacts by id, identities, and then rows of other tables. A process whose picture was overtaken lets go of its contacts
and looks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Final
from uuid import UUID, uuid4

import structlog

from adapters.postgres import merges
from adapters.postgres.audit_log import DAEMON
from adapters.postgres.groups import (
    Groups,
    Owners,
    every,
    first_of_their_contacts,
    group_of,
    owner,
    people_of,
    unknown_lines,
)
from adapters.postgres.pool import Connection
from schemas.identity import Identity, IdentityKind

log = structlog.get_logger(__name__)

LONGEST_VALUE: Final = 320
"""Characters of an identity. Identities are indexed, and mail allows no longer address."""

MOST_PHONES: Final = 10
"""Phones of one contact. A system that gives one id to many people must not make them one."""

_FIND: Final = """
SELECT given.place, i.contact_id
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS given (kind, value, place)
CROSS JOIN LATERAL (
  SELECT contact_id FROM contact_identities i WHERE i.kind = given.kind AND i.value = given.value LIMIT 1
) i
"""

# The notations of a line are different rows, so nothing else would keep two processes from making a contact each. 2048
# locks stand for all lines: a batch of new people takes no more of them than the server has room for.
_LOCK_LINES: Final = """
WITH wanted AS MATERIALIZED (
  SELECT DISTINCT hashtext(line) & 2047 AS place FROM unnest($1::text[]) AS line ORDER BY 1)
SELECT pg_advisory_xact_lock(hashtext('ferryman.line'), place) FROM wanted
"""

_LOCK_CONTACTS: Final = """
WITH locked AS MATERIALIZED (
  SELECT merged_into, apart_from FROM contacts WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE)
SELECT count(*), bool_or(apart_from <> '{}') FROM locked WHERE merged_into IS NULL
"""

_LOCKED: Final = """
SELECT id, created_at, apart_from,
  (SELECT count(*) FILTER (WHERE kind = 'phone') FROM contact_identities i WHERE i.contact_id = c.id) AS phones
FROM contacts c WHERE id = ANY ($1::uuid[])
"""

_MAKE: Final = "INSERT INTO contacts (id) SELECT unnest($1::uuid[])"

_ADD: Final = """
INSERT INTO contact_identities (contact_id, kind, value)
SELECT contact_id, kind, value FROM unnest($1::uuid[], $2::text[], $3::text[]) AS given (contact_id, kind, value)
ORDER BY kind, value
ON CONFLICT (kind, value) DO NOTHING
"""

_ADD_MAILS: Final = """
INSERT INTO contact_emails (contact_id, email)
SELECT contact_id, email FROM unnest($1::uuid[], $2::text[]) AS given (contact_id, email)
ON CONFLICT (contact_id, email) DO NOTHING
"""

_NOW: Final = datetime.max.replace(tzinfo=UTC)
"""When a contact was made that is being made: after all others."""


@dataclass(frozen=True, slots=True, repr=False)
class Met:
    """Identities that *source* has shown to be one person's. A wa_id or a CGB id that is the digits of a phone comes
    together with that phone. *makes*: whether a person without a contact gets one."""

    identities: Sequence[Identity]
    source: str
    makes: bool = True


@dataclass(frozen=True, slots=True)
class _Contact:
    """A locked contact, or one that is being made. *phones*: how many it has."""

    id: UUID
    created_at: datetime = _NOW
    apart_from: frozenset[UUID] = frozenset()
    phones: int = 1

    @property
    def age(self) -> tuple[datetime, UUID]:
        """Sorts from old to new."""
        return self.created_at, self.id


class _Overtaken(Exception):
    """Another process has changed what we saw before we had locked it."""


async def meet(conn: Connection, seen: Sequence[Met]) -> list[UUID | None]:
    """The contact of each group that was *seen*; a missing one is made. Call it inside a transaction, before a row of
    another table is locked.

    Identities that are new are added to the contact. Contacts that share a group are merged: the oldest stays, and the
    audit log can undo it. Not merged are those that an operator took apart, and those with over MOST_PHONES phones
    together. None: a group without a proof (`PROOFS`), or of a person who has no contact and gets none. E-mails are
    added to the contact of the proofs.
    """
    groups = {
        place: found for place, met in enumerate(seen) if (found := group_of(filter(_fits, met.identities))).proofs
    }
    notations = list(dict.fromkeys(chain.from_iterable(group.notations for group in groups.values())))
    owners = await _find(conn, notations)
    if lines := unknown_lines(groups.values(), owners):
        await conn.execute(_LOCK_LINES, lines)
        owners = await _find(conn, notations)
    while True:
        try:
            async with conn.transaction():  # a savepoint: what is locked in it is let go of with it
                return await _settled(conn, seen, groups, owners)
        except _Overtaken:
            owners = await _find_standing(conn, notations)


def _fits(identity: Identity) -> bool:
    return 0 < len(identity.value) <= LONGEST_VALUE


async def _find(conn: Connection, identities: Sequence[Identity]) -> Owners:
    rows = await conn.fetch(_FIND, [i.kind for i in identities], [i.value for i in identities])
    return {identities[place - 1]: contact for place, contact in rows}


async def _find_standing(conn: Connection, identities: Sequence[Identity]) -> Owners:
    """As `_find`, with the contact that stands for its person: a process of an older version may have left an identity
    with a contact that was merged meanwhile."""
    owners = await _find(conn, identities)
    stands_for = await merges.standing(conn, set(owners.values()))
    return {identity: stands_for[contact] for identity, contact in owners.items() if contact in stands_for}


async def _settled(conn: Connection, seen: Sequence[Met], groups: Groups, owners: Owners) -> list[UUID | None]:
    """The contacts of *groups*, where identities belong to *owners*. Raises: _Overtaken."""
    # Most groups are of one contact that has all of it: nothing is added to it, and nothing merged by it.
    chosen = {place: contact for place, group in groups.items() if (contact := group.sole(owners))}
    others = {place: group for place, group in groups.items() if place not in chosen}
    people = [
        person
        for person in people_of(others, owners)
        if person.contacts or any(seen[place].makes for place in person.groups)
    ]
    joining = {contact for person in people for contact in person.contacts}
    parted = await _lock(conn, joining.union(chosen.values()))  # which may have taken identities away with it
    if parted and await _find_standing(conn, every(owners)) != owners:
        raise _Overtaken
    locked = await _locked(conn, joining)
    phones = {id: contact.phones for id, contact in locked.items()}
    with_new = dict(owners)
    for person in people:
        for identity in first_of_their_contacts(person, others, owners, phones):
            made = _Contact(uuid4())
            with_new[identity] = made.id
            locked[made.id] = made
            person.contacts.add(made.id)
    if new := [id for id, contact in locked.items() if contact.created_at == _NOW]:
        await conn.execute(_MAKE, new)
    for person in people:
        for place in person.groups:
            of_proofs = (contact for i in others[place].proofs if (contact := owner(i, with_new)))
            chosen[place] = next(of_proofs, None) or min(person.contacts)
    joined = {place: group for place, group in others.items() if place in chosen}
    await _add(conn, joined, owners, with_new, chosen)
    await _add_mails(conn, seen, chosen)
    stands_for: dict[UUID, UUID] = {}
    for person in (person for person in people if len(person.contacts) > 1):
        stands_for |= await _merged(conn, [locked[id] for id in person.contacts], seen[person.groups[0]].source)
    return [stands_for.get(contact, contact) if (contact := chosen.get(n)) else None for n in range(len(seen))]


async def _lock(conn: Connection, contacts: Iterable[UUID]) -> bool:
    """Lock *contacts*; returns whether one of them was taken apart from another one, be it before or after its
    identities were found. Raises: _Overtaken where one has been merged or is gone."""
    wanted = sorted(contacts)
    if not wanted:
        return False
    ((standing, parted),) = await conn.fetch(_LOCK_CONTACTS, wanted)
    if standing < len(wanted):
        raise _Overtaken
    return bool(parted)


async def _locked(conn: Connection, contacts: Iterable[UUID]) -> dict[UUID, _Contact]:
    """What is to be known of locked *contacts* that others may join."""
    rows = await conn.fetch(_LOCKED, wanted) if (wanted := list(contacts)) else []
    return {
        row["id"]: _Contact(row["id"], row["created_at"], frozenset(row["apart_from"]), row["phones"]) for row in rows
    }


async def _add(conn: Connection, groups: Groups, owners: Owners, with_new: Owners, chosen: Mapping[int, UUID]) -> None:
    """Add the proofs that are new: to the contact of another notation of it, else to that of its group. Raises:
    _Overtaken where another process has added one."""
    proofs = ((identity, chosen[place]) for place, group in groups.items() for identity in group.proofs)
    new = {i: owner(i, with_new) or contact for i, contact in proofs if i not in owners}
    if new:
        kinds, values = [identity.kind for identity in new], [identity.value for identity in new]
        done = await conn.execute(_ADD, list(new.values()), kinds, values)
        if done != f"INSERT 0 {len(new)}":
            raise _Overtaken


async def _add_mails(conn: Connection, seen: Sequence[Met], chosen: Mapping[int, UUID]) -> None:
    mails = {
        (contact, identity.value): None
        for place, contact in chosen.items()
        for identity in seen[place].identities
        if identity.kind is IdentityKind.EMAIL and _fits(identity)
    }
    if mails:
        await conn.execute(_ADD_MAILS, [contact for contact, _ in mails], [email for _, email in mails])


async def _merged(conn: Connection, contacts: Sequence[_Contact], source: str) -> dict[UUID, UUID]:
    """Make the locked *contacts* one, but for those that must stay apart; returns contact -> what stands for it."""
    staying: list[list[_Contact]] = []
    for contact in sorted(contacts, key=lambda one: one.age):
        into = next((group for group in staying if _may_join(contact, group)), None)
        if into is not None:
            into.append(contact)
            await merges.merge(conn, stays=into[0].id, merged=contact.id, actor=DAEMON, why=source)
            continue
        if staying:
            log.warning("contact.not_merged", contact_id=str(contact.id), other=str(staying[0][0].id), source=source)
        staying.append([contact])
    return {contact.id: group[0].id for group in staying for contact in group}


def _may_join(contact: _Contact, group: Sequence[_Contact]) -> bool:
    apart = any(contact.id in one.apart_from or one.id in contact.apart_from for one in group)
    return not apart and contact.phones + sum(one.phones for one in group) <= MOST_PHONES
