"""When people have written to us last, by each system: what opens the customer-service window."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from adapters.postgres.json_text import json_text
from adapters.postgres.pool import Connection

_OPEN: Final = """
INSERT INTO customer_windows AS w (line, system, written_at)
SELECT line, system, max(at) FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS given (line, system, at)
GROUP BY line, system ORDER BY line, system
ON CONFLICT (line, system) DO UPDATE SET written_at = excluded.written_at WHERE w.written_at < excluded.written_at
"""
_RECEIVED: Final = """
INSERT INTO messages (id, direction, status, provider, phone, kind, content, purpose, provider_message_id, event_id,
                      sent_at, our_number)
VALUES ($6::uuid, 'in', 'received', $1, $2, $3, $4::jsonb, 'person', $5, $6::text, $7, $8)
ON CONFLICT DO NOTHING
"""


class Written(NamedTuple):
    """A person has written by *system*, as the event *event_id* tells. *line*: their phone line, *phone*: E.164; None:
    they have none. *content*: what they wrote, as JSON. *opens*: whether it opens a window. *our_number*: the system's
    own id of our number that they have written to, where it tells one."""

    system: str
    line: str | None
    phone: str | None
    at: datetime
    kind: str
    content: Any
    provider_id: str | None
    event_id: str
    opens: bool
    our_number: str | None = None


async def record(conn: Connection, written: Sequence[Written]) -> None:
    """Keep messages that people have sent, and open their windows."""
    opening = [(one.line, one.system, one.at) for one in written if one.opens and one.line is not None]
    if opening:
        await conn.execute(_OPEN, *map(list, zip(*opening, strict=True)))
    for one in written:
        told = (one.system, one.phone, one.kind, json_text(one.content), one.provider_id, one.event_id, one.at)
        await conn.execute(_RECEIVED, *told, one.our_number)
