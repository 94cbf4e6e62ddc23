"""Rows behind every list of operators, made by SQL; each personal field holds a canary."""

from __future__ import annotations

from typing import Final

from adapters.postgres.pool import Pool

CANARIES: Final = ("5055501", "Dorit", "Canary", "dorit", "secret words")
"""What no list may show: of the phones, names, addresses and texts of these rows."""

PHONE: Final = "'+9725055501' || lpad((n % 100)::text, 2, '0')"
CAMPAIGN: Final = "5f0d9f5c-6c4e-4a0e-9d7e-1f4f1f0d0c01"

ORDERS: Final = f"""
INSERT INTO orders (order_id, branch, client_name, client_email, client_phone, client_phone_e164, ordered_at, raw_body,
  webhook_received_at, created_at, cgb_sync_status, cgb_sync_error)
SELECT 'IL' || lpad(n::text, 9, '0'), CASE WHEN n % 5000 = 3 THEN 'th' ELSE 'il' END, 'Dorit Canary',
  'dorit.canary@example.com', '972', {PHONE}, now(), '{{}}', now(), now() - make_interval(secs => n / 2),
  CASE WHEN n % 5000 = 4 THEN 'failed' ELSE 'synced' END,
  CASE WHEN n % 5000 = 4 THEN 'number ' || {PHONE} || ' of dorit.canary@example.com was refused' END
FROM generate_series($1::int, $2::int) n
"""
MESSAGES: Final = f"""
INSERT INTO messages (id, direction, status, provider, phone, kind, content, purpose, event_id, error, evidence,
  created_at)
SELECT md5('m' || n)::uuid, CASE WHEN n % 5000 = 3 THEN 'in' ELSE 'out' END,
  CASE WHEN n % 5000 = 4 THEN 'uncertain' ELSE 'sent' END, CASE WHEN n % 5000 = 5 THEN 'twilio' ELSE 'meta' END,
  {PHONE}, 'text', '{{"text": "secret words of Dorit Canary", "name": "Dorit Canary", "to": "+972505550142"}}', 'api',
  'e' || n, CASE WHEN n % 5000 = 4 THEN 'no answer for ' || {PHONE} END,
  CASE WHEN n % 5000 = 4 THEN '{{"at": "2031-01-01T00:00:00Z", "found": null, "text": "not +972505550142"}}'::jsonb END,
  now() - make_interval(secs => n / 2)
FROM generate_series($1::int, $2::int) n
"""
EVENTS: Final = f"""
INSERT INTO event_journal (id, type, source, subject, time, data, traceparent, causationid, schemaversion, recorded_at)
SELECT md5('e' || n)::uuid, CASE WHEN n % 5000 = 3 THEN 'template.changed' WHEN n % 2 = 0 THEN 'order.received'
  ELSE 'message.received' END, CASE WHEN n % 5000 = 5 THEN 'whapi' WHEN n % 2 = 0 THEN 'vizi' ELSE 'chatwoot' END,
  {PHONE}, now() - make_interval(secs => n / 2), '{{"text": "secret words"}}', '', '', 1,
  now() - make_interval(secs => n / 2)
FROM generate_series($1::int, $2::int) n
"""
ENDINGS: Final = """
INSERT INTO inbox (worker, event_id, outcome, data_hash, at)
SELECT 'contact-sync', md5('e' || n)::uuid, CASE WHEN n % 1000 = 6 THEN 'skipped' ELSE 'done' END, '',
  now() - make_interval(secs => n / 2)
FROM generate_series($1::int, $2::int) n WHERE n % 2 = 0 AND n % 1000 <> 8
"""
LETTERS: Final = f"""
INSERT INTO dead_letters (worker, event_id, type, source, subject, time, data, traceparent, causationid, schemaversion,
  fingerprint, error_class, error_text, attempts, state, buried_at)
SELECT CASE WHEN n % 5000 = 3 THEN 'crm-labels' ELSE 'contact-sync' END, md5('e' || n)::uuid, 'order.received', 'vizi',
  {PHONE}, now(), '{{"text": "secret words"}}', '', '', 1, CASE WHEN n % 5000 = 6 THEN 'rare' ELSE 'frequent' END,
  CASE WHEN n % 5000 = 4 THEN 'Refused' ELSE 'Malformed' END,
  'client dorit.canary@example.com at ' || {PHONE}, 1, CASE WHEN n % 5000 = 5 THEN 'open' ELSE 'discarded' END,
  now() - make_interval(secs => n / 2)
FROM generate_series($1::int, $2::int) n
"""
REFUSED: Final = f"""
INSERT INTO refused_requests (source, reason, status, headers, path, at)
SELECT CASE WHEN n % 5000 = 3 THEN 'meta' ELSE 'orders' END, CASE WHEN n % 5000 = 4 THEN 'too large' ELSE 'signature'
  END, 401, '{{}}', '/webhooks/' || {PHONE}, now() - make_interval(secs => n / 2)
FROM generate_series($1::int, $2::int) n
"""
CAMPAIGNS: Final = f"""
INSERT INTO campaigns (id, name, status, provider, account, template, category, rate, duplicates, created_by,
  created_at)
SELECT CASE WHEN n = 1 THEN '{CAMPAIGN}'::uuid ELSE md5('c' || n)::uuid END, 'june-' || n,
  CASE WHEN n % 5000 = 3 THEN 'paused' ELSE 'done' END, 'meta', 'default', 'news', 'utility', 1, 0, 'cli',
  now() - make_interval(secs => n / 2)
FROM generate_series($1::int, $2::int) n
"""
RECIPIENTS: Final = f"""
INSERT INTO campaign_recipients (campaign_id, line, phone, person, name, variables, status)
SELECT '{CAMPAIGN}', n, {PHONE}, 'p' || n, 'Dorit Canary', '{{"1": "secret words"}}',
  CASE WHEN n % 5000 = 3 THEN 'failed' ELSE 'sent' END FROM generate_series($1::int, $2::int) n
"""
TEMPLATES: Final = """
INSERT INTO templates (provider, account, name, language, status, parameter_format, components, synced_at)
SELECT CASE WHEN n % 5000 = 3 THEN 'twilio' ELSE 'meta' END, 'default', 'news-' || n, 'en',
  CASE WHEN n % 5000 = 4 THEN 'PAUSED' ELSE 'APPROVED' END, 'positional', '[]', now()
FROM generate_series($1::int, $2::int) n
"""
CONVERSATIONS: Final = f"""
INSERT INTO conversations (chat, system, chatwoot_account_id, chatwoot_conversation_id, line, phone, name, status,
  last_message_at, escalated_at, escalated_why)
SELECT 'chatwoot:3:' || n, 'chatwoot', 3, n, {PHONE}, {PHONE}, 'Dorit Canary',
  CASE WHEN n % 5000 = 4 THEN 'snoozed' ELSE 'open' END, now() - make_interval(secs => n / 2),
  CASE WHEN n % 5000 = 3 THEN now() END, CASE WHEN n % 5000 = 3 THEN 'asked by dorit.canary@example.com' END
FROM generate_series($1::int, $2::int) n
"""
REPLAYS: Final = """
INSERT INTO replays (id, worker, filter, total, until, started_at)
SELECT 'contact-sync:' || n, CASE WHEN n % 5000 = 3 THEN 'crm-labels' ELSE 'contact-sync' END,
  '{"types": ["order.received"], "key": ["+972505550142"]}', 1, 1, now() - make_interval(secs => n / 2)
FROM generate_series($1::int, $2::int) n
"""
SYNCS: Final = """
INSERT INTO sync_runs (id, filter, total, begun_by, started_at)
SELECT 'contact-sync:sync-' || n, '{}', 1, 'ops', now() - make_interval(secs => n / 2)
FROM generate_series($1::int, $2::int) n
"""
AUDIT_LOG: Final = """
INSERT INTO audit_log (actor, action, subject, detail, at)
SELECT CASE WHEN n % 5000 = 3 THEN 'ops' ELSE 'ferryman' END, CASE WHEN n % 5000 = 4 THEN 'person.revealed' ELSE
  'order.changed' END, CASE WHEN n % 5000 = 5 THEN 'person:1' ELSE 'order:' || n END,
  '{"note": "told by +972505550142"}', now() - make_interval(secs => n / 2)
FROM generate_series($1::int, $2::int) n
"""
PEOPLE: Final = """
INSERT INTO contacts (id, name, email, created_at)
SELECT md5('p' || n)::uuid, 'Dorit Canary', 'dorit.canary@example.com', now() - make_interval(secs => n / 2)
FROM generate_series($1::int, $2::int) n
"""
PHONES: Final = """
INSERT INTO contact_identities (contact_id, kind, value)
SELECT md5('p' || n)::uuid, 'phone', '+9725055501' || lpad(n::text, 2, '0') FROM generate_series($1::int, $2::int) n
"""

EVERY: Final = (
    ORDERS, MESSAGES, EVENTS, ENDINGS, LETTERS, REFUSED, CAMPAIGNS, RECIPIENTS, TEMPLATES, CONVERSATIONS, REPLAYS,
    SYNCS, AUDIT_LOG, PEOPLE, PHONES,
)  # fmt: skip


async def fill(db: Pool, count: int) -> None:
    """*count* rows behind every list, fewer than 100."""
    for each in EVERY:
        await db.execute(each, 1, count)
