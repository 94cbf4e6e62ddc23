"""What becomes of a field of which the directory tells: values in, values out.

    as the contact is to be         nothing
    as we have written it before    nothing: our own write comes back
    older than what is known        nothing
    else                            kept; by the field's owner it is taken, or the orders' value is written again

A directory that alters what is written to it would tell of the altered value each time. So the same disagreement is
written over once in AGAIN_AFTER.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from daemon.contacts.decisions import differing
from daemon.contacts.field_policy import FieldPolicy
from daemon.contacts.fields import WRITTEN
from daemon.contacts.own_writes import is_own
from daemon.contacts.told import SaidAt, in_force, is_later
from schemas.contact_changes import ContactChange
from schemas.contacts import FieldValue, Owner, ToldField

AGAIN_AFTER: Final = timedelta(hours=1)


class News(NamedTuple):
    """The directory says of *field* what it had not from us: *value*. *ours*: what it was to hold; None: nothing.
    *owner*: of the field. *taken*: whether its value counts from now on."""

    field: str
    value: str
    ours: FieldValue | None
    owner: Owner
    taken: bool


def news_of(
    change: ContactChange,
    fields: Mapping[str, FieldValue],
    said_at: SaidAt,
    told: Mapping[str, ToldField],
    own: Sequence[str],
    policy: FieldPolicy,
) -> list[News]:
    """What *change* tells that is new. *fields* and *said_at*: what the person's newest order says, and since when.
    *told* and *own*: what was told before, and the marks of what was written. What no order says is taken, whoever owns
    it."""
    wanted = in_force(fields, told, said_at, policy)
    found = []
    for field, value in change.fields.items():
        owner: Owner = policy.owner_of(field) if field in WRITTEN else "cgb"
        before = told.get(field)
        if _is_known(field, value, wanted, before, change.at):
            continue
        if is_own(own, field, value, change.at, None if before is None else before.at):
            continue
        newest = owner == "newest" and is_later(change.at, said_at(field))
        taken = owner == "cgb" or newest or field not in fields
        found.append(News(field, value, wanted.get(field), owner, taken))
    return found


def _is_known(field: str, value: str, wanted: Mapping[str, FieldValue], before: ToldField | None, at: datetime) -> bool:
    """Whether the contact is to hold *value* already, or *before* was later, or said the same a short time ago."""
    if field in wanted:
        if not differing({field: wanted[field]}, {field: value}):
            return True
    elif before is not None and before.value == value:
        return True
    if before is None:
        return False
    return at <= before.at or (before.value == value and at - before.at < AGAIN_AFTER)
