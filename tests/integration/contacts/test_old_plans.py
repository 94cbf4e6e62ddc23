"""A query of the contact sync reads few rows, also by a plan that the server made while the tables were small."""

from __future__ import annotations

import pytest

from adapters.postgres import (
    automatic,
    campaign_feed,
    chat_messages,
    contacts,
    crm,
    messages,
    moves,
    people,
    person_orders,
    templates,
    told_fields,
    whatsapp_checks,
)
from adapters.postgres.pool import Pool
from tests.support.plans import assert_reads_few

PEOPLE = 4_000
AT_MOST = 200
_PEOPLE = """
WITH made AS (
  INSERT INTO contacts (id, name) SELECT md5('n' || n)::uuid, 'n' || n FROM generate_series($1::int, $2::int) n
  RETURNING id, name
)
INSERT INTO contact_identities (contact_id, kind, value)
SELECT id, 'phone', '+97250' || lpad(substr(name, 2), 7, '0') FROM made
UNION ALL SELECT id, 'cgb', substr(name, 2) FROM made
"""
_ORDERS = """
INSERT INTO orders (order_id, client_phone_e164, cgb_sync_status, ordered_at, webhook_received_at, raw_body)
SELECT 'IL' || n, '+97250' || lpad(n::text, 7, '0'), 'synced', now(), now(), '{}'
FROM generate_series($1::int, $2::int) n
"""
_CHECKS = """
INSERT INTO whatsapp_checks (phone, has_whatsapp, source, checked_at, expires_at)
SELECT '+97250' || lpad(n::text, 7, '0'), false, 'cgb', now(), now() + interval '1 day'
FROM generate_series($1::int, $2::int) n
"""
_TOLD = """
INSERT INTO told_fields (line, field, value, told_at, event_id, owner, taken)
SELECT '+97250' || lpad(n::text, 7, '0'), 'Email', 'n', now(), 'e', 'newest', true
FROM generate_series($1::int, $2::int) n
"""
_MESSAGES = """
WITH made AS (
  INSERT INTO messages (id, direction, status, provider, phone, kind, content, purpose, event_id)
  SELECT md5('n' || n)::uuid, 'out', 'queued', 'meta', '+97250' || lpad(n::text, 7, '0'), 'text', '{}', 'test', 'e'
  FROM generate_series($1::int, $2::int) n RETURNING phone
), windows AS (
  INSERT INTO customer_windows (line, system, written_at) SELECT phone, 'meta', now() FROM made RETURNING line
)
INSERT INTO opt_outs (line, scope, opted_out, at, source) SELECT line, 'all', true, now(), 'message' FROM windows
"""
_TEMPLATES = """
WITH synced AS (
  INSERT INTO template_syncs (provider, account, synced_at) VALUES ('meta', 'default', now()) ON CONFLICT DO NOTHING
)
INSERT INTO templates (provider, account, name, language, status, parameter_format, components, synced_at)
SELECT 'meta', 'default', 'n' || n, 'he', 'APPROVED', 'positional', '[]', now()
FROM generate_series($1::int, $2::int) n
"""
_AUTOMATIC = """
WITH states AS (
  INSERT INTO automatic_orders (order_id, ordered_at, form_revision, received_at)
  SELECT 'IL' || n, now(), 0, now() FROM generate_series($1::int, $2::int) n
)
INSERT INTO automatic_messages (message_id, order_id, kind, subject, rule, trigger)
SELECT md5('n' || n)::uuid, 'IL' || n, 'k', '', 'r', 'order.received' FROM generate_series($1::int, $2::int) n
"""
_CAMPAIGNS = """
WITH campaign AS (
  INSERT INTO campaigns (id, name, provider, account, template, category, rate, duplicates, created_by)
  VALUES (md5('campaign')::uuid, 'campaign', 'meta', 'default', 't', 'utility', 1, 0, 'ops') ON CONFLICT DO NOTHING
)
INSERT INTO campaign_recipients (campaign_id, line, phone, person, variables, status, message_id, fed_at, error_code)
SELECT md5('campaign')::uuid, n, m.phone, m.phone, '{}', CASE WHEN n % 400 = 3 THEN 'queued' WHEN n % 2 = 0 THEN 'sent'
  ELSE 'pending' END, m.id, CASE WHEN n % 2 = 0 OR n % 400 = 3 THEN now() END, NULL
FROM generate_series($1::int, $2::int) n JOIN messages m ON m.id = md5('n' || n)::uuid
"""
_CRM = """
WITH labels AS (
  INSERT INTO crm_labels (account_id, conversation_id, put, wished, posted)
  SELECT 3, n, '{}', '{}', '[]' FROM generate_series($1::int, $2::int) n
), counted AS (
  INSERT INTO crm_messages (message_key) SELECT 'meta:' || n FROM generate_series($1::int, $2::int) n
)
INSERT INTO crm_people (account_id, person, messages, heard, attributes, conversation_id)
SELECT 3, '+97250' || lpad(n::text, 7, '0'), 1, '{}', '{}', n FROM generate_series($1::int, $2::int) n WHERE n % 2 = 0
"""
_FILL = (_PEOPLE, _ORDERS, _CHECKS, _TOLD, _MESSAGES, _TEMPLATES, _AUTOMATIC, _CAMPAIGNS, _CRM)
_TABLES = (
    *("orders", "contacts", "contact_identities", "whatsapp_checks", "told_fields"),
    *("messages", "customer_windows", "opt_outs", "templates", "automatic_orders", "automatic_messages"),
    *("campaign_recipients", "crm_people", "crm_labels", "crm_messages"),
)
_PHONES = "ARRAY['+972500000003', '+972500002222']"
_OTHERS = "ARRAY[NULL, '+972500002223']"
_CAMPAIGN = "md5('campaign')::uuid"
_ASKED = "ARRAY['+972500000003', '+972500002222'], ARRAY['IL3', 'IL2222']"


@pytest.mark.parametrize(
    ("query", "types", "arguments"),
    [
        (
            person_orders._ORDERS,
            "text[], text[], boolean[], text[], text[]",
            f"{_ASKED}, ARRAY[false, false], {_OTHERS}, {_PHONES}",
        ),
        (
            contacts._WRITTEN,
            "text[], text[], bytea[], bigint[], text[]",
            rf"{_ASKED}, ARRAY['\x00'::bytea, '\x01'::bytea], ARRAY[0, 0], ARRAY['', '']",
        ),
        (
            messages._STATES,
            "uuid[], text[], text[]",
            f"ARRAY[md5('n3')::uuid, md5('n2222')::uuid], {_PHONES}, ARRAY['meta', 'meta']",
        ),
        (messages._THERE, "uuid[]", "ARRAY[md5('n3')::uuid, md5('n2222')::uuid]"),
        (chat_messages._NAMED, "text[], text", "ARRAY['meta', 'whapi'], 'wamid.3'"),
        (
            moves._STANDING,
            "uuid, text, text[], text, text, text",
            "md5('n3')::uuid, '+972500000003', ARRAY['meta'], NULL, 'meta', 'default'",
        ),
        (automatic._KNOWN, "text[], text[]", f"ARRAY['IL3', 'IL2222'], {_PHONES}"),
        (automatic._LOCK, "text[]", "ARRAY['IL3', 'IL2222']"),
        (automatic._NOTED, "text[]", "ARRAY['IL3', 'IL2222']"),
        (campaign_feed._DUE, "uuid, int, text", f"{_CAMPAIGN}, 20, 'utility'"),
        (campaign_feed._UNDER_WAY, "uuid", _CAMPAIGN),
        (campaign_feed._HAS_PENDING, "uuid", _CAMPAIGN),
        (campaign_feed._QUEUED, "uuid, timestamptz", f"{_CAMPAIGN}, now()"),
        (campaign_feed._LOCK_QUEUED, "uuid[]", "ARRAY[md5('n3')::uuid, md5('n2222')::uuid]"),
        (campaign_feed._LAST_FAULT, "uuid, timestamptz", f"{_CAMPAIGN}, '-infinity'"),
        (campaign_feed._VERDICTS, "uuid, timestamptz, timestamptz, int, int", f"{_CAMPAIGN}, '-infinity', now(), 9, 5"),
        (
            campaign_feed._FED,
            "uuid, int, uuid, timestamptz",
            f"{_CAMPAIGN}, 3, md5('n3')::uuid, now()",
        ),
        (campaign_feed._PENDING_AGAIN, "uuid[]", "ARRAY[md5('n3')::uuid, md5('n2222')::uuid]"),
        (told_fields._PHONES, "text[]", "ARRAY['3', '2222']"),
        (whatsapp_checks._KNOWN, "text[]", _PHONES),
        (whatsapp_checks._COUNTING, "text[]", _PHONES),
        (whatsapp_checks._SHOW, "text[]", "ARRAY['IL3', 'IL2222']"),
        (whatsapp_checks._SHOW_BY_PHONE, "text[]", _PHONES),
        (people._FIND, "text[], text[]", "ARRAY['phone', 'email'], ARRAY['+972500000003', '+972500002222']"),
        (people._LOCK_CONTACTS, "uuid[]", "ARRAY[md5('n3')::uuid, md5('n2222')::uuid]"),
        (people._LOCKED, "uuid[]", "ARRAY[md5('n3')::uuid, md5('n2222')::uuid]"),
        (contacts._FORGET, "text[]", _PHONES),
        (
            crm._STANDING,
            "bigint, text[], text[], text[], timestamptz[], bigint[], int",
            f"3, {_PHONES}, ARRAY['meta:3', 'meta:9999'], {_PHONES}, ARRAY[now(), now()], ARRAY[3, NULL], 1000",
        ),
        (templates._KNOWN, "text, text, text", "'meta', 'default', 'n3'"),
        (
            templates._STANDINGS,
            "text[], text[], text[], text[]",
            "ARRAY['meta', 'meta'], ARRAY['default', 'default'], ARRAY['n3', 'n2222'], ARRAY['he', 'he']",
        ),
    ],
)
async def test_a_plan_made_for_few_people_reads_few_rows_of_many(
    db: Pool, query: str, types: str, arguments: str
) -> None:
    await assert_reads_few(db, _TABLES, _FILL, PEOPLE, query, types, arguments, AT_MOST)
