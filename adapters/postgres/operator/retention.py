"""Old days go, a whole partition at a time; a day with open work stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from adapters.postgres.pool import Pool

_OLD: Final = """
SELECT to_date(right(relname, 8), 'YYYYMMDD') AS day FROM pg_class
WHERE relkind = 'r' AND relname ~ '^event_journal_p\\d{8}$'
  AND to_date(right(relname, 8), 'YYYYMMDD') < current_date - $1::int
ORDER BY 1
"""

_OPEN: Final = """
SELECT EXISTS (
    SELECT FROM {table} j JOIN unnest($1::text[], $2::text[]) AS w (worker, type) ON w.type = j.type
    WHERE NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = j.id AND i.worker = w.worker AND i.replay_id = ''))
"""


async def drop_old_days(pool: Pool, days: int, workers: Mapping[str, Sequence[str]]) -> tuple[list[date], list[date]]:
    """Drop inbox and journal of days more than *days* ago; payloads go with them. Returns (dropped, kept for open
    work).

    *workers*: name -> the types it handles. Days are dropped oldest first, up to the first one with open work: its
    events would look new to the inbox otherwise.
    """
    pairs = [(worker, type_) for worker, types in workers.items() for type_ in types]
    old = [row["day"] for row in await pool.fetch(_OLD, days)]
    dropped: list[date] = []
    for day in old:
        name = f"{day:%Y%m%d}"
        query = _OPEN.format(table=f"event_journal_p{name}")
        if await pool.fetchval(query, [p[0] for p in pairs], [p[1] for p in pairs]):
            break
        async with pool.acquire() as conn, conn.transaction():
            await conn.execute("SET LOCAL lock_timeout = '5s'")
            await conn.execute(f"DROP TABLE event_journal_p{name}")
            await conn.execute(f"DROP TABLE IF EXISTS inbox_p{name}")
            await conn.execute("DELETE FROM payloads WHERE created_at < $1::date + 1", day)
        dropped.append(day)
    return dropped, [day for day in old if day not in dropped]
