"""Who is who: the one place that finds or makes the contact of identities that were seen together.

Orders, and every other source, tell what they have seen as a `Met`. The notations of one phone line are one identity,
and each stays as it was written. Contacts whose identities turn out to be one person's are merged (`merges`). A contact
that has a phone gets another line by such a merge alone, so that this can be undone.

Several processes may meet the same person at the same time. Locks are taken in one order everywhere: phone lines,
contacts by id, identities, and then rows of other tables. A process whose picture was overtaken lets go of its contacts
and looks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias
from uuid import UUID, uuid4

import structlog

from adapters.postgres import merges
from adapters.postgres.audit_log import DAEMON
from adapters.postgres.pool import Connection
from schemas.identity import PROOFS, Identity, IdentityKind
from schemas.phone import aliases, line

log = structlog.get_logger(__name__)

LONGEST_VALUE: Final = 320
"""Characters of an identity. Identities are indexed, and mail allows no longer address."""

MOST_PHONES: Final = 10
"""Phones of one contact. A system that gives one id to many people must not make them one."""

_FIND: Final = """
SELECT given.kind, given.value, i.contact_id
FROM unnest($1::text[], $2::text[]) AS given (kind, value)
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
SELECT id, created_at, merged_into, apart_from,
  (SELECT count(*) FILTER (WHERE kind = 'phone') FROM contact_identities i WHERE i.contact_id = c.id) AS phones
FROM contacts c WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
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


_Owners: TypeAlias = dict[Identity, UUID]
_Proofs: TypeAlias = Sequence[Sequence[Identity]]
"""The proofs of each group, the strongest first."""


@dataclass(slots=True)
class _Person:
    """The *groups* (by their places) that are one person's, what ties them, and the contacts of their identities."""

    groups: list[int]
    contacts: set[UUID]
    ties: set[Identity | UUID]


class _Overtaken(Exception):
    """Another process has changed what we saw before we had locked it."""


async def meet(conn: Connection, groups: Sequence[Met]) -> list[UUID | None]:
    """The contact of each of *groups*; a missing one is made. Call it inside a transaction, before a row of another
    table is locked.

    Identities that are new are added to the contact. Contacts that share a group are merged: the oldest stays, and the
    audit log can undo it. Not merged are those that an operator took apart, and those with over MOST_PHONES phones
    together. None: a group without a proof (`PROOFS`), or of a person who has no contact and gets none. E-mails are
    added to the contact of the proofs.
    """
    proofs = [_proofs(group) for group in groups]
    every = sorted({notation for group in proofs for identity in group for notation in _notations(identity)})
    owners = await _find(conn, every)
    if lines := _unknown_lines(proofs, owners):
        await conn.execute(_LOCK_LINES, lines)
        owners = await _find(conn, every)
    while True:
        try:
            async with conn.transaction():  # a savepoint: what is locked in it is let go of with it
                return await _settled(conn, groups, proofs, owners)
        except _Overtaken:
            owners = await _find_standing(conn, every)


def _proofs(group: Met) -> list[Identity]:
    usable = [i for i in group.identities if i.kind in PROOFS and _fits(i)]
    return sorted(dict.fromkeys(usable), key=lambda identity: PROOFS.index(identity.kind))


def _fits(identity: Identity) -> bool:
    return 0 < len(identity.value) <= LONGEST_VALUE


def _notations(identity: Identity) -> list[Identity]:
    """*identity* and what else it may be written as."""
    if identity.kind is not IdentityKind.PHONE:
        return [identity]
    return [Identity(identity.kind, notation) for notation in aliases(identity.value)]


def _one(identity: Identity) -> Identity:
    """What stands for all notations of *identity*."""
    return Identity(identity.kind, line(identity.value)) if identity.kind is IdentityKind.PHONE else identity


def _unknown_lines(proofs: _Proofs, owners: _Owners) -> list[str]:
    """The lines with several notations that a notation is to be added to."""
    new = {i for group in proofs for i in group if i not in owners and len(_notations(i)) > 1}
    return sorted({line(phone.value) for phone in new})


async def _find(conn: Connection, identities: Sequence[Identity]) -> _Owners:
    rows = await conn.fetch(_FIND, [i.kind.value for i in identities], [i.value for i in identities])
    return {Identity(IdentityKind(kind), value): contact for kind, value, contact in rows}


async def _find_standing(conn: Connection, identities: Sequence[Identity]) -> _Owners:
    """As `_find`, with the contact that stands for its person: a process of an older version may have left an identity
    with a contact that was merged meanwhile."""
    owners = await _find(conn, identities)
    stands_for = await merges.standing(conn, set(owners.values()))
    return {identity: stands_for[contact] for identity, contact in owners.items() if contact in stands_for}


def _owner(identity: Identity, owners: _Owners) -> UUID | None:
    """The contact of *identity*, or else of another notation of it."""
    return next((owners[notation] for notation in _notations(identity) if notation in owners), None)


async def _settled(conn: Connection, groups: Sequence[Met], proofs: _Proofs, owners: _Owners) -> list[UUID | None]:
    """The contacts of *groups*, where identities belong to *owners*. Raises: _Overtaken."""
    people = [
        person
        for person in _people(proofs, owners)
        if person.contacts or any(groups[place].makes for place in person.groups)
    ]
    locked = await _lock(conn, {contact for person in people for contact in person.contacts})
    with_new = dict(owners)
    for person in people:
        for identity in _first_of_their_contacts(person, proofs, owners, locked):
            made = _Contact(uuid4())
            with_new[identity] = made.id
            locked[made.id] = made
            person.contacts.add(made.id)
    if new := [id for id, contact in locked.items() if contact.created_at == _NOW]:
        await conn.execute(_MAKE, new)
    chosen = {
        place: next((c for i in proofs[place] if (c := _owner(i, with_new))), None) or min(person.contacts)
        for person in people
        for place in person.groups
    }
    await _add(conn, proofs, owners, with_new, chosen)
    await _add_mails(conn, groups, chosen)
    stands_for: dict[UUID, UUID] = {}
    for person in people:
        stands_for |= await _merged(conn, [locked[id] for id in person.contacts], groups[person.groups[0]].source)
    return [stands_for[chosen[place]] if place in chosen else None for place in range(len(groups))]


def _people(proofs: _Proofs, owners: _Owners) -> list[_Person]:
    """The people that groups with *proofs* are: those that share an identity, or a contact, are one person's."""
    person_of: dict[Identity | UUID, _Person] = {}
    for place, group in enumerate(proofs):
        if not group:
            continue
        contacts = {owners[notation] for identity in group for notation in _notations(identity) if notation in owners}
        joined = _Person([place], contacts, {*map(_one, group), *contacts})
        for other in {id(person): person for tie in joined.ties if (person := person_of.get(tie))}.values():
            joined.groups += other.groups
            joined.contacts |= other.contacts
            joined.ties |= other.ties
        person_of |= dict.fromkeys(joined.ties, joined)
    return list({id(person): person for person in person_of.values()}.values())


def _first_of_their_contacts(
    person: _Person, proofs: _Proofs, owners: _Owners, locked: Mapping[UUID, _Contact]
) -> Iterator[Identity]:
    """The identities of *person* that get a contact of their own: the strongest one where there is none yet, and a
    phone that joins a person who has another one."""
    identities = [identity for place in person.groups for identity in proofs[place]]
    if not person.contacts:
        yield min(identities, key=lambda identity: (PROOFS.index(identity.kind), identity.value))
    elif any(locked[contact].phones for contact in person.contacts):
        new = {_one(i): i for i in identities if i.kind is IdentityKind.PHONE and _owner(i, owners) is None}
        yield from new.values()


async def _lock(conn: Connection, contacts: Iterable[UUID]) -> dict[UUID, _Contact]:
    """Lock *contacts*. Raises: _Overtaken where one of them has been merged or is gone."""
    wanted = sorted(contacts)
    rows = await conn.fetch(_LOCK_CONTACTS, wanted) if wanted else []
    if len(rows) < len(wanted) or any(row["merged_into"] for row in rows):
        raise _Overtaken
    return {
        row["id"]: _Contact(row["id"], row["created_at"], frozenset(row["apart_from"]), row["phones"]) for row in rows
    }


async def _add(
    conn: Connection, proofs: _Proofs, owners: _Owners, with_new: _Owners, chosen: Mapping[int, UUID]
) -> None:
    """Add the proofs that are new: to the contact of another notation of it, else to that of its group. Raises:
    _Overtaken where another process has added one."""
    new = {i: _owner(i, with_new) or contact for at, contact in chosen.items() for i in proofs[at] if i not in owners}
    if new:
        kinds, values = [identity.kind.value for identity in new], [identity.value for identity in new]
        done = await conn.execute(_ADD, list(new.values()), kinds, values)
        if done != f"INSERT 0 {len(new)}":
            raise _Overtaken


async def _add_mails(conn: Connection, groups: Sequence[Met], chosen: Mapping[int, UUID]) -> None:
    mails = {
        (contact, identity.value): None
        for place, contact in chosen.items()
        for identity in groups[place].identities
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
