"""The `audio_files` table, and the transcripts in `meeting_notes`. In batches; every write is harmless to repeat, and
locks rows in the order that `adapters.postgres.notes` tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias
from uuid import UUID

from adapters.postgres.pool import Connection, Pool

Status: TypeAlias = Literal["pending", "processing", "completed", "error", "skipped"]

LONGEST_ERROR: Final = 500


class AudioRow(NamedTuple):
    """How the transcription of a voice note stands. *id*: that of the file. *attachment*: Chatwoot's id of it. *path*:
    of its object, where the file's own row does not say. *error*: why it failed, is skipped, or waits. *ended*:
    whether nothing more comes of it."""

    id: UUID
    note_id: UUID
    attachment: str | None
    path: str
    status: Status
    text: str | None
    error: str | None
    duration_s: int | None
    size: int
    model: str | None
    ended: bool


# Notes are locked before the rows of their files, as where they get another user: so a file follows its note, whichever
# is first.
_LOCK: Final = "SELECT 1 FROM meeting_notes WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"

_KEEP: Final = """
INSERT INTO audio_files AS a (id, user_id, meeting_note_id, note_attachment_id, chatwoot_attachment_id,
  contact_identifier, file_path, transcription, transcription_status, transcription_error, duration_seconds,
  original_file_size, openai_model, processed_at)
SELECT g.id, n.user_id, n.id, f.id, g.attachment, n.contact_identifier, COALESCE(f.storage_path, g.path), g.text,
  g.status, g.error, g.duration, g.size, g.model, CASE WHEN g.ended THEN now() END
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int[], $9::bigint[],
  $10::text[], $11::bool[]) AS g (id, note_id, attachment, path, status, text, error, duration, size, model, ended)
CROSS JOIN LATERAL (SELECT id, user_id, contact_identifier FROM meeting_notes WHERE id = g.note_id LIMIT 1) n
LEFT JOIN LATERAL (SELECT id, storage_path FROM note_attachments WHERE id = g.id LIMIT 1) f ON true
ORDER BY g.id
ON CONFLICT (id) DO UPDATE SET
  user_id = EXCLUDED.user_id,
  transcription = EXCLUDED.transcription,
  transcription_status = EXCLUDED.transcription_status,
  transcription_error = EXCLUDED.transcription_error,
  duration_seconds = COALESCE(EXCLUDED.duration_seconds, a.duration_seconds),
  original_file_size = EXCLUDED.original_file_size,
  openai_model = COALESCE(EXCLUDED.openai_model, a.openai_model),
  processed_at = EXCLUDED.processed_at
WHERE a.transcription_status <> 'completed' OR EXCLUDED.transcription_status = 'completed'
"""

# A note with several files says what was said in all of them, in their order. What the row of a file must be is asked
# of the aggregate: asked of the rows, a plan that was made for few would read all that are completed.
_SAY: Final = """
WITH mine AS MATERIALIZED (
  SELECT id FROM meeting_notes
  WHERE id = ANY ($1::uuid[])
    AND (COALESCE(content, '') = '' OR content = ANY ($2::text[]) OR metadata @> '{"transcribed": true}')
)
UPDATE meeting_notes n SET content = left(said.text, $3::int), metadata = n.metadata || '{"transcribed": true}'
FROM mine CROSS JOIN LATERAL (
  SELECT string_agg(a.transcription, E'\\n' ORDER BY f.place, a.id)
    FILTER (WHERE a.transcription_status = 'completed' AND a.transcription <> '') AS text
  FROM audio_files a LEFT JOIN note_attachments f ON f.id = a.note_attachment_id
  WHERE a.meeting_note_id = mine.id
) said
WHERE n.id = mine.id AND said.text IS NOT NULL
"""

_KNOWN: Final = """
SELECT id, CASE WHEN transcription_status = 'completed' THEN transcription END AS transcription
FROM audio_files WHERE id = ANY ($1::uuid[])
"""


async def keep(conn: Connection, rows: Sequence[AudioRow], placeholders: Sequence[str], most: int) -> None:
    """Write a batch; of several rows of one file the last counts. A transcript that there is stays, whatever is tried
    again. Rows of notes that are gone are left out.

    Notes whose content is one of *placeholders*, or nothing, say what was said in their files, at most *most*
    characters; `metadata.transcribed` marks them.
    """
    if not rows:
        return
    last = {row.id: row for row in rows}
    cut = [row._replace(error=None if row.error is None else row.error[:LONGEST_ERROR]) for row in last.values()]
    await conn.execute(_LOCK, sorted({row.note_id for row in cut}))
    await conn.execute(_KEEP, *map(list, zip(*cut, strict=True)))
    if said := {row.note_id for row in cut if row.status == "completed"}:
        await conn.execute(_SAY, sorted(said), list(placeholders), most)


async def known(pool: Pool, files: Sequence[UUID]) -> list[str | None]:
    """The transcript of each of *files*, None where there is none yet."""
    found = {row["id"]: row["transcription"] for row in await pool.fetch(_KNOWN, list(files))}
    return [found.get(id) for id in files]
