"""What an outside system says that a contact of it holds now: the data of `contact.changed`.

Webhooks and pulls write it, each in the form of schemas/told.py with `fields`: an object of the fields' names in our
spelling (`customer_name`, `Email`, `language`; a custom field by its own name) and of texts. A field that is not named
is not told of; it is never emptied by that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import orjson

from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.phone import Phone
from schemas.told import phone_told, time_told, told_in


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ContactChange:
    """The contact *contact_id* of *system* has held *fields* at *at*, which is never later than the event's arrival.
    *phone*: of the person, None where it is not known."""

    system: str
    contact_id: str
    phone: Phone | None
    at: datetime
    fields: Mapping[str, str]


def change_data(
    *,
    system: str,
    contact_id: str,
    phone: Phone | None,
    at: datetime | None,
    fields: Mapping[str, str],
    received: bytes,
) -> bytes:
    """The data of `contact.changed`, which `change_from` reads. *at*: when it happened; None: at its arrival.
    *received*: the JSON text that tells of it."""
    return orjson.dumps(
        {
            "system": system,
            "contact_id": contact_id,
            "phone": None if phone is None else phone.e164,
            "at": None if at is None else at.isoformat(),
            "fields": dict(fields),
            "received": orjson.Fragment(received),
        }
    )


def change_from(event: Event) -> ContactChange:
    """The change that a `contact.changed` tells of. Raises: Malformed, naming the member and never its value."""
    told = told_in(event)
    system, contact_id, fields = told.get("system"), told.get("contact_id"), told.get("fields")
    if not isinstance(system, str) or not system:
        raise Malformed("the event's system is not text")
    if not isinstance(contact_id, str) or not contact_id:
        raise Malformed("the event's contact_id is not text")
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise Malformed("the event's fields are not an object of texts")
    return ContactChange(
        system=system, contact_id=contact_id, phone=phone_told(told), at=time_told(told, event.time), fields=fields
    )
