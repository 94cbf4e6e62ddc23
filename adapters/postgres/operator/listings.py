"""What the lists of operators are read from: the rows, their order, and the filters, each of which has an index
(`0034_list_indexes.sql`)."""

from __future__ import annotations

from typing import Final

from adapters.postgres.operator.keyset import Key, Listing

_CREATED: Final = {"since": "created_at >= {n}", "until": "created_at < {n}"}

ORDERS: Final = Listing(
    source="orders",
    columns="order_id, branch, cgb_sync_status AS status, cgb_sync_error AS reason, ordered_at, created_at AS kept_at,"
    " cgb_sync_attempted_at AS attempted_at, cgb_sync_completed_at AS completed_at, client_name AS name,"
    " client_phone_e164 AS phone, cgb_has_whatsapp AS has_whatsapp, cbb_contact_uuid AS contact_id",
    keys=(Key("created_at", "timestamptz"), Key("order_id", "text")),
    conditions={
        "status": "cgb_sync_status = {n}",
        "branch": "branch = {n}",
        "error": "cgb_sync_error IS NOT NULL AND position({n} IN cgb_sync_error) > 0",
        **_CREATED,
    },
)

_MESSAGE: Final = (
    "id, direction, status, provider, account, phone, kind, content::text AS content, purpose, provider_message_id,"
    " error, error_code, attempts, not_before, created_at, sent_at, delivered_at, read_at, failed_at,"
    " evidence::text AS evidence"
)
_NEWEST: Final = (Key("created_at", "timestamptz"), Key("id", "uuid"))

MESSAGES: Final = Listing(
    source="messages",
    columns=_MESSAGE,
    keys=_NEWEST,
    conditions={
        "provider": "provider = {n}",
        "status": "status = {n}",
        "direction": "direction = {n}",
        **_CREATED,
    },
)

UNCERTAIN: Final = Listing(
    source="messages",
    columns=_MESSAGE,
    keys=_NEWEST,
    always="status = 'uncertain'",
    conditions={"provider": "provider = {n}"},
)

DEAD_LETTERS: Final = Listing(
    source="dead_letters",
    columns="id AS number, worker, event_id, replay_id, type, source, subject AS key, time, fingerprint,"
    " error_class, error_code, error_text, attempts, state, buried_at, settled_at, settled_by, retries, edited_at",
    keys=(Key("buried_at", "timestamptz"), Key("id", "bigint")),
    conditions={
        "worker": "worker = {n}",
        "error_class": "error_class = {n}",
        "state": "state = {n}",
        "fingerprint": "fingerprint = {n}",
    },
)

REFUSED: Final = Listing(
    source="refused_requests",
    columns="id AS number, at, source, status, reason, path, remote, body_bytes, suppressed, body IS NOT NULL AS kept,"
    " sent_again_at, sent_again_by, event_ids",
    keys=(Key("at", "timestamptz"), Key("id", "bigint")),
    conditions={
        "source": "source = {n}",
        "reason": "reason = {n}",
        "since": "at >= {n}",
        "until": "at < {n}",
    },
)

CAMPAIGNS: Final = Listing(
    source="campaigns",
    columns="id, name, status, reason, provider, account, template, language, category, rate, created_by, created_at,"
    " started_at, finished_at",
    keys=_NEWEST,
    conditions={"status": "status = {n}"},
)

RECIPIENTS: Final = Listing(
    source="campaign_recipients",
    columns="line, phone, name, status, error, error_code, message_id, fed_at, updated_at",
    keys=(Key("line", "bigint"),),
    conditions={"campaign": "campaign_id = {n}", "status": "status = {n}"},
    ascending=True,
)

TEMPLATES: Final = Listing(
    source="templates",
    columns="provider, account, name, language, category, status, quality, synced_at, gone_at",
    keys=tuple(Key(name, "text") for name in ("provider", "account", "name", "language")),
    conditions={"provider": "provider = {n}", "status": "status = {n}"},
    ascending=True,
)

CONVERSATIONS: Final = Listing(
    source="conversations",
    columns="id, system, chatwoot_conversation_id, phone, name, language, status, assigned, labels, message_count,"
    " COALESCE(last_message_at, created_at) AS newest_at, escalated_at, escalated_why",
    keys=(Key("COALESCE(last_message_at, created_at)", "timestamptz"), Key("id", "bigint")),
    conditions={
        "status": "status = {n}",
        "escalated": "escalated_at IS NOT NULL AND {n}::boolean",
        "not_escalated": "escalated_at IS NULL AND {n}::boolean",
    },
)

REPLAYS: Final = Listing(
    source="replays",
    columns="id, worker, filter::text AS filter, total, published, by, started_at, finished_at",
    keys=(Key("started_at", "timestamptz"), Key("id", "text")),
    conditions={"worker": "worker = {n}"},
)

SYNCS: Final = Listing(
    source="sync_runs",
    columns="id, total, sent, begun_by, started_at, finished_at",
    keys=(Key("started_at", "timestamptz"), Key("id", "text")),
)

AUDIT_LOG: Final = Listing(
    source="audit_log",
    columns="id, at, actor, action, subject, detail::text AS detail",
    keys=(Key("at", "timestamptz"), Key("id", "bigint")),
    conditions={
        "actor": "actor = {n}",
        "action": "action = {n}",
        "subject": "subject = {n}",
        "since": "at >= {n}",
        "until": "at < {n}",
    },
)

PEOPLE: Final = Listing(
    source="contacts c",
    columns="id, name, email, language, newest_order_id, newest_order_at, created_at, updated_at, ARRAY(SELECT value"
    " FROM contact_identities i WHERE i.contact_id = c.id AND i.kind = 'phone' ORDER BY i.id) AS phones",
    keys=_NEWEST,
    always="merged_into IS NULL",
    conditions=_CREATED,
)
