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


async def remove(pool: Pool, kind: str, days: int) -> int:
    """Remove what is older than *days* of one of KINDS; returns how many rows."""
    count = 0
    while True:
        some = int((await pool.execute(_KINDS[kind], days, BATCH)).rpartition(" ")[2])
        count += some
        if some < BATCH:
            return count
