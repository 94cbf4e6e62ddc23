"""A query of transcription reads few rows, also by a plan that the server made while the tables were small."""

from __future__ import annotations

from typing import Final

import pytest

from adapters.postgres import audio_files
from adapters.postgres.pool import Pool
from tests.support.plans import assert_reads_few

MANY: Final = 4000
AT_MOST: Final = 60
FILL: Final = """
WITH notes AS (
  INSERT INTO meeting_notes (id, message_key, content, event_id)
  SELECT md5('n' || n)::uuid, 'n' || n, '[Audio Message]', 'e' FROM generate_series($1::int, $2::int) n RETURNING id
), files AS (
  INSERT INTO note_attachments (id, meeting_note_id, place, kind) SELECT id, id, 0, 'audio' FROM notes RETURNING id
)
INSERT INTO audio_files (id, meeting_note_id, note_attachment_id, transcription, transcription_status)
SELECT id, id, id, 'said', 'completed' FROM files
"""
IDS: Final = "ARRAY[md5('n3')::uuid, md5('n2222')::uuid]"
NONE: Final = "ARRAY[NULL, NULL]"


@pytest.mark.parametrize(
    ("query", "types", "arguments"),
    [
        (audio_files._KNOWN, "uuid[]", IDS),
        (audio_files._LOCK, "uuid[]", IDS),
        (audio_files._SAY, "uuid[], text[], int", f"{IDS}, ARRAY['[Audio Message]'], 100"),
        (
            audio_files._KEEP,
            "uuid[], uuid[], text[], text[], text[], text[], text[], int[], bigint[], text[], bool[]",
            f"{IDS}, {IDS}, {NONE}, {NONE}, ARRAY['error', 'error'], {NONE}, {NONE}, {NONE}::int[], {NONE}::bigint[],"
            f" {NONE}, {NONE}::bool[]",
        ),
    ],
    ids=["known", "lock", "say", "keep"],
)
async def test_a_plan_made_for_few_notes_reads_few_rows_of_many(
    db: Pool, query: str, types: str, arguments: str
) -> None:
    await assert_reads_few(
        db, ("meeting_notes", "note_attachments", "audio_files"), (FILL,), MANY, query, types, arguments, AT_MOST
    )
