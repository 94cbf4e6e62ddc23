"""The rows of a person, table by table: how they are found, and what an erasure makes of them.

Most are deleted. What the accounts count stays, without what it said: an event in the journal, its end, its letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson

from adapters.postgres.bus.workers import Registered
from adapters.postgres.erasures import OPTED_OUT
from adapters.postgres.operator.privacy.subjects import with_subjects
from adapters.postgres.pool import Connection
from adapters.postgres.webhook_deliveries import settle

_BLANK: Final = "subject = 'erased:' || $1::bigint, data = 'null', traceparent = ''"


class PersonRows(NamedTuple):
    """The rows of *table* that are a person's: *where*, by the subjects of erasure $1. *blanked*: what they are set to;
    "": they are deleted. Rows that are blank are none of a person any more. *of_others*: others speak in them too."""

    table: str
    where: str
    blanked: str = ""
    of_others: bool = False

    @property
    def counted(self) -> str:
        """The query of their number."""
        return f"SELECT count(*) FROM {self.table} t WHERE {with_subjects(self.where)}"  # noqa: S608 - constants only

    @property
    def rows(self) -> str:
        """The query of the rows as JSON."""
        return f"SELECT to_jsonb(t)::text FROM {self.table} t WHERE {with_subjects(self.where)}"  # noqa: S608 - constants only

    @property
    def erased(self) -> str:
        """The statement that erases them."""
        if self.blanked:
            return f"UPDATE {self.table} t SET {self.blanked} WHERE {with_subjects(self.where)}"  # noqa: S608 - constants only
        return f"DELETE FROM {self.table} t WHERE {with_subjects(self.where)}"  # noqa: S608 - constants only


def _event(column: str) -> str:
    return f"t.{column} IN @event"


ROWS: Final[Sequence[PersonRows]] = (
    PersonRows("spool", f"{_event('id')} AND t.data <> 'null'", _BLANK),
    PersonRows("outbox", f"{_event('id')} AND t.data <> 'null'", _BLANK),
    PersonRows("event_journal", f"{_event('id')} AND t.data <> 'null'", _BLANK),
    PersonRows("payloads", _event("event_id")),
    PersonRows("attempts", _event("event_id")),
    PersonRows("attempt_history", _event("event_id")),
    PersonRows("webhook_deliveries", f"t.key IN @key OR {_event('event_id')}"),
    PersonRows("event_conflicts", _event("event_id")),
    PersonRows(
        "dead_letters",
        f"{_event('event_id')} AND t.data <> 'null'",
        f"{_BLANK}, error_text = '', settled_at = coalesce(t.settled_at, now()),"
        " settled_by = coalesce(t.settled_by, 'ferryman'),"
        " state = CASE t.state WHEN 'open' THEN 'discarded' ELSE t.state END",
    ),
    PersonRows(
        "inbox",
        f"{_event('event_id')} AND t.data_hash <> $2",
        "data_hash = $2, reason = CASE t.outcome WHEN 'uncertain' THEN 'erased' ELSE t.reason END",
    ),
    PersonRows("campaign_recipients", "t.person IN @line OR t.message_id::text IN @message"),
    PersonRows("messages", "t.id::text IN @message"),
    PersonRows("delivery_updates", _event("event_id")),
    PersonRows("automatic_orders", "t.order_id IN @order"),
    PersonRows("reconciled_orders", "t.order_id IN @order"),
    PersonRows("applicant_issues", "t.applicant_id IN @applicant"),
    PersonRows("orders", "t.order_id IN @order"),
    PersonRows("whatsapp_checks", "t.phone IN @phone"),
    PersonRows("told_fields", "t.line IN @line"),
    PersonRows("customer_windows", "t.line IN @line"),
    PersonRows("label_requests", "t.event_id::text IN @event"),
    PersonRows("agent_replies", "t.chat IN @chat", of_others=True),
    PersonRows("buffered_messages", "t.chat IN @chat"),
    PersonRows("content_orders", "t.chat IN @chat OR t.phone IN @phone"),
    PersonRows(
        "crm_labels",
        "(t.account_id, t.conversation_id) IN (SELECT chatwoot_account_id, chatwoot_conversation_id FROM conversations"
        " WHERE chat IN @chat)",
    ),
    PersonRows("crm_people", "t.person IN @line OR t.person IN @key"),
    PersonRows("crm_messages", "t.message_key IN @message_key"),
    PersonRows("archive_objects", "t.bucket || E'\\n' || t.path IN @object"),
    PersonRows("archive_moved", "t.bucket || E'\\n' || t.path IN @object"),
    PersonRows("audio_files", "t.meeting_note_id::text IN @note"),
    PersonRows("note_attachments", "t.meeting_note_id::text IN @note"),
    PersonRows("meeting_notes", "t.id::text IN @note", of_others=True),
    PersonRows("conversations", "t.chat IN @chat"),
    PersonRows("whatsapp_user_mapping", "t.user_id IN @user"),
    PersonRows("user_bucket_mapping", "t.user_id IN @user"),
    PersonRows(
        "record_people",
        "t.model || E'\\n' || t.record_id IN @record",
    ),
    PersonRows("contact_emails", "t.contact_id::text IN @contact"),
    PersonRows("contact_identities", "t.contact_id::text IN @contact"),
    PersonRows("contacts", "t.id::text IN @contact"),
)
"""In the order in which they are erased: what is found by other rows goes before them."""

_WITH_HASH: Final = "inbox"

_RECORDS: Final = with_subjects("""
SELECT to_jsonb(t)::text FROM records t WHERE NOT erased AND model || E'\\n' || record_id IN @record
""")
_OPT_OUTS: Final = with_subjects("SELECT to_jsonb(t)::text FROM opt_outs t WHERE line IN @line")
_KEEP_OPT_OUT: Final = "UPDATE opt_outs SET line = $2, event_id = NULL WHERE line = $1"
_APART: Final = with_subjects("""
UPDATE contacts SET apart_from = ARRAY(SELECT a FROM unnest(apart_from) a WHERE a::text NOT IN @contact)
WHERE EXISTS (SELECT FROM unnest(apart_from) a WHERE a::text IN @contact)
""")
_CANCEL: Final = with_subjects("""
UPDATE messages SET status = 'skipped', error = 'erased', released_at = coalesce(released_at, now()), updated_at = now()
WHERE status = 'queued' AND id::text IN @message
""")
_BEING_SENT: Final = with_subjects("""
SELECT count(*) FROM messages WHERE status = 'sending' AND id::text IN @message
""")
# one statement looks at all days, as the inbox's own insert does; what is in the spool ends by itself, as a blank
_END: Final = with_subjects("""
INSERT INTO inbox (worker, event_id, replay_id, outcome, reason, attempts, data_hash)
SELECT $2, k.id, '', 'skipped', 'erased', 0, $3 FROM event_journal k
WHERE k.id IN @event AND k.type = ANY ($4::text[]) AND k.time >= $5
  AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = k.id AND i.worker = $2 AND i.replay_id = '')
ON CONFLICT DO NOTHING
""")
_END_READ: Final = """
INSERT INTO inbox (worker, event_id, replay_id, outcome, reason, attempts, data_hash)
SELECT g.w, g.e, g.r, 'skipped', 'erased', 0, $4 FROM unnest($1::text[], $2::text[], $3::text[]) AS g (w, e, r)
WHERE NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = g.e AND i.worker = g.w AND i.replay_id = g.r)
ON CONFLICT DO NOTHING
"""
_ENDED: Final = """
SELECT i.worker, i.event_id, i.replay_id FROM inbox i
JOIN unnest($1::text[], $2::text[], $3::text[]) AS g (w, e, r)
  ON i.event_id = g.e AND i.worker = g.w AND i.replay_id = g.r
"""


def _arguments(one: PersonRows, erasure: int, null_hash: bytes) -> list[Any]:
    return [erasure, null_hash] if one.table == _WITH_HASH else [erasure]


async def counts(conn: Connection, erasure: int, null_hash: bytes) -> dict[str, int]:
    """Table -> how many rows are the person's; only tables that have some."""
    found = {one.table: await conn.fetchval(one.counted, *_arguments(one, erasure, null_hash)) for one in ROWS}
    found["records"] = len(await conn.fetch(_RECORDS, erasure))
    found["opt_outs"] = len(await conn.fetch(_OPT_OUTS, erasure))
    return {table: count for table, count in found.items() if count}


async def exported(conn: Connection, erasure: int, null_hash: bytes) -> Mapping[str, list[dict[str, Any]]]:
    """Table -> the person's rows as JSON; only tables that have some."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in ROWS:
        rows = await conn.fetch(one.rows, *_arguments(one, erasure, null_hash))
        found[one.table] = [orjson.loads(row[0]) for row in rows]
    for table, query in (("records", _RECORDS), ("opt_outs", _OPT_OUTS)):
        found[table] = [orjson.loads(row[0]) for row in await conn.fetch(query, erasure)]
    return {table: rows for table, rows in found.items() if rows}


async def erase(conn: Connection, one: PersonRows, erasure: int, null_hash: bytes) -> int:
    """Erase the rows of one table, in a transaction; returns how many."""
    if one.table == "contacts":
        await conn.execute(_APART, erasure)
    if one.table == "webhook_deliveries":
        told = await conn.fetch(f"{one.erased} RETURNING t.subscriber_id, t.key", erasure)
        await settle(conn, ((row["subscriber_id"], row["key"]) for row in told), datetime.now(UTC))  # others go on
        return len(told)
    return _count(await conn.execute(one.erased, *_arguments(one, erasure, null_hash)))


async def cancel_sends(conn: Connection, erasure: int) -> int:
    """End what is queued to the person; returns how much."""
    return _count(await conn.execute(_CANCEL, erasure))


async def being_sent(conn: Connection, erasure: int) -> int:
    """Messages to the person whose call is under way."""
    return int(await conn.fetchval(_BEING_SENT, erasure))


async def end_open(conn: Connection, erasure: int, worker: Registered, null_hash: bytes) -> int:
    """End for *worker* what is open of the person: skipped, as erased. A commit of it that comes later finds that it
    has ended, and records nothing."""
    done = await conn.execute(_END, erasure, worker.name, null_hash, list(worker.types), worker.since)
    return _count(done)


async def end_read(conn: Connection, ends: Sequence[tuple[str, str, str]], null_hash: bytes) -> int:
    """End (worker, event id, replay id), where it has not ended."""
    return _count(await conn.execute(_END_READ, *map(list, zip(*ends, strict=True)), null_hash)) if ends else 0


async def ended(conn: Connection, ends: Sequence[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    """Those of (worker, event id, replay id) that have ended."""
    found = await conn.fetch(_ENDED, *map(list, zip(*ends, strict=True))) if ends else []
    return {(row[0], row[1], row[2]) for row in found}


async def keep_opt_outs(conn: Connection, lines: Mapping[str, bytes]) -> int:
    """Have the opt-outs of phone lines stand under digests (line -> digest) from now on."""
    count = 0
    for line, digest in lines.items():
        kept = OPTED_OUT + digest.hex()
        await conn.execute(
            "DELETE FROM opt_outs WHERE line = $1 AND EXISTS (SELECT FROM opt_outs WHERE line = $2)", kept, line
        )
        count += _count(await conn.execute(_KEEP_OPT_OUT, line, kept))
    return count


def _count(done: str) -> int:
    return int(done.rpartition(" ")[2])
