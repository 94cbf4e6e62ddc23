"""People as an operator finds them: one contact each, with its identities, its orders, what each system knows of it,
what CGB has told of it, the records about it, what waits, and the merges of its past; and the fields of which CGB's
word was not taken."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from adapters.postgres import merges
from adapters.postgres.operator import orders, people
from adapters.postgres.operator.people import Conflict, FoundContact, PastMerge, StoredContact
from adapters.postgres.operator.trail import EventFilter
from adapters.postgres.pool import Pool
from adapters.postgres.records import people as record_people
from adapters.postgres.records.people import PersonRecord
from daemon.operator.keys import phones_meant
from daemon.operator.naming import LEAST, SeveralFit
from daemon.operator.standing import order_document
from daemon.operator.trail import list_events
from daemon.operator.why import why_open
from daemon.workers import WORKERS
from schemas.errors import FerrymanError
from schemas.identity import Identity, IdentityKind, email_identity
from schemas.names import words_of
from schemas.phone import aliases, line

MOST: Final = 200
"""Contacts that a name is compared with, and orders, records and events that are shown of a person, at most."""

THERE_ONCE: Final = "a contact is there once an order of the person is synced, or a flow of CGB or a report tells of it"

KINDS: Final = tuple(kind.value for kind in IdentityKind)

_BEGINNING: Final = re.compile(rf"[0-9a-f][0-9a-f-]{{{LEAST - 1},35}}")


class NoSuchContact(FerrymanError):
    """No contact has the name that was given."""


class Named(NamedTuple):
    """The contact *id* that a name means. *asked*: the contact that has this name, where that was merged into it.
    *by*: what the name is: id, order, name, or the kind of an identity."""

    id: UUID
    asked: UUID | None
    by: str


async def find(pool: Pool, text: str, limit: int) -> list[dict[str, Any]]:
    """The people whom *text* may mean as JSON, those with the newest orders first. What it names exactly counts before
    names of people, of which it may be the beginnings of words."""
    named = {one.id: one for one in await _named(pool, text, limit)}
    return [_document(contact, named[contact.id]) for contact in await people.listed(pool, named)]


async def the_contact(pool: Pool, text: str) -> Named:
    """The one contact that *text* means. Raises: NoSuchContact; SeveralFit."""
    named = {one.id: one for one in await _named(pool, text, MOST)}
    if not named:
        raise NoSuchContact(await _why_none(pool, text))
    if len(named) > 1:
        raise SeveralFit([line_of(contact) for contact in await people.listed(pool, named)])
    return next(iter(named.values()))


async def show(pool: Pool, text: str) -> dict[str, Any]:
    """The person whom *text* means as JSON. Raises: NoSuchContact; SeveralFit."""
    named = await the_contact(pool, text)
    stored = await the_stored(pool, named.id)
    found = stored.found
    notations = sorted({notation for phone in found.phones for notation in aliases(phone)})
    lines = sorted({line(phone) for phone in found.phones})
    made = await orders.of_person(pool, found.id, notations, MOST)
    return {
        **_document(found, named),
        "language": stored.language,
        "created_at": stored.created_at,
        "updated_at": stored.updated_at,
        "identities": [asdict(one) for one in await people.identities(pool, found.id)],
        "orders": [order_document(order) for order in made],
        "told": [asdict(one) for one in await people.told(pool, lines)],
        "records": [_record_document(one) for one in await record_people.of_person(pool, lines, MOST)],
        "open": await _open(pool, lines),
        "merges": [_merge_document(one) for one in await people.merges(pool, found.id)],
        "apart_from": [str(other) for other in stored.apart_from],
    }


async def conflicts(pool: Pool, since: datetime | None, limit: int) -> list[dict[str, Any]]:
    """The fields of which CGB's word was not taken as JSON, newest first, without the values. *since*: told since
    then."""
    return [_conflict_document(one) for one in await people.conflicts(pool, since, limit)]


async def the_stored(pool: Pool, contact: UUID) -> StoredContact:
    """The contact with this id. Raises: NoSuchContact where it has gone meanwhile."""
    stored = await people.find(pool, contact)
    if stored is None:
        raise NoSuchContact(f"the contact {contact} has gone meanwhile")
    return stored


def line_of(contact: FoundContact) -> str:
    """A contact in one line, which begins with its id."""
    return "  ".join([str(contact.id), contact.name or "(no name)", *contact.phones, contact.newest_order_id or ""])


async def _named(pool: Pool, text: str, limit: int) -> list[Named]:
    """The people whom *text* names, at most *limit*."""
    wanted = text.strip()
    found = await _exact(pool, wanted, limit)
    if not found and (words := words_of(wanted)):
        found = dict.fromkeys(await people.by_words(pool, words, limit), "name")
    stands_for = await merges.standing(pool, found)
    named: dict[UUID, Named] = {}
    for asked, by in found.items():
        if (stands := stands_for.get(asked)) is not None:
            named.setdefault(stands, Named(stands, None if asked == stands else asked, by))
    return list(named.values())[:limit]


async def _exact(pool: Pool, text: str, limit: int) -> dict[UUID, str]:
    """Contact -> what *text* is of it."""
    found: dict[UUID, str] = {}
    beginning = text.lower().replace("-", "")
    if _BEGINNING.fullmatch(text.lower()) and LEAST <= len(beginning) <= 32:
        found |= dict.fromkeys(await people.by_id(pool, beginning, limit), "id")
    if (contact := await people.by_order(pool, text)) is not None:
        found.setdefault(contact, "order")
    identities = _identities(text)
    emails = [one.value for one in identities if one.kind is IdentityKind.EMAIL]
    found = dict(await people.by_identity(pool, identities)) | found
    for email in emails:
        found = dict.fromkeys(await people.by_email(pool, email, limit), "email") | found
    return found


def _identities(text: str) -> list[Identity]:
    """The identities that *text* may be: as they are stored, or as `kind:value`."""
    kind, _, value = text.partition(":")
    if kind in KINDS and value:
        return [Identity(IdentityKind(kind), value)]
    found = [email_identity(text)]
    for phone in phones_meant(text):
        found += [Identity(IdentityKind.PHONE, phone), Identity(IdentityKind.WA_ID, phone[1:])]
    systems = (IdentityKind.WA_ID, IdentityKind.BSUID, IdentityKind.CHATWOOT, IdentityKind.CGB)
    return [*found, *(Identity(system, text) for system in systems)]


async def _why_none(pool: Pool, text: str) -> str:
    wanted = text.strip()
    if await orders.find(pool, wanted) is not None:
        return f"the order {wanted} has no contact yet: see `ferryman orders show {wanted}`"
    return f"no contact has this phone, address, id, order or name: {THERE_ONCE}; see `ferryman orders list`"


async def _open(pool: Pool, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The events of *keys* that a worker has not ended with, each with the reason by worker."""
    found = [
        event for key in keys for event in await list_events(pool, WORKERS, EventFilter(key=key, outcome="open"), MOST)
    ]
    return await why_open(pool, WORKERS, found[:MOST])


def _document(contact: FoundContact, named: Named) -> dict[str, Any]:
    """As JSON. *merged_id*: the contact that was asked for, where it was merged into this one."""
    merged = None if named.asked is None else str(named.asked)
    return {**asdict(contact), "id": str(contact.id), "found_by": named.by, "merged_id": merged}


def _record_document(one: PersonRecord) -> dict[str, Any]:
    """What a record is, without what it says: its values are its owner's."""
    document = asdict(one)
    return {"model": document.pop("model"), "id": document.pop("record_id"), **document}


def _merge_document(past: PastMerge) -> dict[str, Any]:
    return asdict(past) | {"stays": str(past.stays), "merged": str(past.merged)}


def _conflict_document(one: Conflict) -> dict[str, Any]:
    return asdict(one) | {"contact_id": None if one.contact_id is None else str(one.contact_id)}
