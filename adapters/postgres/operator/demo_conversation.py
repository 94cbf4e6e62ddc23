"""What the demonstration reads of its conversation: what was kept of each message, what was understood, what was
ordered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from adapters.postgres.pool import Pool


@dataclass(frozen=True, slots=True)
class KeptMessage:
    """What was kept of a message.

    *rows*: of `meeting_notes`. *content*: its text, or what was said in it. *object_at*: the address of its object, and
    *sha256*, the digest of that; None: it has none yet. *intent*, and *why*: None: it is not understood yet. *voice*:
    the state of its transcription; None: it has no voice note. *files*: how many are stored, of how many.
    """

    rows: int
    status: str | None
    content: str | None
    object_at: str | None
    sha256: str | None
    intent: str | None
    why: str | None
    voice: str | None
    files: tuple[int, int]


async def kept(pool: Pool, keys: Sequence[str]) -> dict[str, KeptMessage]:
    """Message key -> what was kept of the message, for those of *keys* of which something was."""
    rows = await pool.fetch(
        """
        SELECT key, (SELECT count(*) FROM meeting_notes n WHERE n.message_key = key) AS notes, n.processing_status,
            n.content, n.gcs_storage_path, n.sha256, b.intent, b.intent_reason,
            (SELECT max(a.transcription_status) FROM audio_files a WHERE a.meeting_note_id = n.id) AS voice,
            (SELECT count(*) FROM note_attachments f WHERE f.meeting_note_id = n.id AND f.status = 'stored') AS stored,
            (SELECT count(*) FROM note_attachments f WHERE f.meeting_note_id = n.id) AS files
        FROM unnest($1::text[]) AS key
        LEFT JOIN meeting_notes n ON n.message_key = key
        LEFT JOIN buffered_messages b ON b.message_key = key AND b.understood_at IS NOT NULL
        WHERE n.id IS NOT NULL OR b.id IS NOT NULL
        """,
        list(keys),
    )
    return {
        row["key"]: KeptMessage(
            row["notes"],
            row["processing_status"],
            row["content"],
            row["gcs_storage_path"],
            row["sha256"],
            row["intent"],
            row["intent_reason"],
            row["voice"],
            (row["stored"], row["files"]),
        )
        for row in rows
    }


async def understood(pool: Pool, key: str) -> bool:
    """Whether the message is understood: whatever answers it is decided."""
    sql = "SELECT EXISTS (SELECT FROM buffered_messages WHERE message_key = $1 AND understood_at IS NOT NULL)"
    return bool(await pool.fetchval(sql, key))


async def orders(pool: Pool, phone: str, conversations: Sequence[int]) -> list[Mapping[str, Any]]:
    """What the person of *phone* has ordered in these conversations of Chatwoot, the oldest first."""
    rows = await pool.fetch(
        "SELECT params_json::text FROM content_orders WHERE phone = $1 AND chatwoot_conversation_id = ANY($2)"
        " ORDER BY created_at, id",
        phone,
        list(conversations),
    )
    return [orjson.loads(row["params_json"]) for row in rows]
