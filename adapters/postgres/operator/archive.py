"""What of the archive waits, and what has failed."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.pool import Connection

_COUNTS: Final = """
SELECT waiting, since, (SELECT count(*) FROM note_attachments WHERE status = 'error'),
  (SELECT count(*) FROM meeting_notes WHERE processing_status = 'error')
FROM (SELECT count(*) AS waiting, min(created_at) AS since FROM archive_objects) AS objects
"""


class ArchiveCounts(NamedTuple):
    """*waiting*: objects that wait in Postgres for the object store, the oldest *since* then. *files*, *notes*: files
    and messages that could not be archived."""

    waiting: int
    since: datetime | None
    files: int
    notes: int


async def archive_counts(conn: Connection) -> ArchiveCounts:
    """Count them."""
    row = await conn.fetchrow(_COUNTS)
    assert row is not None, "the query answers one row"
    return ArchiveCounts(*row)
