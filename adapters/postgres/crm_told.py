"""What a CRM tells of conversations: how they stand, their labels, and that human agents have written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.conversations import lock
from adapters.postgres.pool import Connection

_TELL: Final = """
UPDATE conversations SET status = COALESCE($2, status), assigned = COALESCE($3, assigned),
  agent_at = GREATEST(agent_at, $4),
  escalated_at = CASE WHEN $5 THEN NULL ELSE escalated_at END,
  escalated_why = CASE WHEN $5 THEN NULL ELSE escalated_why END,
  labels = CASE WHEN $6::text[] IS NULL OR $7 < labels_at THEN labels ELSE $6 END,
  labels_at = CASE WHEN $6::text[] IS NULL THEN labels_at ELSE GREATEST(labels_at, $7) END, updated_at = now()
WHERE chat = $1
"""
_LABELLED: Final = "UPDATE conversations SET labels = $2, updated_at = now() WHERE chat = $1"
_REPLIED: Final = "INSERT INTO agent_replies (event_id, chat, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"


class Told(NamedTuple):
    """What a CRM tells of a conversation: None where it does not. *resolved*: it is, so no agent talks any more, and
    what was handed to one is taken back. *labels*: as they were at *labels_at*, by the CRM's clock; without a time they
    count as the newest."""

    chat: str
    status: str | None
    assigned: bool | None
    agent_at: datetime | None
    resolved: bool
    labels: Sequence[str] | None = None
    labels_at: datetime | None = None


class AgentReply(NamedTuple):
    """A human agent has written, as the event *event_id* tells."""

    event_id: str
    chat: str
    at: datetime


async def tell(conn: Connection, told: Sequence[Told]) -> None:
    """Keep what a CRM tells of conversations."""
    await conn.executemany(_TELL, [tuple(one) for one in sorted(told, key=lambda one: one.chat)])


async def label(conn: Connection, put: Mapping[str, Sequence[str]]) -> None:
    """Keep the labels that we have written, by chat: the CRM tells of them later, and that goes over it."""
    if put:
        await lock(conn, list(put))
        await conn.executemany(_LABELLED, [(chat, list(labels)) for chat, labels in sorted(put.items())])


async def reply(conn: Connection, replies: Sequence[AgentReply]) -> None:
    """Keep that agents have written: each reply once."""
    await conn.executemany(_REPLIED, sorted(replies))
