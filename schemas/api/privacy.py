"""`/api/v1/privacy`: what is kept about a person, and its end."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

_Person = Annotated[str, Field(min_length=1, max_length=320)]


class PersonIn(BaseModel):
    """*person*: a phone in any notation, an e-mail address, a contact's id or an order's id."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, json_schema_extra={"examples": [{"person": "+972505550142"}]}
    )

    person: _Person


class Outside(BaseModel):
    """What becomes of the person in another system: whether it is *done* there, and else what to *do*."""

    system: str
    done: bool
    do: str
    contacts: int | None = None


class Kept(BaseModel):
    """What stays, and why."""

    what: str
    why: str


class ErasurePlan(BaseModel):
    """How much is kept: rows by table, entries of streams, objects of the archive, records."""

    rows: dict[str, int]
    entries: int
    objects: int
    records: int
    kept: list[Kept]
    outside: list[Outside]


class ErasureReceipt(BaseModel):
    """What was done, without any value of a person; *sha256* is of the rest, and stands in the audit log.
    *finished_at*: null: it was cut short: send the same again."""

    erasure: int
    actor: str
    started_at: AwareDatetime
    finished_at: AwareDatetime | None
    counts: dict[str, int]
    outside: list[Outside]
    starts_anew: str
    sha256: str


class Erasures(BaseModel):
    """The newest erasures."""

    data: list[ErasureReceipt]


class FoundPlace(BaseModel):
    """Where something of the person is: a column as table.column, a stream, a key of Redis, the archive, a file."""

    place: str
    times: int


class FoundPlaces(BaseModel):
    """*clean*: nothing is kept about the person."""

    clean: bool
    data: list[FoundPlace]


class HeldPlace(BaseModel):
    """What a place holds about people, what for, how long, and what an erasure does."""

    place: str
    columns: str
    about: str
    purpose: str
    kept: str
    erased: str


class PrivacyMap(BaseModel):
    """Every place, what tells of people first."""

    data: list[HeldPlace]
