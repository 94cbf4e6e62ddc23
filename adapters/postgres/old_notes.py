"""Notes that are older than they are kept: what they hold in the archive, and their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from adapters.postgres.pool import Pool

BATCH: Final = 100

_OLD: Final = """
SELECT n.id, n.bucket, n.object_path FROM meeting_notes n
WHERE n.created_at < now() - make_interval(days => $1) ORDER BY n.created_at LIMIT $2
"""
_FILES: Final = """
SELECT bucket, object_path FROM note_attachments WHERE meeting_note_id = ANY ($1::uuid[]) AND object_path IS NOT NULL
"""
_COUNT: Final = "SELECT count(*) FROM meeting_notes WHERE created_at < now() - make_interval(days => $1)"
_WAITING: Final = "DELETE FROM archive_objects WHERE (bucket, path) IN (SELECT * FROM unnest($1::text[], $2::text[]))"


class Old(NamedTuple):
    """Notes, and the (bucket, path) of what the archive has of them."""

    notes: Sequence[UUID]
    objects: Sequence[tuple[str, str]]


async def oldest(pool: Pool, days: int) -> Old:
    """The oldest notes that are older than *days*, at most BATCH."""
    rows = await pool.fetch(_OLD, days, BATCH)
    ids = [row["id"] for row in rows]
    files = [(row["bucket"], row["object_path"]) for row in await pool.fetch(_FILES, ids)]
    return Old(ids, [*((row["bucket"], row["object_path"]) for row in rows if row["object_path"]), *files])


async def forget(pool: Pool, old: Old) -> None:
    """Delete the rows of notes, of their files and voices, and what waits of them for the store."""
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(_WAITING, [bucket for bucket, _ in old.objects], [path for _, path in old.objects])
        await conn.execute("DELETE FROM meeting_notes WHERE id = ANY ($1::uuid[])", old.notes)


async def count(pool: Pool, days: int) -> int:
    """How many notes are older than *days*."""
    return int(await pool.fetchval(_COUNT, days, timeout=60))
