"""Objects on their way: those that wait for the store, and those that go to another bucket. Rows are locked in the
order that `adapters.postgres.notes` tells."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from adapters.postgres.pool import Connection, Pool

JSON: Final = "application/json"

TAKEN_S: Final = 120
"""For so long what a process has taken is left to it: longer than its work on it takes."""

_WAIT: Final = """
INSERT INTO archive_objects (bucket, path, content_type, body) VALUES ($1, $2, $3, $4)
ON CONFLICT (bucket, path) DO UPDATE SET content_type = excluded.content_type, body = excluded.body
"""
_TAKE: Final = """
UPDATE archive_objects SET taken_until = now() + make_interval(secs => $2)
WHERE ctid = ANY(ARRAY(
  SELECT ctid FROM archive_objects WHERE taken_until IS NULL OR taken_until < now()
  ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING bucket, path, content_type, body
"""
_DONE: Final = "DELETE FROM archive_objects WHERE bucket = $1 AND path = $2"
_BACK: Final = (
    "UPDATE archive_objects SET taken_until = now() + make_interval(secs => $3) WHERE bucket = $1 AND path = $2"
)
_KNOWN: Final = """
SELECT (SELECT body FROM archive_objects WHERE bucket = $1 AND path = $2) AS body,
       (SELECT to_bucket FROM archive_moved WHERE bucket = $1 AND path = '') AS renamed
"""
_COUNT: Final = "SELECT count(*) FROM archive_objects"
_RENAME: Final = "UPDATE user_bucket_mapping SET bucket_name = $2, updated_at = now() WHERE bucket_name = $1"
_LOCK_NOTES_IN: Final = """
SELECT id FROM meeting_notes
WHERE bucket = $1 OR id IN (SELECT meeting_note_id FROM note_attachments WHERE bucket = $1)
ORDER BY id FOR NO KEY UPDATE
"""
_RENAME_OF_NOTES: Final = (
    """UPDATE meeting_notes SET bucket = $2, gcs_storage_path = replace(gcs_storage_path, $1, $2)
       WHERE id = ANY($3) AND bucket = $1""",
    """UPDATE audio_files a SET file_path = replace(a.file_path, $1, $2) FROM note_attachments f
       WHERE f.meeting_note_id = ANY($3) AND f.bucket = $1 AND a.note_attachment_id = f.id""",
    """UPDATE note_attachments SET bucket = $2, storage_path = replace(storage_path, $1, $2)
       WHERE meeting_note_id = ANY($3) AND bucket = $1""",
)
_LOCK_OBJECTS: Final = "LOCK TABLE archive_objects IN SHARE ROW EXCLUSIVE MODE"
"""So that none comes meanwhile. It is done once for a bucket's name that is somebody else's."""

_RENAME_OF_OBJECTS: Final = (
    """DELETE FROM archive_objects o USING archive_objects there
       WHERE o.bucket = $1 AND there.bucket = $2 AND there.path = o.path""",  # with the same bytes
    "UPDATE archive_objects SET bucket = $2, taken_until = NULL WHERE bucket = $1",
    """INSERT INTO archive_moved (bucket, path, to_bucket, deleted_at) VALUES ($1, '', $2, now())
       ON CONFLICT (bucket, path) DO UPDATE SET to_bucket = excluded.to_bucket, deleted_at = excluded.deleted_at""",
)
_LOCK_NOTE: Final = "SELECT FROM meeting_notes WHERE id = $1 FOR NO KEY UPDATE"
_FOLLOW: Final = """
INSERT INTO archive_moves (meeting_note_id) SELECT unnest($1::uuid[]) ORDER BY 1
ON CONFLICT (meeting_note_id) DO UPDATE SET created_at = clock_timestamp()
"""
_TAKE_MOVES: Final = """
WITH taken AS (
  UPDATE archive_moves SET taken_until = now() + make_interval(secs => $2)
  WHERE meeting_note_id = ANY(ARRAY(
    SELECT meeting_note_id FROM archive_moves WHERE taken_until IS NULL OR taken_until < now()
    ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED))
  RETURNING meeting_note_id, created_at)
SELECT t.meeting_note_id AS id, n.user_id, t.created_at, n.bucket, n.object_path
FROM taken AS t
CROSS JOIN LATERAL (
  SELECT user_id, bucket, object_path FROM meeting_notes WHERE id = t.meeting_note_id LIMIT 1) AS n
ORDER BY t.created_at
"""
_STORED_FILES: Final = """
SELECT meeting_note_id, bucket, object_path, content_type, id FROM note_attachments
WHERE meeting_note_id = ANY($1) AND status = 'stored' ORDER BY meeting_note_id, place
"""
_WAITS: Final = """
SELECT EXISTS (SELECT FROM archive_objects AS w JOIN unnest($1::text[], $2::text[]) AS o (bucket, path)
               ON (w.bucket, w.path) = (o.bucket, o.path))
"""
_MOVED_NOTE: Final = "UPDATE meeting_notes SET bucket = $2, gcs_storage_path = $3 WHERE id = $1"
_MOVED_FILE: Final = "UPDATE note_attachments SET bucket = $2, storage_path = $3, updated_at = now() WHERE id = $1"
_MOVED_AUDIO: Final = "UPDATE audio_files SET file_path = $2 WHERE note_attachment_id = $1"
_LEFT: Final = """
INSERT INTO archive_moved (bucket, path, to_bucket) VALUES ($1, $2, $3)
ON CONFLICT (bucket, path) DO UPDATE SET to_bucket = excluded.to_bucket, deleted_at = NULL, taken_until = NULL
"""
_MOVE_ENDS: Final = "DELETE FROM archive_moves WHERE meeting_note_id = $1 AND created_at = $2"
_MOVE_LATER: Final = """
UPDATE archive_moves SET taken_until = now() + make_interval(secs => $2) WHERE meeting_note_id = $1
"""
_TAKE_LEFT: Final = """
UPDATE archive_moved SET taken_until = now() + make_interval(secs => $2)
WHERE ctid = ANY(ARRAY(
  SELECT ctid FROM archive_moved WHERE deleted_at IS NULL AND (taken_until IS NULL OR taken_until < now())
  ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING bucket, path
"""
_DELETED: Final = "UPDATE archive_moved SET deleted_at = now() WHERE bucket = $1 AND path = $2"
_NOW_IN: Final = "SELECT to_bucket FROM archive_moved WHERE bucket = $1 AND path = $2"
_FORGET: Final = "DELETE FROM archive_moved WHERE deleted_at < now() - make_interval(days => $1)"


class WaitingObject(NamedTuple):
    """An object that waits for the store."""

    bucket: str
    path: str
    content_type: str
    body: bytes


class Held(NamedTuple):
    """An object of a note. *attachment*: the file's row; None: it is the note's own object."""

    bucket: str
    path: str
    content_type: str
    attachment: UUID | None = None


class Move(NamedTuple):
    """A note whose objects are to go to the bucket of *user*. *asked_at*: as `moved` takes it."""

    note_id: UUID
    user: str
    asked_at: datetime
    objects: tuple[Held, ...]


class Moved(NamedTuple):
    """An object that was copied: *location*, where it is now."""

    object: Held
    to_bucket: str
    location: str


class Known(NamedTuple):
    """*body*: of an object that waits; None: it does not. *renamed*: how its bucket is called since; None: so."""

    body: bytes | None
    renamed: str | None


class Place(NamedTuple):
    """Where an object is."""

    bucket: str
    path: str


async def wait(conn: Connection, objects: Sequence[WaitingObject]) -> None:
    """Keep objects until the store takes them."""
    for one in sorted(objects, key=lambda one: (one.bucket, one.path)):
        await conn.execute(_WAIT, *one)


async def take(pool: Pool, most: int) -> list[WaitingObject]:
    """At most *most* objects that wait, the oldest first; no other process takes them meanwhile."""
    rows = await pool.fetch(_TAKE, most, TAKEN_S)
    return [WaitingObject(*row) for row in rows]


async def arrived(pool: Pool, one: WaitingObject) -> None:
    """The store has the object."""
    await pool.execute(_DONE, one.bucket, one.path)


async def put_back(pool: Pool, objects: Sequence[WaitingObject], pause_s: float) -> None:
    """The store did not take them: after *pause_s* seconds they may be taken again."""
    for one in objects:
        await pool.execute(_BACK, one.bucket, one.path, pause_s)


async def known(pool: Pool, bucket: str, path: str) -> Known:
    """What is known here of an object."""
    row = await pool.fetchrow(_KNOWN, bucket, path)
    return Known(None, None) if row is None else Known(*row)


async def count(pool: Pool) -> int:
    """How many objects wait."""
    return int(await pool.fetchval(_COUNT))


async def rename(pool: Pool, old: str, new: str) -> None:
    """Whatever was to be in the bucket *old*, which is not ours, is to be in *new*. Where it went is remembered, as an
    event that was on its way meanwhile may name *old*."""
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(_RENAME, old, new)
        notes = [row["id"] for row in await conn.fetch(_LOCK_NOTES_IN, old)]
        for statement in _RENAME_OF_NOTES:
            await conn.execute(statement, old, new, notes)
        await conn.execute(_LOCK_OBJECTS)
        for statement in _RENAME_OF_OBJECTS:
            await conn.execute(statement, old, new)


async def follow(conn: Connection, notes: Sequence[UUID]) -> None:
    """The objects of *notes* are to go to the buckets of their users."""
    if notes:
        await conn.execute(_FOLLOW, list(notes))


async def take_moves(pool: Pool, most: int) -> list[Move]:
    """At most *most* notes whose objects are to move; no other process takes them meanwhile."""
    notes = await pool.fetch(_TAKE_MOVES, most, TAKEN_S)
    files: dict[UUID, list[Held]] = {note["id"]: [] for note in notes}
    for row in await pool.fetch(_STORED_FILES, list(files)) if files else ():
        files[row["meeting_note_id"]].append(Held(*row[1:]))
    return [
        Move(
            note["id"],
            note["user_id"],
            note["created_at"],
            (
                *([Held(note["bucket"], note["object_path"], JSON)] if note["object_path"] is not None else []),
                *files[note["id"]],
            ),
        )
        for note in notes
    ]


async def any_waits(pool: Pool, objects: Sequence[Held]) -> bool:
    """Whether one of *objects* still waits for the store."""
    return bool(await pool.fetchval(_WAITS, [one.bucket for one in objects], [one.path for one in objects]))


async def moved(pool: Pool, move: Move, done: Sequence[Moved]) -> None:
    """The objects *done* of a note were copied: its rows say so, and the old objects are to be deleted. The move ends,
    unless it was asked for anew meanwhile."""
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(_LOCK_NOTE, move.note_id)
        for one in done:
            if one.object.attachment is None:
                await conn.execute(_MOVED_NOTE, move.note_id, one.to_bucket, one.location)
            else:
                await conn.execute(_MOVED_FILE, one.object.attachment, one.to_bucket, one.location)
                await conn.execute(_MOVED_AUDIO, one.object.attachment, one.location)
            await conn.execute(_LEFT, one.object.bucket, one.object.path, one.to_bucket)
        await conn.execute(_MOVE_ENDS, move.note_id, move.asked_at)


async def move_later(pool: Pool, note: UUID, pause_s: float) -> None:
    """The note's objects cannot be moved now: after *pause_s* seconds it may be taken again."""
    await pool.execute(_MOVE_LATER, note, pause_s)


async def take_leftovers(pool: Pool, most: int) -> list[Place]:
    """At most *most* objects that were copied elsewhere and are to be deleted."""
    return [Place(*row) for row in await pool.fetch(_TAKE_LEFT, most, TAKEN_S)]


async def deleted(pool: Pool, place: Place) -> None:
    """The store has the object no more."""
    await pool.execute(_DELETED, *place)


async def now_in(pool: Pool, bucket: str, path: str) -> str | None:
    """The bucket that an object was copied to; None: it was not."""
    found: str | None = await pool.fetchval(_NOW_IN, bucket, path)
    return found


async def forget_moved(pool: Pool, days: int) -> None:
    """Forget where objects went whose old ones were deleted more than *days* days ago."""
    await pool.execute(_FORGET, days)
