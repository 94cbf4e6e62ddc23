"""The attachment-archive worker: every file of a message is fetched once and kept, by what its bytes are.

    attachment.received ──► fetched, safely ──► sniffed, hashed ──► into the store ──► `note_attachments`: stored
                                                                                  ──► `attachment.stored`
            └─ not to be had, or not to be fetched ──► `note_attachments`: error, with the reason

A file is never fatal to its message. One that is not there yet may be on its way to its own store: it is asked for
again. While our store is away a small file waits in Postgres, and a large one where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple
from uuid import UUID

from adapters.ports import FetchedFile
from adapters.postgres import archive, notes
from adapters.postgres.archive import WaitingObject
from adapters.postgres.notes import FileEnd, FileState
from adapters.postgres.pool import Connection
from daemon.bus.aside import LARGE_BYTES, in_thread
from daemon.bus.outcome import Done, Outcome, Row, Turn
from daemon.bus.worker import Worker
from daemon.conversations.archive.fetching import FILE_CHANNELS
from daemon.conversations.archive.names import bucket_name, file_path
from daemon.conversations.archive.wiring import ARCHIVE, STORAGE, ArchiveDeps, lacking
from schemas.envelope import Event
from schemas.errors import FerrymanError, Malformed, Refused, Transient

ATTEMPTS: Final = 12
LATE_ATTEMPTS: Final = 6
LATE: Final = frozenset({"http-403", "http-404", "http-410", "empty"})
"""Codes of a file that may yet come: its place is told before it is uploaded. From the sixth
attempt on, about half a minute later, they are taken for the end."""

MOST_WAITING_BYTES: Final = 1_000_000
"""A larger file does not wait in Postgres: it is fetched when the store is back."""

AT_ONCE: Final = 8
"""Files in hand at a time: each may have FERRYMAN_ATTACHMENT_MAX_BYTES in memory, twice while it comes."""

DEADLINE_S: Final = 240.0
"""For one attempt: the fetch, and an upload of the longest file."""


class Wanted(NamedTuple):
    """The file of an `attachment.received`. *number*: of ours, to which it came."""

    id: UUID
    note_id: UUID
    kind: str
    url: str | None
    media_id: str | None
    system: str
    stem: str
    bucket: str
    user: str | None
    number: str | None


def wanted(event: Event) -> tuple[Wanted, dict[str, Any]]:
    """The file, and the data of the event. Raises: Malformed."""
    data = event.json()
    try:
        id, note = UUID(data["attachment_id"]), UUID(data["note_id"])
        texts = [data[name] for name in ("kind", "system", "stem", "bucket")]
        others = [data.get(name) for name in ("url", "media_id", "user")] + [_number_in(data.get("message"))]
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise Malformed("the event names no file of a message") from exc
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(o, str | None) for o in others):
        raise Malformed("a member of the event is not text")
    kind, system, stem, bucket = texts
    url, media_id, user, number = others
    return Wanted(id, note, kind, url, media_id, system, stem, bucket, user, number), data


def _number_in(message: object) -> object:
    """The number of ours that the message came to."""
    return message.get("number") if isinstance(message, dict) else None


async def handle(event: Event, deps: ArchiveDeps, turn: Turn) -> Outcome:
    """Fetch and keep one file. Raises: Transient, ChannelClosed, ChannelDown, Malformed."""
    file, data = wanted(event)
    state = await deps.file_state(file.id)
    if state is None:
        return Done(skipped="no note")
    if state.status == "stored":
        return Done(skipped="archived already")
    try:
        fetched = await deps.fetch(file.system, file.url, file.media_id, file.number)
    except Refused as error:
        if error.code in LATE and turn.attempt < LATE_ATTEMPTS:
            raise Transient(f"{error}: it may not be uploaded yet") from None
        return Done(rows=(FileEnd(file.id, file.note_id, "error", error=error.full_text),), skipped="not to be had")
    if fetched is None:
        why = f"a file of {file.system} is known by its id alone, and no token of its account is set"
        return Done(rows=(FileEnd(file.id, file.note_id, "skipped", error=why),), skipped="not fetched")
    return await _kept(event, file, data, state, fetched, deps)


async def _kept(
    event: Event, file: Wanted, data: dict[str, Any], state: FileState, fetched: FetchedFile, deps: ArchiveDeps
) -> Outcome:
    """Put the file where its note is by now."""
    bucket, user = file.bucket, file.user
    if state.user is not None and state.user != user:
        user = state.user
        bucket = (await deps.buckets([user])).get(user) or bucket_name(deps.prefix, user)
    path = file_path(file.stem, file.kind, fetched.content_type)
    digest = await _digest(fetched.body)
    one = WaitingObject(bucket, path, fetched.content_type, fetched.body)
    away = await deps.archive.keep(one)
    if away is not None and len(fetched.body) > MOST_WAITING_BYTES:
        raise away
    size = len(fetched.body)
    location = deps.archive.location(bucket, path)
    row = FileEnd(
        file.id, file.note_id, "stored", user, bucket, path, location, fetched.content_type, size, digest, None
    )
    told = {**data, "bucket": bucket, "user": user, "path": path, "content_type": fetched.content_type}
    stored = event.emit("attachment.stored", 0, {**told, "bytes": size, "sha256": digest}, time=event.time)
    return Done(rows=(row,) if away is None else (row, one), emit=(stored,))


async def _digest(body: bytes) -> str:
    if len(body) <= LARGE_BYTES:
        return sha256(body).hexdigest()
    return await in_thread(lambda: sha256(body).hexdigest())


async def record(conn: Connection, rows: Sequence[Row]) -> None:
    """Write a batch of files. Those whose note got a user meanwhile follow it."""
    late = await notes.end_files(conn, [row for row in rows if isinstance(row, FileEnd)])
    await archive.wait(conn, [row for row in rows if isinstance(row, WaitingObject)])
    await archive.follow(conn, late)


def _given_up(event: Event, error: FerrymanError, turn: Turn) -> Sequence[Row]:
    try:
        file, _ = wanted(event)
    except Malformed:
        return ()
    return (FileEnd(file.id, file.note_id, "error", error=error.full_text),)


WORKER: Final[Worker[ArchiveDeps]] = Worker(
    name="attachment-archive",
    reads=("conversations",),
    types=frozenset({"attachment.received"}),
    begins="everything",
    domain=ARCHIVE,
    handle=handle,
    record=record,
    buried=_given_up,
    channels=(STORAGE, *FILE_CHANNELS.values()),
    on_uncertain="retry",
    off=lacking,
    lanes=lambda settings: AT_ONCE,
    attempts=lambda settings: ATTEMPTS,
    deadline_s=lambda settings: DEADLINE_S,
)
