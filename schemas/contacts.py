"""A person as the contact directory (CGB) sees one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal, NamedTuple, TypeAlias

from schemas.phone import Phone

FieldValue: TypeAlias = str | int | float | bool | date | datetime
"""What a custom field may hold before an adapter encodes it (live CGB: text, booleans 1/0, dates as unix seconds)."""


Owner: TypeAlias = Literal["orders", "cgb", "newest"]
"""Whose word counts where a contact and its person's orders differ: that of the orders, that of the directory, or the
last one that was said on either side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryContact:
    """A contact that exists in the directory. *id* is opaque text (up to 19 digits elsewhere: never a number)."""

    id: str
    fields: Mapping[str, str] = field(default_factory=dict)
    """Custom fields by name, as text in the directory's own encoding; without those that it does not return."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactDraft:
    """A contact to create. *fields* by name; the caller leaves out names that the account does not have."""

    phone: Phone
    name: str | None
    email: str | None
    fields: Mapping[str, FieldValue]


class ToldField(NamedTuple):
    """What the directory has told of one field: its *value*, as text in the directory's own encoding ("": it is empty
    there), and when it was so there."""

    value: str
    at: datetime
