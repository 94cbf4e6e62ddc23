"""What the HTTP API answers: the models of its document. Answers are made of the tables' rows, not through these."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from schemas.messages import Status


class Problem(BaseModel):
    """What is wrong and what to do, as RFC 9457 has it. It repeats nothing of the request."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class Accepted(BaseModel):
    """The message is stored, and is sent by itself. The same Idempotency-Key is answered with the same ids.
    *message_ids*: those of all messages that it goes as, in their order; a text that was split goes as several. The
    first one is *message_id*."""

    message_id: UUID
    message_ids: list[UUID]


class Canceled(BaseModel):
    """The message is taken back."""

    id: UUID
    status: Literal["canceled"]


class MarkedRead(BaseModel):
    """The person sees that their message, and those before it, were read. *read_at*: when it was marked first."""

    id: UUID
    provider: str
    account: str
    read_at: AwareDatetime


class UpdateOut(BaseModel):
    """A status that the provider has told once. *at*: when it came to that, by the provider's clock."""

    status: str
    at: AwareDatetime
    error_code: str | None
    error: str | None


class Evidence(BaseModel):
    """What the provider was found to know, *at* that time, of a message that may have been sent. *found*: whether it
    has the message; null: that could not be told."""

    at: AwareDatetime
    found: bool | None
    text: str


class MoveOut(BaseModel):
    """The message went by another account from then on: *source* could not take it, for the reason *why*."""

    at: AwareDatetime
    source: Annotated[str, Field(alias="from")]
    to: str
    why: str


class MessageOut(BaseModel):
    """A message of either direction. *status* of one that a person has written is `received`. *content* is what it
    says, by its *kind*. *purpose*: who asked for it. *error*: why it failed, was skipped, or waits. *evidence*: of one
    whose sending was in doubt; null: nobody has looked for it. *route*: PROVIDER or PROVIDER/ACCOUNT of those that it
    may go by, in order; empty: only its own. *moves*: along it."""

    id: UUID
    direction: Literal["out", "in"]
    status: Status | Literal["received"]
    provider: str
    account: str
    phone: Annotated[str, Field(description="E.164")] | None
    kind: str
    content: dict[str, Any]
    purpose: str
    provider_message_id: str | None
    error: str | None
    error_code: str | None
    attempts: int
    not_before: AwareDatetime | None
    created_at: AwareDatetime
    claimed_at: AwareDatetime | None
    sent_at: AwareDatetime | None
    delivered_at: AwareDatetime | None
    read_at: AwareDatetime | None
    failed_at: AwareDatetime | None
    updated_at: AwareDatetime
    evidence: Evidence | None
    route: list[str]
    moves: list[MoveOut]


class MessageWithUpdates(MessageOut):
    """A message with its statuses (*updates*), the first one first."""

    updates: list[UpdateOut]


class MessagePage(BaseModel):
    """Messages, the newest first. *next*: what `cursor` is for the page after this one; null: there is none."""

    messages: list[MessageOut]
    next: str | None
