"""What the lists of operators are asked by, and how their rows look. What is personal stands there masked: of a phone
the country code and two digits, of an e-mail address a letter and the domain, of a name the initials, of a text its
length."""

from __future__ import annotations

from typing import Annotated, Any, Final, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.api.campaigns import RecipientStatus
from schemas.api.moments import QueryMoment
from schemas.messages import Status

MOST: Final = 100
"""Rows of a page."""

_Word = Annotated[str, Field(pattern=r"^[^\x00]{1,200}$")]
_Mask = Annotated[str, Field(description="masked")]

OrderStatus = Literal["pending", "syncing", "synced", "no_whatsapp", "failed"]
Outcome = Literal["done", "skipped", "dead", "uncertain", "open"]
LetterState = Literal["open", "retried", "discarded"]
CampaignStatus = Literal["draft", "running", "paused", "stopped", "done"]


class Filter(BaseModel):
    """Which rows. A name that is not here is refused: a filter that is misspelled would find everything."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, populate_by_name=True, frozen=True)


class Timed(Filter):
    """By their time: `from` is the first one, `to` the first one that is too late; UTC without an offset."""

    since: Annotated[QueryMoment | None, Field(alias="from", description="then or later")] = None
    until: Annotated[QueryMoment | None, Field(alias="to", description="before then")] = None


class OrderFilter(Timed):
    """Orders, by when they were kept. *error*: a part of the reason, as it is written."""

    status: OrderStatus | None = None
    branch: _Word | None = None
    error: _Word | None = None


class MessageFilter(Timed):
    """Messages, by when they were made."""

    provider: _Word | None = None
    status: Status | Literal["received"] | None = None
    direction: Literal["out", "in"] | None = None


class UncertainFilter(Filter):
    """Messages that may have been sent."""

    provider: _Word | None = None


class EventFilter(Timed):
    """Events of the journal, by when they arrived. *outcome*: how *worker*, or any worker, ended with them; each page
    looks through 2000 events and may have few rows then: `next` goes on."""

    type: _Word | None = None
    source: _Word | None = None
    worker: _Word | None = None
    outcome: Outcome | None = None


class LetterFilter(Filter):
    """Dead letters. *fingerprint*: of those with the same fault."""

    worker: _Word | None = None
    error_class: Annotated[_Word | None, Field(alias="class")] = None
    state: LetterState | None = None
    fingerprint: _Word | None = None


class GroupFilter(Filter):
    """Open dead letters, in groups. *text*: a part of the error, as it is written."""

    worker: _Word | None = None
    error_class: Annotated[_Word | None, Field(alias="class")] = None
    text: _Word | None = None


class RefusedFilter(Timed):
    """Refused requests."""

    source: _Word | None = None
    reason: _Word | None = None


class CampaignFilter(Filter):
    """Campaigns."""

    status: CampaignStatus | None = None


class RecipientFilter(Filter):
    """Recipients of one campaign."""

    status: RecipientStatus | None = None


class TemplateFilter(Filter):
    """Templates. *status*: in the provider's words."""

    provider: _Word | None = None
    status: _Word | None = None


class ConversationFilter(Filter):
    """Conversations. *escalated*: those that were handed to a person."""

    status: _Word | None = None
    escalated: bool | None = None


class ReplayFilter(Filter):
    """Replays."""

    worker: _Word | None = None


class SyncFilter(Filter):
    """Bulk syncs: all of them."""


class AuditFilter(Timed):
    """What people and the daemon have done."""

    actor: _Word | None = None
    action: _Word | None = None
    subject: _Word | None = None


class PeopleFilter(Timed):
    """People, by when they came to be known."""


class OrderRow(BaseModel):
    """An order. *reason*: why it has failed, or what it waits for."""

    order_id: str
    branch: str | None
    status: str | None
    reason: str | None
    name: _Mask | None
    phone: _Mask | None
    has_whatsapp: bool | None
    contact_id: UUID | None
    ordered_at: AwareDatetime
    kept_at: AwareDatetime
    attempted_at: AwareDatetime | None
    completed_at: AwareDatetime | None


class MessageRow(BaseModel):
    """A message of either direction. *content*: what it says, masked. *evidence*: of one whose sending was in doubt,
    what the provider was found to know."""

    id: UUID
    direction: str
    status: str
    provider: str
    account: str
    phone: _Mask | None
    kind: str
    content: dict[str, Any]
    purpose: str
    provider_message_id: str | None
    error: str | None
    error_code: str | None
    attempts: int
    not_before: AwareDatetime | None
    created_at: AwareDatetime
    sent_at: AwareDatetime | None
    delivered_at: AwareDatetime | None
    read_at: AwareDatetime | None
    failed_at: AwareDatetime | None
    evidence: dict[str, Any] | None


class EventRow(BaseModel):
    """An event. *workers*: worker -> how it ended; `open`: it has not."""

    id: str
    type: str
    source: str
    key: _Mask
    time: AwareDatetime
    place: str
    workers: dict[str, str]


class LetterRow(BaseModel):
    """A dead letter, without the data of its event."""

    number: int
    state: str
    worker: str
    fingerprint: str | None
    error_class: str
    error_code: str
    error_text: str
    attempts: int
    buried_at: AwareDatetime
    retries: int
    settled_at: AwareDatetime | None
    settled_by: str | None
    edited_at: AwareDatetime | None
    event_id: str
    replay_id: str | None
    type: str
    source: str
    key: _Mask
    time: AwareDatetime


class LetterGroup(BaseModel):
    """Open letters of one worker with the same fault. *persons*: how many keys their events have. *upto*: the last
    letter. *ids*: the first few. *hours*: how many were buried in each of the last 24 hours, the current one last."""

    fingerprint: str | None
    worker: str
    error_class: str
    error_code: str
    error_text: str
    count: int
    persons: int
    oldest: AwareDatetime
    newest: AwareDatetime
    upto: int
    ids: list[int]
    hours: list[int]


class RefusedRow(BaseModel):
    """A refused request. *kept*: whole, so that it can be sent again. *suppressed*: how many similar ones before it
    have no row."""

    number: int
    at: AwareDatetime
    source: str
    status: int
    reason: str
    path: str | None
    remote: str | None
    body_bytes: int | None
    suppressed: int
    kept: bool
    sent_again_at: AwareDatetime | None
    sent_again_by: str | None
    event_ids: list[str] | None


class CampaignRow(BaseModel):
    """A campaign. *rate*: messages in a second, at most."""

    id: UUID
    name: str
    status: str
    reason: str | None
    provider: str
    account: str
    template: str
    language: str | None
    category: str
    rate: float
    created_by: str
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None


class RecipientRow(BaseModel):
    """A recipient. *line*: of the file."""

    line: int
    phone: _Mask
    name: _Mask | None
    status: str
    error: str | None
    error_code: str | None
    message_id: UUID | None
    fed_at: AwareDatetime | None
    updated_at: AwareDatetime


class TemplateRow(BaseModel):
    """A template. *gone_at*: since when no list has it."""

    provider: str
    account: str
    name: str
    language: str
    category: str | None
    status: str
    quality: str | None
    synced_at: AwareDatetime
    gone_at: AwareDatetime | None


class ConversationRow(BaseModel):
    """A conversation. *newest_at*: when the person has written last."""

    id: int
    system: str
    chatwoot_conversation_id: int | None
    phone: _Mask | None
    name: _Mask | None
    language: str | None
    status: str | None
    assigned: bool | None
    labels: list[str] | None
    message_count: int
    newest_at: AwareDatetime
    escalated_at: AwareDatetime | None
    escalated_why: str | None


class ReplayRow(BaseModel):
    """A replay. *filter*: which events. *published*: how many of *total* are on their way."""

    id: str
    worker: str
    filter: dict[str, Any]
    total: int
    published: int
    by: str | None
    started_at: AwareDatetime
    finished_at: AwareDatetime | None


class SyncRow(BaseModel):
    """A bulk sync. *sent*: how many of *total* were delivered to the worker."""

    id: str
    total: int
    sent: int
    begun_by: str
    started_at: AwareDatetime
    finished_at: AwareDatetime | None


class AuditRow(BaseModel):
    """*actor* has done *action* to *subject*."""

    id: int
    at: AwareDatetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


class PersonRow(BaseModel):
    """A person."""

    id: UUID
    name: _Mask | None
    email: _Mask | None
    phones: list[_Mask]
    language: str | None
    newest_order_id: str | None
    newest_order_at: AwareDatetime | None
    created_at: AwareDatetime
    updated_at: AwareDatetime


R = TypeVar("R", bound=BaseModel)


class Listed(BaseModel, Generic[R]):
    """A page."""

    data: list[R]
    next: str | None
    prev: str | None


class OrderPage(Listed[OrderRow]):
    """Orders. *next*, *prev*: the `cursor` of the pages around this one; null: there is none."""


class EventPage(Listed[EventRow]):
    """Events. *next*, *prev*: the `cursor` of the pages around this one; null: there is none."""


class LetterPage(Listed[LetterRow]):
    """Dead letters. *next*, *prev*: the `cursor` of the pages around this one; null: there is none."""


class UncertainPage(Listed[MessageRow]):
    """Uncertain messages. *next*, *prev*: the `cursor` of the pages around this one; null: there is none."""


class RefusedPage(Listed[RefusedRow]):
    """Refused requests. *next*, *prev*: the `cursor` of the pages around this one; null: there is none."""


class ReplayPage(Listed[ReplayRow]):
    """Replays. *next*, *prev*: the `cursor` of the pages around this one; null: there is none."""


class SyncPage(Listed[SyncRow]):
    """Bulk syncs. *next*, *prev*: the `cursor` of the pages around this one; null: there is none."""


class AuditPage(Listed[AuditRow]):
    """What was done. *next*, *prev*: the `cursor` of the pages around this one; null: there is none."""


class PeoplePage(Listed[PersonRow]):
    """People. *next*, *prev*: the `cursor` of the pages around this one; null: there is none."""


class LetterGroups(Listed[LetterGroup]):
    """Groups of open dead letters, the largest first."""
