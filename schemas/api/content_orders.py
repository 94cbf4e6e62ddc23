"""What `/api/v1/content-orders` answers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel


class ReadyNotice(BaseModel):
    """The message that tells that an order is ready. *status*: as that of a message. *why*: why there is none, or why
    it was not sent; null: neither."""

    message_id: UUID | None
    status: str | None
    why: str | None


class ContentOrderOut(BaseModel):
    """An order of content. *user_id*: null: no mapping is known. *params*: what was asked for, in lower case, with
    `original_content` and `context`. *ready_at*, *notice*: null until it is ready."""

    id: UUID
    user_id: str | None
    source: str
    triggered_by: str
    params: dict[str, Any]
    chat: str | None
    chatwoot_conversation_id: int | None
    phone: str | None
    created_at: AwareDatetime
    ready_at: AwareDatetime | None
    notice: ReadyNotice | None


class ContentOrderReady(BaseModel):
    """The order is ready. *notified*: whether a message tells its person; *why*: why none does. The same whenever it is
    asked for."""

    id: UUID
    ready_at: AwareDatetime
    notified: bool
    message_id: UUID | None
    why: str | None
