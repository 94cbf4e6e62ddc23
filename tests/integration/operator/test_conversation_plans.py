"""What is asked about conversations reads few rows of many, by an index."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from adapters.postgres.operator import conversation_parts as parts
from adapters.postgres.operator import conversations as stored
from adapters.postgres.pool import Pool
from tests.support.plans import nodes

PEOPLE: Final = 4_000
AT_MOST: Final = 1_000
_FILL: Final = """
WITH people AS (SELECT n, '+97250' || lpad(n::text, 7, '0') AS phone FROM generate_series(1, $1::int) n),
chats AS (
  INSERT INTO conversations (chat, system, chatwoot_account_id, chatwoot_conversation_id, line, phone, name,
    last_message_at, context_json, escalated_at, settles_at)
  SELECT 'chatwoot:3:' || n, 'chatwoot', 3, n, phone, phone, 'Name' || n, now() - make_interval(secs => n),
    CASE WHEN n % 400 = 3 THEN '{"clarifyingField": "tone"}'::jsonb ELSE '{}' END,
    CASE WHEN n % 400 = 4 THEN now() END, CASE WHEN n % 400 = 5 THEN now() END FROM people
), notes AS (
  INSERT INTO meeting_notes (id, message_key, chatwoot_message_id, chatwoot_conversation_id, chatwoot_account_id,
    contact_identifier, line, event_id)
  SELECT md5('n' || n)::uuid, 'chatwoot:' || n, n, n, 3, phone, phone, 'e' || n FROM people
), said AS (
  INSERT INTO messages (id, direction, status, provider, phone, kind, content, purpose, provider_message_id, event_id)
  SELECT md5('m' || n)::uuid, 'in', 'received', 'chatwoot', phone, 'text', '{}', 'person', n, 'e' || n FROM people
), held AS (
  INSERT INTO buffered_messages (chat, message_key, event_id, place, at, kind, understood_at)
  SELECT 'chatwoot:3:' || n, 'chatwoot:' || n, 'e' || n, n, now(), 'text', CASE WHEN n % 400 <> 6 THEN now() END
  FROM people
), agents AS (
  INSERT INTO agent_replies (event_id, chat, at) SELECT 'r' || n, 'chatwoot:3:' || n, now() FROM people
), ordered AS (
  INSERT INTO content_orders (id, params_json, chat, event_id)
  SELECT md5('o' || n)::uuid, '{}', 'chatwoot:3:' || n, 'e' || n FROM people
)
INSERT INTO dead_letters (worker, event_id, type, source, subject, time, data, traceparent, causationid, schemaversion,
  error_class, error_text, attempts)
SELECT 'w', 'e' || n, 'message.received', 's', phone, now(), '{}', '', '', 1, 'Malformed', 'x', 1 FROM people
"""
_FILES: Final = """
INSERT INTO note_attachments (id, meeting_note_id, place, kind, status)
SELECT md5('a' || n)::uuid, md5('n' || n)::uuid, 0, 'voice', CASE WHEN n % 400 = 7 THEN 'pending' ELSE 'stored' END
FROM generate_series(1, $1::int) n
"""
_TEXTS: Final = """
INSERT INTO audio_files (id, meeting_note_id, note_attachment_id, transcription_status)
SELECT md5('f' || n)::uuid, md5('n' || n)::uuid, md5('a' || n)::uuid,
  CASE WHEN n % 400 = 8 THEN 'pending' ELSE 'completed' END FROM generate_series(1, $1::int) n
"""
_PHONES: Final = "ARRAY['+972500000003', '+972500002222']"
_NOW: Final = "now(), 9223372036854775807, 20"


def _of_kinds(kinds: str) -> str:
    return stored._LIST.format(more=stored._OF_KINDS.format(kinds=kinds))


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        (stored._LIST.format(more=""), _NOW),
        (_of_kinds(stored._OPEN), _NOW),
        (_of_kinds(f"{stored._OPEN} UNION {stored._ESCALATED}"), _NOW),
        (_of_kinds(stored._WAITING.replace("$LINES", "$4")), f"{_NOW}, {_PHONES}"),
        (stored._LIST.format(more=stored._ONES), f"{_NOW}, ARRAY[3, 2222]::bigint[]"),
        (stored._BY_CHATWOOT, "481, NULL, 20"),
        (stored._BY_LINE, f"{_PHONES}, NULL, 20"),
        (stored._BY_NAME, "'''name2222'':*', 20, 1000"),
        (stored._BY_KEY, "ARRAY['chatwoot:3', 'meta:3'], 20"),
        (stored._BY_PROVIDER_ID, "ARRAY['chatwoot', 'meta'], '3', 20"),
        (stored._BY_MESSAGE, "md5('m3')::uuid, md5('m3')::uuid, 20"),
        (stored._BY_ORDER, "md5('o3')::uuid, md5('o3')::uuid, 20"),
        (
            parts._MESSAGES,
            f"{_PHONES}, ARRAY['chatwoot'], ARRAY['chatwoot'], 3, 3, ARRAY[md5('m7')::uuid], ARRAY['9'], 50",
        ),
        (parts._NOTES_IN_CHATWOOT, "481, 3, 50"),
        (parts._NOTES_OF_PERSON, f"{_PHONES}, 'meta:', 50"),
        (parts._NOTES_OF_MESSAGES, "ARRAY['chatwoot:3', 'chatwoot:4']"),
        (parts._FILES, "ARRAY[md5('n3')::uuid, md5('n4')::uuid]"),
        (parts._WAITING, "'chatwoot:3:6', ARRAY['chatwoot:3'], 50"),
        (parts._AGENTS, "'chatwoot:3:6', 50"),
        (parts._ORDERS, "'chatwoot:3:6', 20"),
        (parts._LETTERS, f"{_PHONES}, ARRAY['message.received'], 20"),
    ],
)
async def test_a_question_about_conversations_reads_few_rows_of_many(db: Pool, query: str, arguments: str) -> None:
    for fill in (_FILL, _FILES, _TEXTS):
        await db.execute(fill, PEOPLE)
    await db.execute("ANALYZE")
    (plan,) = json.loads(await db.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {_with(query, arguments)}"))
    read = sum(_read(node) for node in nodes(plan["Plan"]))
    assert read < AT_MOST, json.dumps(plan["Plan"], indent=1)


def _read(node: Any) -> float:
    """Rows that a node has looked at."""
    return float((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])


def _with(query: str, arguments: str) -> str:
    """*query* with *arguments* in their places."""
    depth, parted, part = 0, list[str](), ""
    for character in arguments:
        depth += {"[": 1, "(": 1, "]": -1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parted, part = [*parted, part], ""
        else:
            part += character
    for number, value in reversed(list(enumerate([*parted, part], 1))):
        query = query.replace(f"${number}", f"({value.strip()})")
    return query
