"""Orders without an end, and the last time that each was sent again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from adapters.postgres.pool import Connection, Pool
from adapters.postgres.stored_orders import StoredState

_LOCK: Final = 0x7265636F  # any number that nothing else uses

_WITHOUT_AN_END: Final = """
SELECT o.order_id, o.event_id, o.raw_body, o.webhook_received_at, o.cgb_sync_status,
    r.event_id, r.replay_id, COALESCE(r.runs, 0)
FROM orders o LEFT JOIN reconciled_orders r USING (order_id)
WHERE (o.cgb_sync_status IN ('pending', 'syncing') OR o.cgb_sync_status IS NULL AND o.cgb_sync_error IS NULL)
  AND o.updated_at < now() - make_interval(secs => $1) AND o.order_id > $2
ORDER BY o.order_id LIMIT $3
"""
_ON_THE_BUS: Final = """
SELECT id FROM event_journal WHERE id = ANY($1::text[])
UNION SELECT id FROM outbox WHERE id = ANY($1::text[])
UNION SELECT id FROM spool WHERE id = ANY($1::text[])
"""
_NOTE: Final = """
INSERT INTO reconciled_orders AS r (order_id, event_id, replay_id)
SELECT order_id, event_id, $3 FROM unnest($1::text[], $2::text[]) AS given (order_id, event_id) ORDER BY order_id
ON CONFLICT (order_id) DO UPDATE SET
  runs = CASE WHEN r.event_id = excluded.event_id THEN r.runs + 1 ELSE 1 END,
  event_id = excluded.event_id, replay_id = excluded.replay_id, at = now()
"""
_STILL: Final = """
SELECT extract(epoch FROM now() - min(created_at))::float8 FROM orders
WHERE created_at > GREATEST((SELECT max(cgb_sync_attempted_at) FROM orders), now() - interval '7 days')
  AND client_phone_e164 IS NOT NULL
"""


class Unsettled(NamedTuple):
    """An order without an end. *sent*: (event id, replay id) of the last time that it was sent again; *runs*: how often
    its state was."""

    state: StoredState
    sent: tuple[str, str] | None
    runs: int


async def take_turn(conn: Connection) -> bool:
    """Whether no other process is at it. Ends with the transaction."""
    return bool(await conn.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK))


async def without_an_end(conn: Connection, older_than_s: float, after: str, limit: int) -> list[Unsettled]:
    """Orders that are pending or syncing, untouched for that long, by their ids from *after* on."""
    found = []
    for row in await conn.fetch(_WITHOUT_AN_END, older_than_s, after, limit):
        sent = None if row[6] is None else (row[5], row[6])
        found.append(Unsettled(StoredState(*row[:5]), sent, row[7]))
    return found


async def on_the_bus(conn: Connection, event_ids: Sequence[str]) -> set[str]:
    """Which of these events the bus has had: it delivers them by itself."""
    return {row["id"] for row in await conn.fetch(_ON_THE_BUS, event_ids)}


async def note(conn: Connection, sent: Sequence[tuple[str, str]], replay_id: str) -> None:
    """Remember that these (order id, event id) were sent again under *replay_id*."""
    if sent:
        orders, events = zip(*sent, strict=True)
        await conn.execute(_NOTE, list(orders), list(events), replay_id)


async def untried_s(pool: Pool) -> float:
    """For how many seconds orders have come while no sync was tried; 0 where none has come since the last one."""
    return float(await pool.fetchval(_STILL, timeout=30) or 0.0)
