"""Whose data it is: all that names one person, found from what is known of them until nothing more is found.

What is found stays in `erasure_subjects` while the erasure goes on, so that a killed one goes on where it was. A search
for a question uses a number below zero, in a transaction that is rolled back.

Keys of events come from identities alone, never from events: an order that once had a stranger's phone leads to the
stranger's number and not to the stranger. An e-mail address that another contact has as well leads nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from adapters.postgres.pool import Connection

_NAMED: Final = re.compile(r"@(\w+)")


def with_subjects(query: str) -> str:
    """*query*, in which `@kind` stands for the values of that kind of the erasure $1."""
    return _NAMED.sub(r"(SELECT value FROM erasure_subjects WHERE erasure = $1 AND kind = '\1')", query)


_ORDERED: Final = """
SELECT order_id FROM orders WHERE cbb_contact_uuid::text IN @contact OR client_phone_e164 IN @phone
  OR (cbb_contact_uuid IS NULL AND client_phone_e164 IS NULL AND lower(client_email) IN @email)
"""
_EVENTS: Final[Sequence[str]] = (
    "SELECT id FROM event_journal WHERE subject IN @key",
    "SELECT id FROM event_journal WHERE causationid <> '' AND causationid IN @event",
    "SELECT id FROM spool WHERE subject IN @key OR causationid IN @event",
    "SELECT id FROM outbox WHERE subject IN @key OR causationid IN @event",
    "SELECT event_id FROM dead_letters WHERE subject IN @key",
    "SELECT event_id FROM orders WHERE event_id IS NOT NULL AND order_id IN @order",
    "SELECT event_id FROM applicant_issues WHERE applicant_id IN @applicant",
    "SELECT event_id FROM messages WHERE id::text IN @message",
    "SELECT event_id FROM delivery_updates WHERE message_id::text IN @message",
    "SELECT event_id FROM meeting_notes WHERE id::text IN @note",
    "SELECT event_id FROM buffered_messages WHERE chat IN @chat",
    "SELECT event_id FROM content_orders WHERE chat IN @chat OR phone IN @phone",
)

# kind -> what finds values of it by those that are known
_FOUND: Final[Mapping[str, Sequence[str]]] = {
    "contact": (
        "SELECT i.contact_id::text FROM contact_identities i JOIN erasure_subjects s"
        " ON s.erasure = $1 AND s.kind = i.kind AND s.value = i.value",
        "SELECT merged_into::text FROM contacts WHERE merged_into IS NOT NULL AND id::text IN @contact",
        "SELECT id::text FROM contacts WHERE merged_into::text IN @contact",
        "SELECT cbb_contact_uuid::text FROM orders WHERE cbb_contact_uuid IS NOT NULL AND order_id IN @order",
    ),
    "wa_id": ("SELECT value FROM contact_identities WHERE kind = 'wa_id' AND contact_id::text IN @contact",),
    "bsuid": ("SELECT value FROM contact_identities WHERE kind = 'bsuid' AND contact_id::text IN @contact",),
    "chatwoot": ("SELECT value FROM contact_identities WHERE kind = 'chatwoot' AND contact_id::text IN @contact",),
    "cgb": ("SELECT value FROM contact_identities WHERE kind = 'cgb' AND contact_id::text IN @contact",),
    "phone": (
        "SELECT value FROM contact_identities WHERE kind = 'phone' AND contact_id::text IN @contact",
        "SELECT client_phone_e164 FROM orders WHERE client_phone_e164 IS NOT NULL AND cbb_contact_uuid IS NULL"
        " AND order_id IN @order",
    ),
    "email": (
        "SELECT email FROM contact_emails e WHERE contact_id::text IN @contact AND NOT EXISTS ("
        "SELECT FROM contact_emails o WHERE o.email = e.email AND o.contact_id::text NOT IN @contact)",
    ),
    "order": (_ORDERED,),
    "applicant": (
        "SELECT a ->> 'id' FROM orders, jsonb_array_elements(CASE jsonb_typeof(applicants_data) WHEN 'array'"
        " THEN applicants_data ELSE '[]' END) a WHERE order_id IN @order AND jsonb_typeof(a) = 'object'"
        " AND a ->> 'id' <> ''",
        "SELECT applicant_id FROM applicant_issues WHERE order_id IN @order"
        " OR contact_id::text IN @contact OR applicant_phone IN @phone",
    ),
    "message": (
        "SELECT id::text FROM messages WHERE phone IN @phone",
        "SELECT message_id::text FROM campaign_recipients WHERE message_id IS NOT NULL AND person IN @line",
        "SELECT message_id::text FROM automatic_messages WHERE order_id IN @order",
        "SELECT id::text FROM messages WHERE event_id IN @event",
    ),
    "chat": (
        "SELECT chat FROM conversations WHERE line IN @line OR subject IN @key"
        " OR (chatwoot_account_id::text || ':' || contact_ref) IN @chatwoot",
        "SELECT chat FROM content_orders WHERE chat IS NOT NULL AND phone IN @phone",
    ),
    "note": (
        "SELECT id::text FROM meeting_notes WHERE line IN @line OR contact_identifier IN @phone"
        " OR (chatwoot_account_id || ':' || chatwoot_contact_id) IN @chatwoot",
        "SELECT id::text FROM meeting_notes WHERE event_id IN @event",
        "SELECT n.id::text FROM meeting_notes n JOIN conversations c ON c.chatwoot_account_id::text ="
        " n.chatwoot_account_id AND c.chatwoot_conversation_id::text = n.chatwoot_conversation_id"
        " WHERE c.chat IN @chat",
    ),
    "message_key": (
        "SELECT message_key FROM meeting_notes WHERE id::text IN @note",
        "SELECT message_key FROM buffered_messages WHERE chat IN @chat",
    ),
    "object": (
        "SELECT bucket || E'\\n' || object_path FROM meeting_notes WHERE object_path IS NOT NULL AND id::text IN @note",
        "SELECT bucket || E'\\n' || object_path FROM note_attachments WHERE object_path IS NOT NULL"
        " AND meeting_note_id::text IN @note",
        "SELECT to_bucket || E'\\n' || path FROM archive_moved WHERE bucket || E'\\n' || path IN @object",
        "SELECT bucket || E'\\n' || path FROM archive_moved WHERE path <> '' AND deleted_at IS NULL"
        " AND to_bucket || E'\\n' || path IN @object",
    ),
    "key": (
        "SELECT subject FROM conversations WHERE subject IS NOT NULL AND (line IN @line"
        " OR (chatwoot_account_id::text || ':' || contact_ref) IN @chatwoot)",
    ),
    "user": (
        "SELECT user_id FROM whatsapp_user_mapping WHERE '+' || digits IN @phone"
        " OR (chatwoot_account_id || ':' || chatwoot_contact_id) IN @chatwoot",
    ),
    "record": ("SELECT model || E'\\n' || record_id FROM record_people WHERE line IN @line",),
    "event": _EVENTS,
}
_ADD: Final = """
INSERT INTO erasure_subjects (erasure, kind, value) SELECT $1, k, v FROM unnest($2::text[], $3::text[]) AS g (k, v)
WHERE v <> '' ON CONFLICT DO NOTHING
"""
_READ: Final = "SELECT kind, value FROM erasure_subjects WHERE erasure = $1 ORDER BY kind, value"

Subjects = Mapping[str, Sequence[str]]
"""Kind -> values."""


async def add(conn: Connection, erasure: int, found: Iterable[tuple[str, str]]) -> int:
    """Add (kind, value) pairs; returns how many were new."""
    pairs = list(found)
    if not pairs:
        return 0
    done = await conn.execute(_ADD, erasure, [kind for kind, _ in pairs], [value for _, value in pairs])
    return int(done.rpartition(" ")[2])


async def widen(conn: Connection, erasure: int) -> int:
    """Look once for what belongs to what is known; returns how much was new."""
    new = 0
    for kind, queries in _FOUND.items():
        for query in queries:
            done = await conn.execute(
                f"INSERT INTO erasure_subjects (erasure, kind, value) SELECT $1, '{kind}', f.v"  # noqa: S608 - constants
                f" FROM ({with_subjects(query)}) AS f (v) WHERE f.v <> '' ON CONFLICT DO NOTHING",
                erasure,
            )
            new += int(done.rpartition(" ")[2])
    return new


async def read(conn: Connection, erasure: int) -> dict[str, list[str]]:
    """What was found so far."""
    found: dict[str, list[str]] = {}
    for kind, value in await conn.fetch(_READ, erasure):
        found.setdefault(kind, []).append(value)
    return found
