"""The contact of one order in the directory: what it lacks, and the requests that give it that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import structlog

from adapters.postgres.person_orders import PersonOrders
from daemon.contacts.decisions import Create, Plan, Update, decide, differing, emptying
from daemon.contacts.told import Said
from daemon.contacts.wiring import ContactDeps
from schemas.contacts import DirectoryContact, FieldValue
from schemas.errors import Refused, Transient
from schemas.orders import Order
from schemas.phone import Phone

if TYPE_CHECKING:
    from adapters.ports import ContactDirectory

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the lookup found: the memo of step "write". *order*: whose sync it is; None where no order asks. *shown*:
    the order that the contact is to show, None where the person has none. *said* and *fields*: what it is to say and to
    hold; *digest*: of the fields. *stand*: what the tables say of the person."""

    order: Order | None
    shown: Order | None
    phone: Phone
    said: Said
    fields: Mapping[str, FieldValue] | None
    plan: Plan
    digest: bytes | None
    took_s: float
    stand: PersonOrders


async def plan_of(
    deps: ContactDeps,
    phone: Phone,
    stand: PersonOrders,
    said: Said,
    fields: Mapping[str, FieldValue] | None,
    known: frozenset[str] | None,
) -> Plan | None:
    """What the contact of *phone* lacks to say and to hold this; None: it is not there and has nothing to show. The
    contact may be there under any notation of its line, and then it keeps that number. *fields* None: no order is
    left."""
    found = await find(deps, stand.notations)
    if fields is not None:
        return decide(said, phone, found, fields, deps.policy.cgb)
    not_of_orders = deps.policy.cgb | (deps.policy.newest & stand.told.keys())
    return None if found is None else emptying(found, known, not_of_orders)


async def find(deps: ContactDeps, notations: Sequence[str]) -> DirectoryContact | None:
    """The contact that the directory has under the first of *notations* that finds one."""
    for notation in notations:
        if (found := await directory_of(deps).find(Phone.parse_e164(notation))) is not None:
            return found
    return None


async def read_back(deps: ContactDeps, seen: Seen) -> None:
    """Look at what was just written. Raises: Transient where CGB has said that it is done, and it is not."""
    found = await find(deps, seen.stand.notations)
    held = {} if found is None else found.fields
    wanted = {name: value for name, value in (seen.fields or {}).items() if name not in deps.policy.cgb}
    lacking = sorted(differing(wanted, held))
    if lacking:
        log.warning("contact.not_written", fields=lacking)
        error = Transient(f"CGB: said done, and the contact does not hold {', '.join(lacking)}"[:400])
        error.answered, error.code = True, "not-written"
        raise error


class Applied(NamedTuple):
    """What was done: *action*, on the contact *contact_id*, which *there* says was there before. *fields*: those that
    were written."""

    contact_id: str
    action: str
    there: bool
    fields: Mapping[str, FieldValue]


async def apply(deps: ContactDeps, seen: Seen) -> Applied:
    """Carry the plan out."""
    directory, plan = directory_of(deps), seen.plan
    if isinstance(plan, Create):
        try:
            contact_id = await directory.create(plan.draft)
        except Refused:
            # Another client made the contact after our lookup, or the directory showed it late.
            known = await directory.field_names()
            again = await plan_of(deps, seen.phone, seen.stand, seen.said, seen.fields, known)
            if again is None or isinstance(again, Create):
                raise
            plan = again
        else:
            deps.metrics.inc("cgb_contacts_created")
            return Applied(contact_id, "created", False, plan.draft.fields)
    if isinstance(plan, Update):
        await directory.update(plan.contact_id, plan.fields)
        deps.metrics.inc("cgb_contacts_updated")
        return Applied(plan.contact_id, "updated", True, plan.fields)
    return Applied(plan.contact_id, "unchanged", True, {})


def directory_of(deps: ContactDeps) -> ContactDirectory:
    assert deps.directory is not None, "the worker is off without a directory"
    return deps.directory
