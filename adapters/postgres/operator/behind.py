"""Which earlier event of the same key an open event waits behind. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.postgres.pool import Pool

# An event that the journal does not have yet comes after all those that it has.
_BEHIND: Final = """
SELECT j.id FROM event_journal j
WHERE j.subject = $1 AND j.type = ANY($2::text[]) AND j.id <> $4
  AND j.seq < coalesce((SELECT min(seq) FROM event_journal WHERE id = $4), 9223372036854775807)
  AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = j.id AND i.worker = $3 AND i.replay_id = '')
  AND NOT EXISTS (SELECT FROM workers w WHERE w.name = $3 AND w.begins = 'now' AND j.time < w.began_at)
ORDER BY j.seq LIMIT 1
"""


async def first_open(pool: Pool, worker: str, types: Sequence[str], key: str, event_id: str) -> str | None:
    """The id of the first event of *key* that came before *event_id* and that *worker* has not ended with. *types*:
    those that the worker handles."""
    found: str | None = await pool.fetchval(_BEHIND, key, types, worker, event_id)
    return found
