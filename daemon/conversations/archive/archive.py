"""The conversation-archive worker: every message of a person is kept once, as an object and as a row.

    message.received ──► whose it is, and the bucket ──► the object into the store ──► `meeting_notes`: stored
                                                           └─ the store is away ──► `archive_objects`, moved later
                     ──► `attachment.received` for each of its files

The object is named by the event alone and has the same bytes whenever it is made, so doing it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.postgres import archive, notes, users
from adapters.postgres.archive import JSON, WaitingObject
from adapters.postgres.notes import Note
from adapters.postgres.pool import Connection
from adapters.postgres.users import Who
from daemon.bus.outcome import Done, Outcome, Row, Turn
from daemon.bus.worker import Worker
from daemon.conversations import notices
from daemon.conversations.archive.names import bucket_name
from daemon.conversations.archive.notes import Heard, document_of, failed_note, file_events, heard, note_of
from daemon.conversations.archive.wiring import ARCHIVE, STORAGE, ArchiveDeps, Asked, lacking
from schemas.conversations import CHATWOOT
from schemas.envelope import Event
from schemas.errors import FerrymanError
from schemas.told import is_test_contact

NOT_KEPT: Final = frozenset({"user_preferences"})
"""Kinds that tell something of a person and are no message."""


async def handle(event: Event, deps: ArchiveDeps, turn: Turn) -> Outcome:
    """Keep one message. Raises: Malformed; what the store raises that it will never take."""
    message = heard(event)
    if is_test_contact(message.told.get("contact_id")):
        return Done(skipped="test contact")
    if message.told.get("kind") in NOT_KEPT:
        return Done(skipped="no message")
    found = await deps.find(Asked(message.key, who_of(message), message.fallback))
    if found.archived:
        return Done(skipped="archived already")
    bucket = found.bucket or bucket_name(deps.prefix, found.user or message.fallback)
    body = document_of(message)
    one = WaitingObject(bucket, message.path, JSON, body)
    away = await deps.archive.keep(one)
    location = deps.archive.location(bucket, message.path)
    note = note_of(message, found.user, bucket, location, body, deps.whatsapp_inbox)
    rows: tuple[Row, ...] = (note,) if away is None else (note, one)
    return Done(rows=rows, emit=tuple(file_events(message, found.user, bucket)))


def who_of(message: Heard) -> Who:
    """What a message tells of its person."""
    phones = () if message.phone is None else (message.phone.e164,)
    if message.chat.system != CHATWOOT or message.account is None or message.contact is None:
        return Who(phones)
    return Who(phones, ((message.account, message.contact),))


async def record(conn: Connection, rows: Sequence[Row]) -> Sequence[Event]:
    """Write a batch of notes, whose their buckets are, and the objects that wait for the store; returns what has people
    told that theirs could not be kept."""
    kept = [row for row in rows if isinstance(row, Note)]
    await users.have_buckets(conn, {note.user or note.fallback: note.bucket for note in kept if note.bucket})
    await notes.keep(conn, kept)
    await archive.wait(conn, [row for row in rows if isinstance(row, WaitingObject)])
    return await notices.record(conn, rows)


def _buried(event: Event, error: FerrymanError, turn: Turn) -> Sequence[Row]:
    return (failed_note(event, error.full_text, 0), *notices.rows_of(event, WORKER.name, turn.now))


def _waits(event: Event, why: str, turn: Turn) -> Sequence[Row]:
    return (failed_note(event, why, 0),)


WORKER: Final[Worker[ArchiveDeps]] = Worker(
    name="conversation-archive",
    reads=("messages",),
    types=frozenset({"message.received"}),
    begins="everything",
    domain=ARCHIVE,
    handle=handle,
    record=record,
    buried=_buried,
    waits=_waits,
    channels=(STORAGE,),
    on_uncertain="retry",
    off=lacking,
)
