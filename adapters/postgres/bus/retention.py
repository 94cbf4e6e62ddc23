"""How long the data outside of the day tables are kept: for each kind a statement that removes some rows at a time.

An open dead letter is never removed, however old it is: it waits for an operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapters.postgres.pool import Pool

BATCH: Final = 1000
"""Rows that one statement removes: a lock on more would hold up the work."""

# $1: days. $2: the most rows.
_KINDS: Final[Mapping[str, str]] = {
    "refused": """
        DELETE FROM refused_requests WHERE id IN (
            SELECT id FROM refused_requests WHERE at < now() - make_interval(days => $1) ORDER BY id LIMIT $2)""",
    # the accounts want the letter of an event as long as they know its end
    "letters": """
        DELETE FROM dead_letters WHERE id IN (
            SELECT id FROM dead_letters d
            WHERE state <> 'open' AND settled_at < now() - make_interval(days => $1) AND NOT EXISTS (
                SELECT FROM inbox i
                WHERE i.event_id = d.event_id AND i.worker = d.worker AND i.replay_id = d.replay_id
                AND i.outcome = 'dead')
            ORDER BY id LIMIT $2)""",
    "conflicts": """
        DELETE FROM event_conflicts WHERE (event_id, data_hash) IN (
            SELECT event_id, data_hash FROM event_conflicts
            WHERE seen_at < now() - make_interval(days => $1) LIMIT $2)""",
    # the count is that of the orders: what is left of so many reports leaves the next time
    "order_bodies": """
        WITH reports AS (UPDATE applicant_issues SET raw_body = '' WHERE id IN (
            SELECT id FROM applicant_issues
            WHERE raw_body <> '' AND reported_at < now() - make_interval(days => $1) LIMIT $2))
        UPDATE orders SET raw_body = '' WHERE order_id IN (
            SELECT order_id FROM orders
            WHERE raw_body <> '' AND webhook_received_at < now() - make_interval(days => $1) LIMIT $2)""",
    "replays": """
        DELETE FROM replays WHERE id IN (
            SELECT id FROM replays WHERE finished_at < now() - make_interval(days => $1) LIMIT $2)""",
}

KINDS: Final = tuple(_KINDS)
"""The kinds of data, each with a setting of its own."""


_WITH_EVENTS: Final[Mapping[str, str]] = {
    # a day more than events: whoever asks by the day of an event finds it all of that day
    "crm_messages": """
        DELETE FROM crm_messages WHERE message_key IN (
            SELECT message_key FROM crm_messages
            WHERE created_at < now() - make_interval(days => $1 + 1) ORDER BY created_at LIMIT $2)""",
    "label_requests": """
        DELETE FROM label_requests WHERE key IN (
            SELECT key FROM label_requests
            WHERE created_at < now() - make_interval(days => $1) ORDER BY created_at LIMIT $2)""",
    "agent_replies": """
        DELETE FROM agent_replies WHERE event_id IN (
            SELECT event_id FROM agent_replies
            WHERE created_at < now() - make_interval(days => $1) ORDER BY created_at LIMIT $2)""",
}

WITH_EVENTS: Final = tuple(_WITH_EVENTS)
"""Tables that are kept as long as it is remembered which events were handled."""


async def remove(pool: Pool, kind: str, days: int) -> int:
    """Remove what is older than *days* of one of KINDS or WITH_EVENTS; returns how many rows."""
    statement, count = {**_KINDS, **_WITH_EVENTS}[kind], 0
    while True:
        some = int((await pool.execute(statement, days, BATCH)).rpartition(" ")[2])
        count += some
        if some < BATCH:
            return count
