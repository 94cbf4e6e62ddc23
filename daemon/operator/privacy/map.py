"""The map of what is kept about people: each column of the database, each key of Redis, the archive and the logs.

`deploy/PRIVACY.md` is made of it. A column that is in no row of it fails a test: whoever adds one says here what it
tells of a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from daemon.settings.model import Settings

_EVENTS: Final = "`FERRYMAN_INBOX_DAYS`"
_NO_TERM: Final = "until erased"
_DELETED: Final = "deleted"
_NOBODY: Final = ""

_JOURNAL: Final = "id type source time causationid schemaversion"


class Held(NamedTuple):
    """What a place holds. *place*: a table, or another place by its name. *columns*: of the table, parted by spaces.
    *about*: what they tell of a person, "" for nothing. *purpose*: what for. *kept*: for how long. *erased*: what an
    erasure does."""

    place: str
    columns: str
    about: str
    purpose: str
    kept: str
    erased: str = _DELETED


def _none(place: str, columns: str, purpose: str, kept: str = "while it is in use") -> Held:
    return Held(place, columns, _NOBODY, purpose, kept, "nothing to do")


TABLES: Final[Sequence[Held]] = (
    Held(
        "contacts",
        "id name email language newest_order_id newest_order_at newest_order_received_at cgb_synced_at created_at"
        " updated_at merged_into stayed_as apart_from words",
        "name, e-mail, language, newest order",
        "one row for each person",
        _NO_TERM,
    ),
    Held(
        "contact_identities",
        "contact_id kind value created_at cgb_contact_id cgb_digest id cgb_doubt cgb_own cgb_seen_at",
        "phone, WhatsApp, Chatwoot and CGB ids",
        "to know a person again",
        _NO_TERM,
    ),
    Held("contact_emails", "id contact_id email created_at", "e-mail", "to find a person", _NO_TERM),
    Held(
        "orders",
        "id order_id form_id branch domain payment_processor payment_id amount currency order_status client_name"
        " client_email client_phone client_phone_e164 client_phone_raw whatsapp_alerts_enabled product_country"
        " product_country_flag product_doc_type product_doc_name product_intent product_entries product_validity"
        " product_data visa_quantity visa_entries visa_usage_deadline_days visa_document_validity_days processing_days"
        " is_urgent entry_date entry_port file_transfer_method face_url passport_url passport_data"
        " extra_nationality_data address_data family_data occupation_data military_data past_travels_data files_data"
        " applicants_data emergency_contact_data business_data form_meta_data coupon_data extra_data visa_details"
        " visa_notification_sent visa_notification_sent_at visa_notification_message_id workflow_id job_id"
        " cbb_contact_uuid ordered_at webhook_received_at processed_at created_at updated_at cgb_contact_id"
        " cgb_sync_status cgb_sync_attempted_at cgb_sync_completed_at cgb_sync_error cgb_contact_exists"
        " cgb_has_whatsapp event_id form_revision",
        "the whole form: client, applicants, passports, addresses, family, travels",
        "the order, as Vizi has it",
        _NO_TERM,
    ),
    Held("orders", "raw_body", "the whole form", "to prove what came", "`FERRYMAN_RETENTION_ORDER_BODIES_DAYS`"),
    Held(
        "applicant_issues",
        "id applicant_id event_id status reason issues extra_data phone_raw applicant_phone applicant_name order_id"
        " branch contact_id reported_at processed_at created_at updated_at sent_again",
        "name, phone, what is wrong with documents",
        "to tell the applicant",
        _NO_TERM,
    ),
    Held(
        "applicant_issues",
        "raw_body",
        "the whole report",
        "to prove what came",
        "`FERRYMAN_RETENTION_ORDER_BODIES_DAYS`",
    ),
    Held(
        "whatsapp_checks",
        "phone has_whatsapp source checked_at expires_at",
        "phone, whether it is on WhatsApp",
        "to ask no provider twice",
        _NO_TERM,
    ),
    Held(
        "told_fields",
        "line field value told_at event_id ours owner taken",
        "phone, what CGB says of the contact",
        "to merge both sides' words",
        _NO_TERM,
    ),
    Held(
        "reconciled_orders", "order_id event_id replay_id runs at", "order id", "to send an order again once", _NO_TERM
    ),
    Held(
        "messages",
        "id direction status provider account phone kind content purpose provider_message_id error error_code attempts"
        " not_before released_at event_id created_at claimed_at sent_at delivered_at read_at failed_at updated_at"
        " category looks looked_at evidence our_number route moves conversation",
        "phone, what was written both ways, when it was read",
        "to send once, and to prove it",
        "`FERRYMAN_RETENTION_MESSAGES_DAYS`",
    ),
    Held(
        "delivery_updates",
        "id message_id provider provider_message_id status error_code error at event_id created_at",
        "when a message reached a person",
        "the state of messages",
        "as messages",
    ),
    Held(
        "idempotency_keys",
        "key digest message_id created_at",
        "which message a request made",
        "to send once",
        "as messages",
    ),
    Held("customer_windows", "line system written_at", "phone, when they wrote last", "the 24-hour rule", _NO_TERM),
    Held(
        "opt_outs",
        "line scope opted_out at source event_id",
        "phone, that no messages are wanted",
        "to send none",
        "for ever",
        "the phone becomes a digest, so that the opt-out still counts",
    ),
    Held(
        "automatic_messages",
        "message_id order_id kind subject rule trigger withdrawn created_at",
        "order id, applicant",
        "to tell each thing once",
        "as messages",
    ),
    Held(
        "automatic_orders",
        "order_id ordered_at form_revision received_at updated_at",
        "order id",
        "to go by the newest state",
        _NO_TERM,
    ),
    Held(
        "campaign_recipients",
        "campaign_id line phone person name variables consent status error error_code message_id not_before not_after"
        " feeds fed_at updated_at",
        "phone, name, what the template says, consent",
        "to reach each person once, and to prove the consent",
        _NO_TERM,
    ),
    Held(
        "conversations",
        "id chat system subject chatwoot_account_id chatwoot_conversation_id inbox_id channel line phone contact_ref"
        " name language status assigned agent_at labels labels_at context_json context_version due_at escalated_at"
        " escalated_why settles_at message_count last_message_at created_at updated_at",
        "phone, name, what a dialog has gathered, labels",
        "to go on with a conversation",
        _NO_TERM,
    ),
    Held("agent_replies", "event_id chat at created_at", "when an agent wrote", "to leave agents alone", _EVENTS),
    Held(
        "buffered_messages",
        "id chat message_key event_id place at kind text choice answers source_id waits_for_text understood_at intent"
        " intent_confidence intent_reason noted created_at",
        "what a person wrote",
        "to understand messages together",
        "some days after it was understood (`dialogs.toml`)",
    ),
    Held(
        "meeting_notes",
        "id message_key user_id chatwoot_message_id chatwoot_conversation_id chatwoot_contact_id chatwoot_account_id"
        " contact_identifier line source_type message_type content metadata processing_status error_details bucket"
        " object_path gcs_storage_path sha256 intent intent_confidence intent_reason event_id processed_at created_at",
        "what a person wrote, and who they are",
        "the archive of notes",
        "`FERRYMAN_RETENTION_NOTES_DAYS`",
    ),
    Held(
        "note_attachments",
        "id meeting_note_id place attachment_id kind status bucket object_path storage_path content_type bytes sha256"
        " error created_at updated_at",
        "which files a person sent",
        "the archive of files",
        "as notes",
    ),
    Held(
        "audio_files",
        "id user_id meeting_note_id note_attachment_id chatwoot_attachment_id contact_identifier file_path"
        " transcription transcription_status transcription_error duration_seconds original_file_size openai_model"
        " processed_at created_at",
        "what a person said",
        "voice notes as text",
        "as notes",
    ),
    Held(
        "archive_objects",
        "bucket path content_type body taken_until created_at",
        "files and notes of a person",
        "they wait here while the object store is away",
        "until the store takes them",
    ),
    Held(
        "archive_moved",
        "bucket path to_bucket taken_until deleted_at created_at",
        "where a file was",
        "to delete the old copy",
        "30 days after that",
    ),
    Held("archive_moves", "meeting_note_id taken_until created_at", "which note moves", "to move files", "until moved"),
    Held(
        "content_orders",
        "id user_id source triggered_by params_json message_key chat chatwoot_conversation_id phone provider event_id"
        " ready_at notice_message_id notice_why created_at updated_at",
        "phone, what content was ordered",
        "the order of content",
        _NO_TERM,
    ),
    Held(
        "crm_people",
        "account_id person messages heard attributes conversation_id updated_at",
        "phone, what kind of things they spoke of",
        "labels and attributes in Chatwoot",
        _NO_TERM,
    ),
    Held("crm_messages", "message_key created_at", "which messages were counted", "to count once", _EVENTS),
    Held(
        "crm_labels",
        "account_id conversation_id put wished posted updated_at",
        "labels of a conversation",
        "labels in Chatwoot",
        _NO_TERM,
    ),
    Held("label_requests", "key digest event_id created_at", "which request made labels", "to do it once", _EVENTS),
    Held(
        "whatsapp_user_mapping",
        "id user_id whatsapp_number chatwoot_contact_id chatwoot_account_id is_verified created_at updated_at digits"
        " applied_at",
        "phone, who they are in the firm's system",
        "whose notes they are",
        _NO_TERM,
    ),
    Held(
        "user_bucket_mapping",
        "id user_id bucket_name notify_on_ready created_at updated_at",
        "which bucket is a person's",
        "where notes go",
        _NO_TERM,
    ),
    Held(
        "records",
        "model record_id version prev seq owner_id branch deleted erased data stamps up_version changed_at deleted_at"
        " created_at updated_at",
        "whatever the models say: leads, payments; who owns them",
        "records of apps and branches",
        "a deleted one `SYNC_HORIZON_DAYS`",
        "a tombstone without data, which reaches the replicas",
    ),
    Held("record_people", "model record_id seq line", "phone", "whom a record is about", "as the record"),
    Held(
        "sync_conflicts",
        "id model record_id user_id op_id operation owner_id base_version version base ours theirs fields strategy"
        " decision decided_at decided_by created_at",
        "values of a record that met",
        "for a person to decide",
        "`SYNC_HORIZON_DAYS` after that",
    ),
    Held(
        "sync_queue",
        "id op_id operation model record_id data user_id created_at synced_at error retry_count state next_at"
        " base_version base changed_at tick origin reason acked_version settled",
        "values of a record",
        "an edge's operations",
        "`SYNC_RETENTION_DAYS`",
    ),
    Held(
        "sync_base",
        "model record_id up_version deleted owner_id branch data stamps",
        "values of a record",
        "an edge's copy of its upstream",
        "while an operation is open",
    ),
    Held(
        "sync_ops",
        "user_id op_id replica model record_id digest result decision version at",
        "who changed which record",
        "to apply once",
        "`SYNC_HORIZON_DAYS`",
        "kept: it has no value of the record",
    ),
    Held(
        "event_journal",
        f"{_JOURNAL} subject data traceparent recorded_at seq entry_id",
        "everything that came in",
        "replay, and the proof that nothing is lost",
        _EVENTS,
        "a blank stays: id, type, time",
    ),
    Held(
        "spool",
        f"seq {_JOURNAL} subject data traceparent spooled_at",
        "what came while Redis was away",
        "to lose nothing",
        "until Redis is back",
        "a blank stays, and is journaled",
    ),
    Held(
        "outbox",
        f"seq {_JOURNAL} subject data traceparent created_at replayid target",
        "what is about to be told on",
        "to lose nothing",
        "seconds",
        "a blank stays, and is told",
    ),
    Held("payloads", "event_id digest data created_at", "large events", "streams stay small", _EVENTS),
    Held(
        "inbox",
        "worker event_id replay_id outcome reason attempts data_hash at host",
        "how an event ended, and a digest of it",
        "to do each thing once; the accounts",
        _EVENTS,
        "a row stays, with the digest of a blank",
    ),
    Held(
        "attempts",
        "worker event_id replay_id attempts error_class error_text next_at begun updated_at failures error_code",
        "what a provider answered",
        "to try again",
        "until the event ends",
    ),
    Held(
        "attempt_history",
        "id worker event_id replay_id counted error_class error_code error_text host began_at ended_at next_at",
        "what a provider answered",
        "to see why an event waits, or has failed",
        _EVENTS,
    ),
    Held(
        "dead_letters",
        f"{_JOURNAL.replace('id type', 'type', 1)} id worker event_id replay_id subject data traceparent error_class"
        " error_text attempts state buried_at settled_at retries settled_by edited_at fingerprint error_code",
        "the whole event, and the error",
        "for an operator to mend",
        "`FERRYMAN_RETENTION_LETTERS_DAYS` after that",
        "a blank stays, discarded",
    ),
    Held(
        "event_conflicts",
        "event_id data_hash source data seen_at",
        "another body of an event",
        "to look at a sender's fault",
        "`FERRYMAN_RETENTION_CONFLICTS_DAYS`",
    ),
    Held(
        "refused_requests",
        "id source reason status remote headers body_bytes body_sha256 suppressed at path body sent_again_at"
        " sent_again_by event_ids",
        "the address of a sender, the body of an authentic request",
        "to send it again after mending",
        "`FERRYMAN_RETENTION_REFUSED_DAYS`",
        "deleted, where the body names the person",
    ),
    Held(
        "replays",
        "id worker filter total published cursor until started_at finished_at by",
        "a key that an operator replayed by; who of the staff did it",
        "to go on with a replay",
        "`FERRYMAN_RETENTION_REPLAYS_DAYS`",
        "what names the person is replaced",
    ),
    Held(
        "audit_log",
        "id at actor action subject detail",
        "ids of orders and contacts; who of the staff did what",
        "proof of what was done",
        "`FERRYMAN_RETENTION_AUDIT_DAYS`",
        "what names the person is replaced",
    ),
    Held(
        "erasures",
        "id actor started_at finished_at counts outside",
        "that somebody was erased, in numbers",
        "proof of the erasure",
        "for ever",
        "stays",
    ),
    Held(
        "erasure_marks",
        "digest kind erasure at lifted_at",
        "digests of the identities of erased people, under an encrypted secret",
        "nothing brings them back",
        "for ever",
        "stays",
    ),
    Held(
        "erasure_subjects",
        "erasure kind value",
        "whom an erasure is about",
        "to go on with it after a crash",
        "while it goes on",
    ),
    Held(
        "webhook_deliveries",
        "id subscriber_id event_id replay_id type key body state next_at attempts last_at status error answer ms"
        " created_at ended_at",
        "phone; of a full one the whole event",
        "to tell other systems of events",
        "`FERRYMAN_RETENTION_WEBHOOKS_DAYS`",
    ),
    Held(
        "operator_reveals",
        "digest subject until",
        "a person whom an operator looks at",
        "to show them unmasked",
        "10 minutes, and until the session ends",
        "deleted, where it names the person",
    ),
    Held(
        "operators",
        "id name role password created_at created_by logged_in_at disabled_at disabled_by",
        "names of the firm's own staff",
        "who may log in",
        "while it is in use",
        "kept: they are the firm's own",
    ),
    Held(
        "operator_sessions",
        "digest operator created_at seen_at address agent",
        "address and browser of the firm's own staff",
        "who is logged in",
        "24 hours",
        "kept: they are the firm's own",
    ),
    Held(
        "pauses",
        "name paused_at by reason",
        "who of the staff has paused",
        "what an operator has stopped",
        "while it is in use",
        "what names the person is replaced",
    ),
    Held(
        "subscribers",
        "id name url types is_full secrets key_id state disabled_at disabled_by disabled_why failures failing_since"
        " noticed_at last_success_at not_before leased_by leased_until created_at created_by",
        "who of the staff added them",
        "which other systems are told of events",
        "while it is in use",
        "kept: they are the firm's own",
    ),
    Held(
        "tokens",
        "id digest hint kind name role owners branch created_at created_by expires_at used_at revoked_at revoked_by",
        "names of the firm's own users",
        "access of apps",
        "while it is in use",
        "kept: they are the firm's own",
    ),
    Held(
        "sync_replicas",
        "replica principal ack ack_before op_ids pushed_at created_at",
        "names of the firm's own users",
        "who pushes",
        "while it pushes",
        "kept: they are the firm's own",
    ),
    Held(
        "sync_exits",
        "audience model record_id seq at",
        "names of the firm's own users",
        "to have a record dropped",
        "`SYNC_HORIZON_DAYS`",
        "kept: they are the firm's own",
    ),
    _none(
        "campaigns",
        "id name status reason provider account template language category consent rate quiet_from quiet_to ends_at"
        " duplicates next_at created_by created_at started_at going_since finished_at idempotency_key digest",
        "campaigns",
    ),
    _none("credentials", "provider account secret key_id created_at updated_at created_by", "accounts at providers"),
    _none("ferryman_meta", "key value", "facts of the installation"),
    _none("flow_minutes", "minute direction name outcome n", "numbers for the pages", "a day"),
    _none("lag_minutes", "minute worker at unread pending oldest_s", "numbers for the pages", "a day"),
    _none("leases", "worker partition epoch owner acquired_at", "who works on what"),
    _none("login_failures", "subject failures at", "tries to log in, by digests", "a day"),
    _none("members", "id report seen_at", "which processes live"),
    _none("operator_links", "digest operator expires_at", "links that log in once, as digests", "15 minutes"),
    _none("schema_migrations", "version name applied_at digest", "the schema"),
    _none(
        "sweeps",
        "place since floor next_floor next_floor_at held_by held_until began_at ended_at found error",
        "how far the CRM's history was looked through",
    ),
    _none("sync_clock", "one seq horizon feed epoch", "the feed of records"),
    _none("sync_marks", "seq mark at", "the feed of records"),
    Held(
        "sync_runs",
        "id filter total sent cursor begun_by started_at finished_at",
        "the last order id that was sent",
        "to go on with a bulk sync",
        _NO_TERM,
        "what names the person is replaced",
    ),
    _none("sync_seen", "model record_id", "which records an edge has seen"),
    _none(
        "sync_upstream",
        "one replica ack cursor rebuilding rebuild_reason generation step url online last_sync_at last_error",
        "an edge's upstream",
    ),
    _none("template_stops", "provider account name language code error until stopped_at", "templates that wait"),
    _none("template_syncs", "provider account synced_at tried_at wanted_at", "when templates were read"),
    _none(
        "templates",
        "provider account name language category status parameter_format components quality provider_template_id"
        " told_at synced_at gone_at",
        "templates",
    ),
    _none("workers", "name topics types begins began_at first_run_at last_seen_at", "the workers"),
)
"""Each table, by its columns."""

ELSEWHERE: Final[Sequence[Held]] = (
    Held(
        "Redis `ferryman:{p}:TOPIC`",
        "",
        "everything that came in",
        "the streams",
        "`FERRYMAN_STREAM_HOURS`",
        "the entries are deleted; their bytes leave the server's files when the block that they were in is trimmed",
    ),
    Held(
        "Redis `ferryman:lock:*`, `ferryman:pair:*`",
        "",
        "digests of phones",
        "one at a time; the pace to one person",
        "minutes",
        "they expire",
    ),
    _none("Redis, all other keys", "", "leases, limits, marks"),
    Held(
        "the archive: `gs://PREFIX-…`, or `FERRYMAN_DATA_DIR/archive`",
        "",
        "notes, files, voices",
        "the archive",
        "`FERRYMAN_RETENTION_NOTES_DAYS`",
    ),
    _none("logs", "", "what happened: ids of events and no value of a person", "as the host keeps them"),
    _none("metrics", "", "numbers: no label names a person", "as Prometheus keeps them"),
    Held(
        "`FERRYMAN_DATA_DIR/erasures.jsonl`",
        "",
        "digests of the identities of erased people",
        "a restored database is erased again",
        "for ever",
        "stays",
    ),
    Held("backups", "", "all of the above", "to lose nothing", "as you keep them", "a restore erases again"),
)
"""What is not a table."""


def columns() -> set[tuple[str, str]]:
    """Every (table, column) of the map."""
    return {(held.place, column) for held in TABLES for column in held.columns.split()}


def documents(settings: Settings) -> list[dict[str, str]]:
    """The map as JSON, what tells of people first, with the days that *settings* say."""

    def days(name: re.Match[str]) -> str:
        value = getattr(settings, name[1].lower())
        return f"{value} days" if value else "for ever"

    return [
        held._asdict() | {"kept": re.sub(r"`([A-Z0-9_]+_DAYS)`", days, held.kept)}
        for held in (*_sorted(TABLES), *ELSEWHERE)
    ]


def page() -> str:
    """The map as a table of Markdown."""
    rows = ["| where | columns | about a person | what for | how long | an erasure |", "|---|---|---|---|---|---|"]
    for held in (*_sorted(TABLES), *ELSEWHERE):
        place = held.place if held in ELSEWHERE else f"`{held.place}`"
        about = held.about or "nothing"
        rows.append(f"| {place} | {held.columns} | {about} | {held.purpose} | {held.kept} | {held.erased} |")
    return "\n".join(rows)


def _sorted(held: Iterable[Held]) -> list[Held]:
    return sorted(held, key=lambda one: not one.about)
