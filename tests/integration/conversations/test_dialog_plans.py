"""A query about one conversation reads few rows of many, also by a plan that the server made while the tables were
small."""

from __future__ import annotations

import pytest

from adapters.postgres import buffered_messages, conversations, crm_told, dialogs, messages
from adapters.postgres.pool import Pool
from tests.support.plans import assert_reads_few

MANY = 4_000
AT_MOST = 200
_CONVERSATIONS = """
INSERT INTO conversations (chat, system, subject, line, phone, last_message_at, settles_at, due_at, context_json)
SELECT 'chatwoot:1:' || n, 'chatwoot', 'n' || n, 'line' || n, '+97250' || lpad(n::text, 7, '0'), now(),
       CASE WHEN n % 400 = 3 THEN now() END, CASE WHEN n % 400 = 3 THEN now() END, '{}'
FROM generate_series($1::int, $2::int) n
"""
_BUFFERED = """
INSERT INTO buffered_messages (chat, message_key, event_id, place, at, kind, text, source_id, understood_at, intent)
SELECT 'chatwoot:1:' || n, 'chatwoot:' || n, 'e', n, now(), 'text', 'hello', 'wamid.' || n,
       CASE WHEN n % 400 <> 3 THEN now() END, 'NOTE'
FROM generate_series($1::int, $2::int) n
"""
_MESSAGES = """
INSERT INTO messages (id, direction, status, provider, phone, kind, content, purpose, event_id, provider_message_id)
SELECT md5('n' || n)::uuid, 'out', 'sent', 'chatwoot', '+97250' || lpad(n::text, 7, '0'), 'text', '{}', 'test', 'e',
       n::text
FROM generate_series($1::int, $2::int) n
"""
_FILL = (_CONVERSATIONS, _BUFFERED, _MESSAGES)
_CHATS = "ARRAY['chatwoot:1:3', 'chatwoot:1:2222']"
_KEYS = "ARRAY['chatwoot:3', 'chatwoot:2222']"
_NOW = "now() + interval '1 minute'"


@pytest.mark.parametrize(
    ("query", "types", "arguments"),
    [
        (
            conversations._STANDING,
            "text[], text[], text[], text[]",
            f"{_CHATS}, {_KEYS}, ARRAY['chatwoot', ''], ARRAY['3', '']",
        ),
        (conversations._LOCK, "text[]", _CHATS),
        (conversations._OF_LINE, "text", "'line2222'"),
        (dialogs._DIALOG_OF, "text, bigint, bigint", "'line2222', 1, 1"),
        (dialogs._WORD, "text, text", "'+972500002222', '2222'"),
        (conversations._TAKE.format(at="settles_at"), "timestamptz, int", f"{_NOW}, 5"),
        (conversations._TAKE.format(at="due_at"), "timestamptz, int", f"{_NOW}, 5"),
        (
            crm_told._TELL,
            "text, text, boolean, timestamptz, boolean, text[], timestamptz",
            "'chatwoot:1:3', 'open', true, now(), false, ARRAY['vip'], now()",
        ),
        (crm_told._LABELLED, "text, text[]", "'chatwoot:1:3', ARRAY['vip']"),
        (buffered_messages._OF_KEY, "text", "'chatwoot:2222'"),
        (
            buffered_messages._TWINS,
            "text[], text[], text[], timestamptz[], text, text, text",
            f"{_KEYS}, ARRAY['wamid.3', NULL], ARRAY['hello', 'hello'], ARRAY[now(), now()], 'meta:1:2', 'w', 'line9'",
        ),
        (
            buffered_messages._UNDERSTAND,
            "text[], timestamptz, text, real, text",
            f"{_KEYS}, now(), 'NOTE', 1, 'r'",
        ),
        (buffered_messages._COUNT, "", ""),
        (messages._STATUSES, "uuid[]", "ARRAY[md5('n3')::uuid, md5('n2222')::uuid]"),
    ],
)
async def test_a_plan_made_for_few_conversations_reads_few_rows_of_many(
    db: Pool, query: str, types: str, arguments: str
) -> None:
    await assert_reads_few(
        db, ("conversations", "buffered_messages", "messages"), _FILL, MANY, query, types, arguments, AT_MOST
    )
