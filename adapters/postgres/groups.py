"""Groups of identities that were seen together, and the people that they are: values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Final, TypeAlias
from uuid import UUID

from schemas.identity import PROOFS, Identity, IdentityKind
from schemas.phone import aliases, line

_STRENGTH: Final = {kind: place for place, kind in enumerate(PROOFS)}

Owners: TypeAlias = Mapping[Identity, UUID]
"""Identities that are known, and the contact of each."""


@dataclass(frozen=True, slots=True, repr=False)
class Group:
    """*proofs* that are one person's, the strongest first, and all *notations* of them."""

    proofs: Sequence[Identity]
    notations: Sequence[Identity]

    def contacts(self, owners: Owners) -> set[UUID]:
        """The contacts that have one of them."""
        return {owners[notation] for notation in self.notations if notation in owners}

    def sole(self, owners: Owners) -> UUID | None:
        """The contact that has all proofs already, where no other contact has a notation of them."""
        if not all(identity in owners for identity in self.proofs):
            return None
        contacts = self.contacts(owners)
        return contacts.pop() if len(contacts) == 1 else None


Groups: TypeAlias = Mapping[int, Group]
"""Groups by their places."""


@dataclass(slots=True)
class Person:
    """The *groups* (by their places) that are one person's, what ties them, and the contacts of their identities."""

    groups: list[int]
    contacts: set[UUID]
    ties: set[Identity | UUID]


def group_of(identities: Iterable[Identity]) -> Group:
    """The group of those of *identities* that are proofs."""
    proofs = sorted(dict.fromkeys(i for i in identities if i.kind in _STRENGTH), key=_strength)
    return Group(proofs, [notation for identity in proofs for notation in _notations(identity)])


def every(identities: Iterable[Identity]) -> list[Identity]:
    """All notations of *identities*, each once."""
    return list(dict.fromkeys(chain.from_iterable(map(_notations, identities))))


def owner(identity: Identity, owners: Owners) -> UUID | None:
    """The contact of *identity*, or else of another notation of it."""
    found = map(owners.get, _notations(identity))
    return next(filter(None, found), None)


def unknown_lines(groups: Iterable[Group], owners: Owners) -> list[str]:
    """The lines with several notations that a notation is to be added to."""
    new = {i for group in groups for i in group.proofs if i not in owners and len(_notations(i)) > 1}
    return sorted({line(phone.value) for phone in new})


def people_of(groups: Groups, owners: Owners) -> list[Person]:
    """The people that *groups* are: those that share an identity, or a contact, are one person's."""
    person_of: dict[Identity | UUID, Person] = {}
    for place, group in groups.items():
        contacts = group.contacts(owners)
        joined = Person([place], contacts, {*group.notations, *contacts})
        for other in {id(person): person for tie in joined.ties if (person := person_of.get(tie))}.values():
            joined.groups += other.groups
            joined.contacts |= other.contacts
            joined.ties |= other.ties
        person_of |= dict.fromkeys(joined.ties, joined)
    return list({id(person): person for person in person_of.values()}.values())


def first_of_their_contacts(
    person: Person, groups: Groups, owners: Owners, phones: Mapping[UUID, int]
) -> Iterable[Identity]:
    """The identities of *person* that get a contact of their own: the strongest one where there is none yet, and a
    phone that joins a person who has another one. *phones*: how many each contact has."""
    identities = chain.from_iterable(groups[place].proofs for place in person.groups)
    if not person.contacts:
        return [min(identities, key=lambda identity: (_strength(identity), identity.value))]
    if not any(phones[contact] for contact in person.contacts):
        return []
    new = (i for i in identities if i.kind is IdentityKind.PHONE and owner(i, owners) is None)
    return {line(phone.value): phone for phone in new}.values()


def _strength(identity: Identity) -> int:
    """Sorts proofs: the strongest first."""
    return _STRENGTH[identity.kind]


@lru_cache(maxsize=4096)  # they are asked for several times within a batch
def _notations(identity: Identity) -> tuple[Identity, ...]:
    """*identity* and what else it may be written as."""
    if identity.kind is not IdentityKind.PHONE:
        return (identity,)
    return identity, *(Identity(identity.kind, notation) for notation in aliases(identity.value)[1:])
