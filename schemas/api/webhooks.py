"""`/api/v1/webhooks`: subscribers of outgoing webhooks, and their deliveries."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.api.moments import Moment

_Name = Annotated[str, Field(min_length=1, max_length=60)]
_Type = Annotated[str, Field(min_length=1, max_length=60)]
_Number = Annotated[int, Field(ge=1, le=2**63 - 1)]
State = Literal["waiting", "delivered", "failed", "skipped"]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class WebhookIn(_In):
    """A subscriber to add. *types*: of events, as `message.sent` or `message.*`. *full*: bodies with the whole event;
    else ids, states and times alone."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "shop", "url": "https://hooks.shop.example/ferryman", "types": ["message.*"]}]
        }
    )

    name: _Name
    url: Annotated[str, Field(min_length=1, max_length=2000)]
    types: Annotated[list[_Type], Field(min_length=1, max_length=50)]
    full: bool = False


class EnableIn(_In):
    """*backlog*: what becomes of the deliveries that wait; null where none wait."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"backlog": "send"}]})

    backlog: Literal["send", "skip"] | None = None


class DisableIn(_In):
    """*reason*: for the record."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "the shop moves"}]})

    reason: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""


class RetryIn(_In):
    """Which failed deliveries: by their numbers, or by the code of their error, else all. *dry_run*: only count."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"error": "http-500", "dry_run": True}]})

    deliveries: Annotated[list[_Number], Field(min_length=1, max_length=1000)] | None = None
    error: Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f]*$")] | None = None
    dry_run: bool = False


class WebhookReplayIn(_In):
    """Events of the journal, by when they arrived and by their types; null: any. *dry_run*: only count."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"since": "2031-02-14T00:00:00Z", "until": "2031-02-15T00:00:00Z"}]}
    )

    since: Moment | None = None
    until: Moment | None = None
    types: Annotated[list[_Type], Field(min_length=1, max_length=50)] | None = None
    dry_run: bool = False


class DeliveryQuery(_In):
    """Which deliveries."""

    state: Annotated[State, Field(description="of this state")] = "failed"
    limit: Annotated[int, Field(ge=1, le=100, description="at most so many")] = 50
    cursor: Annotated[int, Field(ge=1, le=2**63 - 1, description="what `next` said")] | None = None


class WebhookOut(BaseModel):
    """A subscriber, without its secret. *error*: why nothing can be sent to it. *failures*: attempts since the last
    success. *not_before*: it is left alone until then. *old_secrets_until*: former secrets sign until then."""

    name: str
    url: str
    types: list[str]
    full: bool
    state: Literal["active", "disabled"]
    error: str | None
    disabled_at: AwareDatetime | None
    disabled_by: str | None
    disabled_why: str | None
    waiting: int
    oldest_waiting_at: AwareDatetime | None
    failed: int
    failures: int
    failing_since: AwareDatetime | None
    last_success_at: AwareDatetime | None
    not_before: AwareDatetime | None
    old_secrets_until: list[AwareDatetime]
    created_at: AwareDatetime
    created_by: str


class FailureGroup(BaseModel):
    """Failed deliveries with the same code."""

    error: str
    deliveries: int
    first: AwareDatetime | None
    last: AwareDatetime | None


class WebhookShown(WebhookOut):
    """A subscriber, and why its deliveries have failed."""

    failures_by_error: list[FailureGroup]


class WebhookMade(WebhookOut):
    """The secret is shown this once."""

    secret: str


class WebhookRotated(WebhookShown):
    """The new secret is shown this once."""

    secret: str


class Webhooks(BaseModel):
    """All subscribers, by name."""

    data: list[WebhookOut]
    next: None = None
    prev: None = None


class WebhookDelivery(BaseModel):
    """A delivery, without its body. *next_at*: null also where it is behind another one of its key."""

    id: int
    event_id: str
    type: str
    state: State
    attempts: int
    next_at: AwareDatetime | None
    last_at: AwareDatetime | None
    status: int | None
    error: str | None
    answer: str | None
    ms: int | None
    created_at: AwareDatetime
    ended_at: AwareDatetime | None


class WebhookDeliveries(BaseModel):
    """The newest first. *next*: the cursor of the page of older ones; null: there is none."""

    data: list[WebhookDelivery]
    next: int | None
    prev: None = None


class WebhookTested(BaseModel):
    """What came of a test."""

    delivered: bool
    event_id: str
    status: int | None
    error: str | None
    answer: str | None
    ms: int


class WebhookRemoved(BaseModel):
    """*deliveries*: so many went with it."""

    name: str
    deliveries: int


class LeftOut(BaseModel):
    """Why some were left out."""

    reason: str
    count: int


class WebhookAgain(BaseModel):
    """*planned*: so many fitted. *done*: so many wait again; null after a dry run."""

    planned: int
    done: int | None
    skipped: list[LeftOut]
