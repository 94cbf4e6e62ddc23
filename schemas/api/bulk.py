"""Verbs for several things at once: planned first, then done to what was there when they were planned."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.api.lists import OrderStatus, ReplayRow
from schemas.api.moments import Moment

_Id = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
_Word = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
_Dry = Annotated[bool, Field(description="say what would be done, and do nothing")]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, populate_by_name=True)


class Skipped(BaseModel):
    """*count* things were left alone, for the same *reason*."""

    reason: str
    count: int


class Planned(BaseModel):
    """What would be done: to *count* things. *upto*: the last of them, for the request that does it; what comes
    meanwhile is left alone then. Null: it was asked for by ids, or there is none."""

    count: int
    upto: int | str | None
    skipped: list[Skipped]


class Done(BaseModel):
    """What was done."""

    done: int
    skipped: list[Skipped]


class SyncBegun(Planned):
    """The plan, and the run that was begun: its *id*; null with *dry_run*."""

    id: str | None


class BulkDone(Planned):
    """The plan, and to how many it was *done*; null with *dry_run*."""

    done: int | None


class SettleIn(_Asked):
    """What a person has found out of messages that may have been sent: they have them (*sent*), or they are to be sent
    once more (*again*)."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ids": ["5f0d9f5c-6c4e-4a0e-9d7e-1f4f1f0d0c01"], "verdict": "sent"}]}
    )

    ids: Annotated[list[UUID], Field(min_length=1, max_length=100)]
    verdict: Literal["sent", "again"]
    dry_run: _Dry = False


class SendAgainIn(_Asked):
    """A refused request once more, as it was; or with a mended *body*, a JSON document."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"dry_run": True}]})

    body: dict[str, Any] | None = None
    dry_run: _Dry = False


class SentAgain(BaseModel):
    """The events that the request is. *known*: those that are kept already, which do nothing again."""

    event_ids: list[str]
    known: list[str]


class OrdersSyncIn(_Asked):
    """Orders to sync again: those of *ids*, or all that fit the rest, as the list of orders takes it, up to *upto*.
    *rate*: how many are begun in a minute, at most."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"ids": ["IL310214IN7"]}, {"status": "failed", "branch": "il", "dry_run": True}]
        }
    )

    ids: Annotated[list[_Id], Field(min_length=1, max_length=10_000)] | None = None
    status: OrderStatus | None = None
    branch: _Word | None = None
    error: _Word | None = None
    since: Annotated[Moment | None, Field(alias="from")] = None
    until: Annotated[Moment | None, Field(alias="to")] = None
    upto: Moment | None = None
    rate: Annotated[float, Field(ge=0.1, le=6000)] | None = None
    dry_run: _Dry = False


class FindIn(_Asked):
    """What is known of a customer: a phone in any notation, an e-mail address, a name, or the id of an order, an event
    or a message. It is in a body, because addresses are kept in many places."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "IL310214IN7"}]})

    text: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class Hit(BaseModel):
    """*id*: by which every route knows it. *by*: what the text is of it. *text*: what it is, in words."""

    kind: Literal["person", "order", "event", "dead letter", "message", "conversation"]
    id: str
    by: str
    text: str
    link: str


class Found(BaseModel):
    """What the text names."""

    data: list[Hit]


class RevealIn(_Asked):
    """Why a person is shown unmasked: the audit log keeps it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "asks where the order is"}]})

    reason: Annotated[str, Field(min_length=3, max_length=300, pattern=r"^[^\x00-\x1f]*$")]


class Shown(BaseModel):
    """All that is known of one thing; what is personal is masked, where it was not asked for by a reason."""

    model_config = ConfigDict(extra="allow")


class SettingRow(BaseModel):
    """A setting; secrets are masked. *origin*: default, env, or the file that says it."""

    name: str
    value: str
    origin: str


class SettingList(BaseModel):
    """Every setting of the process that answers."""

    data: list[SettingRow]


class Run(BaseModel):
    """A bulk sync. *sent*: how many of *total* were delivered to the worker. *running*: by the process that answers."""

    id: str
    total: int
    sent: int
    begun_by: str
    started_at: AwareDatetime
    finished_at: AwareDatetime | None
    running: bool


class LettersIn(_Asked):
    """Dead letters: those of *ids*, or all open ones that fit the rest, up to the number *upto*."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ids": [7]}, {"worker": "contact-sync", "class": "Refused", "dry_run": True}]}
    )

    ids: Annotated[list[Annotated[int, Field(ge=1, lt=2**63)]], Field(min_length=1, max_length=1000)] | None = None
    worker: _Word | None = None
    error_class: Annotated[_Word | None, Field(alias="class")] = None
    text: _Word | None = None
    fingerprint: _Word | None = None
    upto: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    dry_run: _Dry = False


class EditIn(_Asked):
    """The event's *data* as they should have been."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"data": {"order": {"id": "IL310214IN7"}}}]})

    data: dict[str, Any]
    dry_run: _Dry = False


class PauseIn(_Asked):
    """A worker, a provider, or PROVIDER/ACCOUNT, and why."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "contact-sync", "reason": "CGB is moved"}]})

    name: _Word
    reason: Annotated[str, Field(min_length=3, max_length=300, pattern=r"^[^\x00-\x1f]*$")]
    dry_run: _Dry = False


class ResumeIn(_Asked):
    """A worker, a provider, or PROVIDER/ACCOUNT."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "contact-sync"}]})

    name: _Word
    dry_run: _Dry = False


class Paused(BaseModel):
    """*changes*: it stood otherwise before."""

    name: str
    paused: bool
    changes: bool


class PauseRow(BaseModel):
    """What stands still *since* then. *by*, *reason*: null, where an older version did it."""

    name: str
    since: AwareDatetime
    by: str | None
    reason: str | None


class PauseList(BaseModel):
    """All that is paused."""

    data: list[PauseRow]
    next: None
    prev: None


class ReplayIn(_Asked):
    """Events of the journal, for *worker*. *types*: all that it handles, where none is named. *key*: of one person or
    order. *upto*: the journal's number of the last one."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"worker": "contact-sync", "from": "2031-02-14T09:00:00+00:00", "dry_run": True}]
        }
    )

    worker: _Word
    types: Annotated[list[_Word], Field(min_length=1, max_length=50)] | None = None
    since: Annotated[Moment | None, Field(alias="from")] = None
    until: Annotated[Moment | None, Field(alias="to")] = None
    key: _Word | None = None
    event: _Id | None = None
    upto: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    dry_run: _Dry = False


class ReplayBegun(Planned):
    """The plan, and the run that was begun: its *id*; null with *dry_run*. *ended*: how these events ended for the
    worker the first time."""

    id: str | None
    ended: dict[str, int]


class ReplayRun(ReplayRow):
    """A replay. *running*: by the process that answers."""

    running: bool


def told(count: int, upto: datetime | int | None, skipped: dict[str, int]) -> dict[str, Any]:
    """A plan as JSON. *skipped*: reason -> how many."""
    return {
        "count": count,
        "upto": upto.isoformat() if isinstance(upto, datetime) else upto,
        "skipped": [{"reason": reason, "count": n} for reason, n in skipped.items() if n],
    }
