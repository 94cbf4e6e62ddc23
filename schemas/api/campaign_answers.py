"""What `/api/v1/campaigns` answers."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from schemas.api.campaigns import Category, RecipientStatus


class CampaignMade(BaseModel):
    """The campaign is a draft. *duplicates*: rows that are left out, as another one names their person before. The same
    Idempotency-Key is answered with the same id."""

    id: UUID
    name: str
    recipients: int
    duplicates: int


class RecipientCounts(BaseModel):
    """How many recipients stand so."""

    pending: int
    queued: int
    sending: int
    sent: int
    delivered: int
    read: int
    played: int
    failed: int
    uncertain: int
    skipped: int
    canceled: int


class CampaignOut(BaseModel):
    """A campaign. *reason*: why it was stopped, where no operator has done that. *rate*: messages in a second, at most.
    *quiet*: as 21:00-09:00, of the day where the person is; null: none. *recipients*: how many there are."""

    id: UUID
    name: str
    status: Literal["draft", "running", "paused", "stopped", "done"]
    reason: str | None
    provider: str
    account: str
    template: str
    language: str | None
    category: Category
    consent: str | None
    rate: float
    ends_at: AwareDatetime | None
    duplicates: int
    created_by: str
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None
    quiet: str | None
    recipients: int
    counts: RecipientCounts


class CampaignError(BaseModel):
    """Why *count* recipients failed, were skipped, or are uncertain."""

    status: Literal["failed", "skipped", "uncertain"]
    code: str | None
    error: str | None
    count: int


class CampaignWait(BaseModel):
    """How many wait, for what, and until when where that is known."""

    count: int
    why: str
    until: AwareDatetime | None


class CampaignDetail(CampaignOut):
    """A campaign with what went wrong and what waits. *per_minute*: messages that were queued in the last minute.
    *left_s*: seconds until the last one is, at that pace; null: that is not known."""

    errors: list[CampaignError]
    waits: list[CampaignWait]
    per_minute: int
    left_s: int | None


class CampaignPage(BaseModel):
    """Campaigns, the newest first. *next*: what `cursor` is for the page after this one; null: there is none."""

    campaigns: list[CampaignOut]
    next: str | None


class RecipientOut(BaseModel):
    """A recipient. *line*: of the file; of a list or of orders its place. *error*: why they get no message, or why it
    failed or waits. *not_before*: the end of the quiet hours in which they are; *queued_at*: when their message was."""

    line: int
    phone: Annotated[str, Field(description="E.164")]
    name: str | None
    status: RecipientStatus
    error: str | None
    error_code: str | None
    message_id: UUID | None
    variables: dict[str, str]
    not_before: AwareDatetime | None
    queued_at: AwareDatetime | None
    sent_at: AwareDatetime | None
    delivered_at: AwareDatetime | None
    read_at: AwareDatetime | None
    updated_at: AwareDatetime


class RecipientPage(BaseModel):
    """Recipients by their lines. *next*: what `cursor` is for the page after this one; null: there is none."""

    recipients: list[RecipientOut]
    next: str | None
