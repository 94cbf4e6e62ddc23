"""How long the data outside of the day tables are kept: for each kind a statement that removes some rows at a time.

An open dead letter is never removed, however old it is: it waits for an operator. Nor is a delivery that waits for an
active subscriber.
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
    # what a disabled subscriber was to be told of waits so long for a person who enables it
    "webhooks": """
        DELETE FROM webhook_deliveries WHERE id IN (
            (SELECT id FROM webhook_deliveries WHERE ended_at < now() - make_interval(days => $1)
             ORDER BY ended_at LIMIT $2)
            UNION ALL
            (SELECT d.id FROM subscribers s JOIN webhook_deliveries d ON d.subscriber_id = s.id
             WHERE s.state = 'disabled' AND d.state = 'waiting' AND d.created_at < now() - make_interval(days => $1)
             ORDER BY d.id LIMIT $2))""",
    # the row stays: that something was told once is known by it
    "messages": """
        UPDATE messages SET content = '{}', evidence = NULL WHERE id IN (
            SELECT id FROM messages
            WHERE created_at < now() - make_interval(days => $1) AND content <> '{}'
            AND status NOT IN ('queued', 'sending', 'uncertain') ORDER BY created_at LIMIT $2)""",
    # merges can be undone by it as long as there are both contacts
    "audit": """
        DELETE FROM audit_log WHERE id IN (
            SELECT id FROM audit_log
            WHERE at < now() - make_interval(days => $1) AND action NOT LIKE 'person.%' ORDER BY at LIMIT $2)""",
}

_COUNTED: Final[Mapping[str, str]] = {
    "refused": "SELECT count(*) FROM refused_requests WHERE at < now() - make_interval(days => $1)",
    "letters": """
        SELECT count(*) FROM dead_letters d
        WHERE state <> 'open' AND settled_at < now() - make_interval(days => $1) AND NOT EXISTS (
            SELECT FROM inbox i
            WHERE i.event_id = d.event_id AND i.worker = d.worker AND i.replay_id = d.replay_id
            AND i.outcome = 'dead')""",
    "conflicts": "SELECT count(*) FROM event_conflicts WHERE seen_at < now() - make_interval(days => $1)",
    "order_bodies": """
        SELECT count(*) FROM orders
        WHERE raw_body <> '' AND webhook_received_at < now() - make_interval(days => $1)""",
    "replays": "SELECT count(*) FROM replays WHERE finished_at < now() - make_interval(days => $1)",
    "webhooks": """
        SELECT (SELECT count(*) FROM webhook_deliveries WHERE ended_at < now() - make_interval(days => $1))
        + (SELECT count(*) FROM subscribers s JOIN webhook_deliveries d ON d.subscriber_id = s.id
           WHERE s.state = 'disabled' AND d.state = 'waiting' AND d.created_at < now() - make_interval(days => $1))""",
    "messages": """
        SELECT count(*) FROM messages
        WHERE created_at < now() - make_interval(days => $1) AND content <> '{}'
        AND status NOT IN ('queued', 'sending', 'uncertain')""",
    "audit": """
        SELECT count(*) FROM audit_log
        WHERE at < now() - make_interval(days => $1) AND action NOT LIKE 'person.%'""",
}

KINDS: Final = tuple(_KINDS)
"""The kinds of data, each with a setting of its own."""


_WITH_EVENTS: Final[Mapping[str, str]] = {
    # a day more than events: whoever asks by the day of an event finds it all of that day
    "crm_messages": """
        DELETE FROM crm_messages WHERE message_key IN (
            SELECT message_key FROM crm_messages
            WHERE created_at < now() - make_interval(days => $1 + 1) ORDER BY created_at LIMIT $2)""",
    "attempt_history": """
        DELETE FROM attempt_history WHERE id IN (
            SELECT id FROM attempt_history
            WHERE ended_at < now() - make_interval(days => $1) ORDER BY ended_at LIMIT $2)""",
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


async def count(pool: Pool, kind: str, days: int) -> int:
    """How many rows `remove` would take away of one of KINDS."""
    return int(await pool.fetchval(_COUNTED[kind], days, timeout=60))
