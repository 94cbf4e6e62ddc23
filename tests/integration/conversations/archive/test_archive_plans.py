"""A query of the archive reads few rows of many, also by a plan that the server made while the tables were small."""

from __future__ import annotations

import pytest

from adapters.postgres import archive, notes, users
from adapters.postgres.pool import Pool
from tests.support.plans import assert_reads_few

PEOPLE = 4_000
AT_MOST = 200
TABLES = (
    "meeting_notes",
    "note_attachments",
    "whatsapp_user_mapping",
    "user_bucket_mapping",
    "archive_objects",
    "archive_moves",
    "archive_moved",
    "contacts",
    "contact_identities",
)
FILL = (
    """
    WITH made AS (
      INSERT INTO contacts (id) SELECT md5('n' || n)::uuid FROM generate_series($1::int, $2::int) n RETURNING id)
    SELECT count(*) FROM made""",
    """
    INSERT INTO contact_identities (contact_id, kind, value)
    SELECT md5('n' || n)::uuid, 'phone', '+97250' || lpad(n::text, 7, '0') FROM generate_series($1::int, $2::int) n
    UNION ALL SELECT md5('n' || n)::uuid, 'chatwoot', '3:' || n FROM generate_series($1::int, $2::int) n""",
    """
    INSERT INTO meeting_notes
      (id, message_key, line, chatwoot_account_id, chatwoot_contact_id, event_id, bucket, object_path)
    SELECT md5('n' || n)::uuid, 'chatwoot:' || n, '+97250' || lpad(n::text, 7, '0'), '3', n::text, 'e', 'b', 'p'
    FROM generate_series($1::int, $2::int) n""",
    """
    INSERT INTO note_attachments (id, meeting_note_id, place, kind, status)
    SELECT md5('a' || n)::uuid, md5('n' || n)::uuid, 0, 'image', 'stored' FROM generate_series($1::int, $2::int) n""",
    """
    INSERT INTO whatsapp_user_mapping (user_id, whatsapp_number, chatwoot_contact_id, chatwoot_account_id, applied_at)
    SELECT 'u' || n, '+97250' || lpad(n::text, 7, '0'), n, '3', now() FROM generate_series($1::int, $2::int) n""",
    "INSERT INTO user_bucket_mapping (user_id, bucket_name) SELECT 'u' || n, 'b' || n"
    " FROM generate_series($1::int, $2::int) n",
    "INSERT INTO archive_objects (bucket, path, content_type, body) SELECT 'b', 'p' || n, 't', ''"
    " FROM generate_series($1::int, $2::int) n",
    "INSERT INTO archive_moves (meeting_note_id) SELECT md5('n' || n)::uuid FROM generate_series($1::int, $2::int) n",
    "INSERT INTO archive_moved (bucket, path, to_bucket) SELECT 'b', 'p' || n, 'c'"
    " FROM generate_series($1::int, $2::int) n",
)
IDS = "ARRAY[md5('n3')::uuid, md5('n2222')::uuid]"
PHONES = "ARRAY['+972500000003', '+972500002222']"


@pytest.mark.parametrize(
    ("query", "types", "arguments"),
    [
        (notes._KNOWN, "text[]", "ARRAY['chatwoot:3', 'chatwoot:2222']"),
        (notes._FILE_STATES, "uuid[]", "ARRAY[md5('a3')::uuid, md5('a2222')::uuid]"),
        (notes._LOCK_NOTES, "uuid[]", IDS),
        (
            users._FIND,
            "int[], text[], text[], int[], text[]",
            "ARRAY[0, 1], ARRAY['3', '3'], ARRAY['3', '2222'], ARRAY[0], ARRAY['972500000003']",
        ),
        (users._SAME_PERSON, "int[], text[], text[]", f"ARRAY[0, 1], ARRAY['phone', 'phone'], {PHONES}"),
        (users._BUCKETS, "text[]", "ARRAY['u3', 'u2222']"),
        (users._UNAPPLIED, "int, int", "60, 5"),
        (users._UNMAPPED, "text[], text[], text[], int", f"{PHONES}, ARRAY['3'], ARRAY['17'], 200"),
        (users._LOCK_UNMAPPED, "uuid[]", IDS),
        (users._ASSIGN, "uuid[], text[]", f"{IDS}, ARRAY['u3', 'u2222']"),
        (archive._TAKE, "int, int", "8, 120"),
        (archive._KNOWN, "text, text", "'b', 'p3'"),
        (archive._TAKE_MOVES, "int, int", "8, 120"),
        (archive._STORED_FILES, "uuid[]", IDS),
        (archive._WAITS, "text[], text[]", "ARRAY['b', 'b'], ARRAY['p3', 'p2222']"),
        (archive._NOW_IN, "text, text", "'b', 'p3'"),
    ],
)
async def test_a_plan_made_for_few_reads_few_rows_of_many(db: Pool, query: str, types: str, arguments: str) -> None:
    await assert_reads_few(db, TABLES, FILL, PEOPLE, query, types, arguments, AT_MOST)
