"""The workers and duties that write notes and their files lock rows in one order, so that none waits for another in a
circle."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from adapters.postgres import archive, audio_files, buffered_messages, crm, notes, users
from adapters.postgres.archive import Held, Move, Moved, WaitingObject
from adapters.postgres.audio_files import AudioRow
from adapters.postgres.crm import Heard, Labelled
from adapters.postgres.notes import FileEnd, NewFile, Note
from adapters.postgres.pool import Connection, Pool, connect
from daemon.conversations.archive import archive as messages_of_people
from daemon.conversations.archive import attachments
from daemon.conversations.archive.names import attachment_id, note_id

MANY: Final = 24
ROUNDS: Final = 25
AT: Final = datetime(2031, 2, 14, 9, 15, tzinfo=UTC)
KEYS: Final = [f"chatwoot:{n}" for n in range(MANY)]


def note(key: str) -> Note:
    return Note(
        id=note_id(key),
        message_key=key,
        user=None,
        fallback="account_3",
        system="chatwoot",
        message_id=key.partition(":")[2],
        event_id=key,
        received_at=AT,
        line="+12025550143",
        files=(NewFile(attachment_id(key, 0), 0, None, "voice"),),
        status="error",
    )


def end_of(key: str) -> FileEnd:
    return FileEnd(attachment_id(key, 0), note_id(key), "stored", None, "one", f"{key}.ogg", "gs://one", "audio/ogg", 1)


def spoken(key: str) -> AudioRow:
    return AudioRow(attachment_id(key, 0), note_id(key), None, "", "completed", "text", None, 1, 1, "whisper-1", True)


def some() -> list[str]:
    return random.sample(KEYS, MANY // 2)


async def in_transaction(pool: Pool, work: Callable[[Connection], Awaitable[object]]) -> None:
    async with pool.acquire() as conn, conn.transaction():
        await work(conn)


async def archived(pool: Pool) -> None:
    """The worker conversation-archive keeps messages anew, and their objects wait."""
    rows = [row for key in some() for row in (note(key), WaitingObject("one", f"{key}.json", "x/y", b""))]
    await in_transaction(pool, lambda conn: messages_of_people.record(conn, rows))


async def attached(pool: Pool) -> None:
    rows = [row for key in some() for row in (end_of(key), WaitingObject("one", f"{key}.ogg", "x/y", b""))]
    await in_transaction(pool, lambda conn: attachments.record(conn, rows))


async def transcribed(pool: Pool) -> None:
    await in_transaction(pool, lambda conn: audio_files.keep(conn, [spoken(key) for key in some()], (), 100))


async def assigned(pool: Pool) -> None:
    """Notes get a user; and lose it again, so that the next round finds some."""

    async def assign(conn: Connection) -> None:
        named: dict[UUID, str] = {note_id(key): "u1" for key in some()}
        await archive.follow(conn, await users.assign(conn, named))

    await in_transaction(pool, assign)
    for key in random.sample(KEYS, 3):
        await pool.execute("UPDATE meeting_notes SET user_id = NULL WHERE message_key = $1", key)


async def noted(pool: Pool) -> None:
    await buffered_messages.note(pool, MANY)
    for key in random.sample(KEYS, 12):
        await pool.execute("UPDATE buffered_messages SET noted = false WHERE message_key = $1", key)


async def moved(pool: Pool) -> None:
    key = random.choice(KEYS)
    asked_at = await pool.fetchval("SELECT created_at FROM archive_moves WHERE meeting_note_id = $1", note_id(key))
    objects = (Held("one", f"{key}.json", "x/y"), Held("one", f"{key}.ogg", "x/y", attachment_id(key, 0)))
    move = Move(note_id(key), "u1", asked_at or AT, objects)
    await archive.moved(pool, move, [Moved(one, "one", "gs://one") for one in objects])


async def counted(pool: Pool) -> None:
    """Labels are put on conversations of a few people, whom several systems hear of."""
    heard = [Heard(3, f"person {KEYS.index(key) % 4}", key, 0, frozenset({key}), {}, None) for key in some()]
    labelled = [Labelled(3, KEYS.index(key), frozenset({key})) for key in some()]
    await in_transaction(pool, lambda conn: crm.record(conn, heard, labelled))


async def renamed(pool: Pool) -> None:
    """A bucket turns out to be somebody else's."""
    await archive.rename(pool, "one", "two")
    await archive.rename(pool, "two", "one")


async def test_no_two_of_them_wait_for_each_other(database_url: str, db: Pool) -> None:
    async with db.acquire() as conn, conn.transaction():
        await notes.keep(conn, [note(key) for key in KEYS])
        await audio_files.keep(conn, [spoken(key) for key in KEYS], (), 100)
        await users.have_buckets(conn, {"account_3": "one"})
    await db.execute(
        "INSERT INTO buffered_messages (chat, message_key, event_id, place, at, kind, understood_at, intent)"
        " SELECT 'chatwoot:3:4', key, key, 0, now(), 'text', now(), 'NOTE' FROM unnest($1::text[]) AS key",
        random.sample(KEYS, MANY),
    )

    async def again(act: Callable[[Pool], Awaitable[None]]) -> None:
        for _ in range(ROUNDS):
            await act(pool)

    acts = (archived, attached, transcribed, assigned, noted, moved, counted, renamed)
    async with connect(database_url, size=len(acts)) as pool:
        await asyncio.gather(*map(again, acts))
