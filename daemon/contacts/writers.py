"""Who has written a message, or was entered in the CRM: the identities that show it, and the name. Values in, values
out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.cleaned import NAME_LENGTH, cut, visible
from schemas.contact_changes import ContactChange
from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.identity import Identity, IdentityKind, email_identity
from schemas.told import came_by_whatsapp, is_test_contact, phone_told, told_in

NO_MESSAGES: Final = frozenset({"system", "user_preferences"})
"""Kinds that WhatsApp itself tells of a person. After a change of number, such a one is of the old number."""

KINDS: Final[Mapping[str, IdentityKind]] = {"cgb": IdentityKind.CGB, "chatwoot": IdentityKind.CHATWOOT}
"""Which identity a system's id of a contact is, where it is none of WhatsApp's own."""

CRM: Final = "chatwoot"

LONGEST_WA_ID: Final = 20


@dataclass(frozen=True, slots=True, repr=False)
class Wrote:
    """A person has written by *system*, or is known there. *name*: what they call themselves there."""

    system: str
    identities: Sequence[Identity]
    name: str | None


def wrote(event: Event) -> Wrote | None:
    """What a `message.received` shows of its writer; None: it shows nobody, or was not understood, which the worker
    outbound-messaging tells. Raises: Malformed."""
    data = event.json()
    if isinstance(data, dict) and "odd" in data:
        return None
    told = told_in(event)
    system, contact_id = told.get("system"), told.get("contact_id")
    if not isinstance(system, str) or told.get("kind") in NO_MESSAGES or is_test_contact(contact_id):
        return None
    identities = _identities(told, system, contact_id)
    name = told.get("name")
    called = cut(visible(name).strip(), NAME_LENGTH) if isinstance(name, str) else ""
    return Wrote(system, identities, called or None) if identities else None


def entered(change: ContactChange) -> Wrote:
    """Who the CRM's contact of *change* is, by its own id, the phone and the address that it holds."""
    identities = [Identity(IdentityKind.CHATWOOT, change.contact_id)]
    if change.phone is not None:
        identities.append(Identity(IdentityKind.PHONE, change.phone.e164))
    if email := change.fields.get("Email"):
        identities.append(email_identity(email))
    called = cut(visible(change.fields.get("customer_name", "")).strip(), NAME_LENGTH)
    return Wrote(change.system, identities, called or None)


def _identities(told: Mapping[str, Any], system: str, contact_id: object) -> Sequence[Identity]:
    """Raises: Malformed."""
    found = []
    if (phone := phone_told(dict(told))) is not None:
        found.append(Identity(IdentityKind.PHONE, phone.e164))
    if not isinstance(contact_id, str):
        raise Malformed("the event's contact_id is not text")
    if system in KINDS:
        found.append(Identity(KINDS[system], contact_id))
    if not came_by_whatsapp(dict(told)):
        return found
    if system not in KINDS and contact_id.isascii() and contact_id.isdigit() and len(contact_id) <= LONGEST_WA_ID:
        found.append(Identity(IdentityKind.WA_ID, contact_id))
    if isinstance(bsuid := told.get("bsuid"), str) and bsuid:
        found.append(Identity(IdentityKind.BSUID, bsuid))
    return found
