"""What people have written, archived: `meeting_notes` and `note_attachments`.

Whoever writes several of these rows in one transaction locks notes first, then their files, then what is spoken in
them (`audio_files`), then objects and moves (`adapters.postgres.archive`); each in the order of the ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from adapters.postgres.json_text import json_text
from adapters.postgres.pool import Connection, Pool

_KEEP: Final = """
INSERT INTO meeting_notes AS n
  (id, message_key, user_id, chatwoot_message_id, chatwoot_conversation_id, chatwoot_contact_id, chatwoot_account_id,
   contact_identifier, line, source_type, content, metadata, processing_status, error_details, bucket, object_path,
   gcs_storage_path, sha256, event_id, processed_at, created_at)
SELECT id, message_key, user_id, chatwoot_message_id, conversation, contact, account, identifier, line, source_type,
       content, metadata::jsonb, status, error, bucket, path, location, sha256, event_id,
       CASE WHEN status = 'stored' THEN now() END, received_at
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
            $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
            $18::text[], $19::text[], $20::timestamptz[])
  AS given (id, message_key, user_id, chatwoot_message_id, conversation, contact, account, identifier, line,
            source_type, content, metadata, status, error, bucket, path, location, sha256, event_id, received_at)
ORDER BY id
ON CONFLICT (message_key) DO UPDATE SET
  user_id = COALESCE(n.user_id, excluded.user_id), chatwoot_conversation_id = excluded.chatwoot_conversation_id,
  chatwoot_contact_id = excluded.chatwoot_contact_id, chatwoot_account_id = excluded.chatwoot_account_id,
  contact_identifier = excluded.contact_identifier, line = excluded.line, source_type = excluded.source_type,
  content = excluded.content, metadata = excluded.metadata, processing_status = excluded.processing_status,
  error_details = excluded.error_details, bucket = excluded.bucket, object_path = excluded.object_path,
  gcs_storage_path = excluded.gcs_storage_path, sha256 = excluded.sha256, processed_at = excluded.processed_at
WHERE n.processing_status = 'error' AND n.object_path IS NULL
"""
_FILES: Final = """
INSERT INTO note_attachments (id, meeting_note_id, place, attachment_id, kind)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::text[])
ORDER BY 1
ON CONFLICT DO NOTHING
"""
_KNOWN: Final = """
SELECT message_key FROM meeting_notes WHERE message_key = ANY($1) AND object_path IS NOT NULL
"""
_FILE_STATES: Final = """
SELECT a.id, a.status, n.user_id, n.bucket
FROM note_attachments AS a
CROSS JOIN LATERAL (SELECT user_id, bucket FROM meeting_notes WHERE id = a.meeting_note_id LIMIT 1) AS n
WHERE a.id = ANY($1)
"""
_LOCK_NOTES: Final = """
SELECT id, user_id FROM meeting_notes WHERE id = ANY($1) ORDER BY id FOR SHARE
"""
_FILE: Final = """
UPDATE note_attachments SET status = $2, bucket = $3, object_path = $4, storage_path = $5, content_type = $6,
  bytes = $7, sha256 = $8, error = $9, updated_at = now()
WHERE id = $1 AND status <> 'stored'
"""


class NewFile(NamedTuple):
    """A file of a message. *place*: among its files, from 0. *attachment_id*: the system's own."""

    id: UUID
    place: int
    attachment_id: str | None
    kind: str


class Note(NamedTuple):
    """A row of `meeting_notes`. *user*: None where no mapping names one; *fallback* stands for it then. *bucket*,
    *path*, *location*, *sha256*: of its object; None: it has none yet, and *error* says why."""

    id: UUID
    message_key: str
    user: str | None
    fallback: str
    system: str
    message_id: str
    event_id: str
    received_at: datetime
    conversation: str | None = None
    contact: str | None = None
    account: str | None = None
    identifier: str | None = None
    line: str | None = None
    source_type: str = "whatsapp"
    content: str | None = None
    metadata: Mapping[str, Any] = {}
    bucket: str | None = None
    path: str | None = None
    location: str | None = None
    sha256: str | None = None
    files: tuple[NewFile, ...] = ()
    error: str | None = None
    status: Literal["stored", "error"] = "stored"


class FileEnd(NamedTuple):
    """What has become of a file. *user*: of the note, as it was when the bucket was chosen."""

    id: UUID
    note_id: UUID
    status: Literal["stored", "error", "skipped"]
    user: str | None = None
    bucket: str | None = None
    path: str | None = None
    location: str | None = None
    content_type: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    error: str | None = None


class FileState(NamedTuple):
    """How a file stands. *user*, *bucket*: of its note."""

    status: str
    user: str | None
    bucket: str | None


async def keep(conn: Connection, notes: Sequence[Note]) -> None:
    """Keep notes and their files. A note that is archived already stays as it is; of several of one message the last
    one counts."""
    latest = {note.message_key: note for note in notes}
    if not latest:
        return
    rows = [_row(note) for note in latest.values()]
    await conn.execute(_KEEP, *map(list, zip(*rows, strict=True)))
    if files := [(f.id, n.id, f.place, f.attachment_id, f.kind) for n in latest.values() for f in n.files]:
        await conn.execute(_FILES, *map(list, zip(*files, strict=True)))


def _row(note: Note) -> tuple[Any, ...]:
    chatwoot_id = note.message_id if note.system == "chatwoot" else None
    return (
        note.id,
        note.message_key,
        note.user,
        chatwoot_id,
        note.conversation,
        note.contact,
        note.account,
        note.identifier,
        note.line,
        note.source_type,
        note.content,
        json_text(dict(note.metadata)),
        note.status,
        note.error,
        note.bucket,
        note.path,
        note.location,
        note.sha256,
        note.event_id,
        note.received_at,
    )


async def archived(pool: Pool, keys: Sequence[str]) -> set[str]:
    """Those of the messages *keys* that are archived already."""
    return {row["message_key"] for row in await pool.fetch(_KNOWN, list(keys))}


async def file_states(pool: Pool, ids: Sequence[UUID]) -> list[FileState | None]:
    """How each file stands; None for one that has no row."""
    found = {
        row["id"]: FileState(row["status"], row["user_id"], row["bucket"])
        for row in await pool.fetch(_FILE_STATES, list(ids))
    }
    return [found.get(id) for id in ids]


async def end_files(conn: Connection, ends: Sequence[FileEnd]) -> list[UUID]:
    """Keep what has become of files. Returns the notes that got another user meanwhile: their files are to follow."""
    if not ends:
        return []
    ends = sorted(ends, key=lambda one: one.id)
    rows = await conn.fetch(_LOCK_NOTES, list({one.note_id for one in ends}))
    users = {row["id"]: row["user_id"] for row in rows}
    for one in ends:
        told = (one.bucket, one.path, one.location, one.content_type, one.bytes, one.sha256, one.error)
        await conn.execute(_FILE, one.id, one.status, *told)
    return [one.note_id for one in ends if one.status == "stored" and users.get(one.note_id, one.user) != one.user]
