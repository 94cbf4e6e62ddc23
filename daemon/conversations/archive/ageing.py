"""Notes that are kept no longer: what the archive holds of them goes first, then their rows, so that nothing is left
that no row names."""

from __future__ import annotations

from typing import Final

import structlog

from adapters.postgres import old_notes
from adapters.postgres.pool import Pool
from daemon.conversations.archive.storing import Archive

EVERY_S: Final = 24 * 3600.0

log = structlog.get_logger(__name__)


async def remove_old(pool: Pool, archive: Archive, days: int) -> int:
    """Delete the notes that are older than *days*, with their files; returns how many. Raises: as the store of objects:
    then the rest goes the next time."""
    count = 0
    while (old := await old_notes.oldest(pool, days)).notes:
        for bucket, path in old.objects:
            await archive.delete(bucket, path)
        await old_notes.forget(pool, old)
        count += len(old.notes)
    if count:
        log.info("retention.removed", kind="notes", rows=count, older_than_days=days)
    return count
