"""What the HTTP API answers about conversations: the models of its document."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from schemas.messages import Status

_Masked = "masked where it is not revealed"


class ConversationRow(BaseModel):
    """A conversation. *id*: its name in paths and commands. *question*: the field that the open question of its dialog
    asks for. *escalated_at*: it was handed to a person, and not taken back since. *settles_at*: when what was written
    last is understood. *newest_at*: when the person has written last, else when it came to be known."""

    id: str
    number: Annotated[int, Field(description="counts up over all conversations")]
    chat: Annotated[str, Field(description=f"its name over all systems, {_Masked}")]
    system: str
    chatwoot_account_id: int | None
    chatwoot_conversation_id: int | None
    phone: Annotated[str, Field(description=f"E.164, {_Masked}")] | None
    name: Annotated[str, Field(description=_Masked)] | None
    status: str | None
    question: str | None
    escalated_at: AwareDatetime | None
    settles_at: AwareDatetime | None
    message_count: int
    last_message_at: AwareDatetime | None
    newest_at: AwareDatetime


class ConversationOut(ConversationRow):
    """A conversation of a list. *found_by*: what the words that were searched for are of it."""

    found_by: str | None


class ConversationPage(BaseModel):
    """Conversations, the newest first. *next*: what `cursor` is for the page after this one; null: there is none."""

    conversations: list[ConversationOut]
    next: str | None


class DialogOut(BaseModel):
    """A dialog. *question*: the field that is asked for; null: none is open. *asked*: how often, by messages of which
    the last one is *message_id*. *params*: what is known; what the person has written in their own words is `…` where
    it is not revealed. *paused_until*: so long the bot is silent, as a human agent is talking."""

    name: str | None
    id: str | None
    question: str | None
    asked: int
    asked_at: AwareDatetime | None
    message_id: UUID | None
    message_status: str | None
    wrong_answers: int
    reminded: bool
    params: dict[str, str]
    paused_until: AwareDatetime | None
    version: int


class NoteOut(BaseModel):
    """A message as it is archived. *intent*: `NOTE` or `ORDER`; null: it is not understood yet."""

    id: UUID
    status: str
    error: str | None
    storage_path: str | None
    intent: str | None
    confidence: float | None
    reason: str | None


class FileOut(BaseModel):
    """A file of a message. *transcription*: how its text stands, where it is spoken; *text*: that text, revealed."""

    kind: str
    status: str
    content_type: str | None
    bytes: int | None
    storage_path: str | None
    error: str | None
    transcription: str | None
    transcription_error: str | None
    duration_seconds: int | None
    text: str | None


class SaidOut(BaseModel):
    """A message; of one by a human agent (*kind* `agent_reply`) only the time is known. *id*: ours, for
    `/api/v1/messages/{id}`; null: not stored there. *understanding*: of what a person has written. *content*: what is
    said, revealed."""

    at: AwareDatetime
    direction: Literal["in", "out"]
    id: UUID | None
    message_key: str | None
    provider: str | None
    kind: str
    status: Status | Literal["received"]
    error: str | None
    error_code: str | None
    not_before: AwareDatetime | None
    purpose: str | None
    understanding: Literal["understood", "waits", "waits for its text"] | None
    note: NoteOut | None
    files: list[FileOut]
    content: dict[str, Any] | None


class ContentOrderOut(BaseModel):
    """What a dialog has gathered, complete. *params*: `…` each where it is not revealed."""

    id: UUID
    created_at: AwareDatetime
    ready_at: AwareDatetime | None
    notice_message_id: UUID | None
    params: dict[str, Any]


class LetterOut(BaseModel):
    """An event of the person that a worker has given up on."""

    number: int
    worker: str
    event_id: str
    type: str
    error_class: str
    error_text: str
    buried_at: AwareDatetime


class ConversationDetail(ConversationRow):
    """A conversation with all that is known of it. *contact_id*: of the person, for `ferryman contacts show`. *waits*:
    what waits and why, a sentence each. *timeline*: its newest messages both ways, the oldest first; *earlier*: there
    are more before them."""

    inbox_id: int | None
    channel: str | None
    contact_ref: str | None
    language: str | None
    assigned: bool | None
    agent_at: AwareDatetime | None
    labels: list[str] | None
    escalated_why: str | None
    due_at: AwareDatetime | None
    created_at: AwareDatetime
    updated_at: AwareDatetime
    contact_id: UUID | None
    dialog: DialogOut | None
    waits: list[str]
    timeline: list[SaidOut]
    earlier: bool
    content_orders: list[ContentOrderOut]
    dead_letters: list[LetterOut]
    revealed: bool
