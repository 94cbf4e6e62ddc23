"""The transcription worker: what is said in a voice note becomes the text of its message.

    attachment.stored ──► no key ─────────────────────► `audio_files`: skipped, with the reason
                      ──► processing ──► asked once ──► completed; the note says it where it had no text of its own
                                     └─► refused ─────► error, with the reason

Each end is told by `message.transcribed`, for a dialog must not wait. A crash between an answer and its commit asks
once more, and does nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from uuid import UUID

from adapters.postgres import audio_files
from adapters.postgres.audio_files import AudioRow, Status
from adapters.postgres.pool import Connection
from adapters.redis.limits import LONGEST_WAIT_S
from daemon.accounts import OPENAI
from daemon.bus.outcome import Done, Later, Outcome, Row, Turn
from daemon.bus.worker import Worker
from daemon.conversations.archive.notes import OTHER
from daemon.conversations.archive.notes import PLACEHOLDERS as STANDS_FOR
from daemon.conversations.archive.wiring import STORAGE
from daemon.conversations.understanding.voice_length import seconds_of
from daemon.conversations.understanding.wiring import VOICE, VoiceDeps
from schemas.conversations import CHATWOOT
from schemas.envelope import Event
from schemas.errors import FerrymanError, Malformed, Refused
from schemas.told import SPOKEN
from schemas.understanding import MOST_TEXT, Transcript

PLACEHOLDERS: Final = tuple({*(STANDS_FOR[kind] for kind in SPOKEN), OTHER})
"""What the note of a voice note says until its text is known."""

NO_KEY: Final = "OPENAI_API_KEY is not set"

AT_ONCE: Final = 8
"""Files in hand at a time: each is in memory whole, twice while it is sent."""

DEADLINE_S: Final = 420.0
"""For one attempt: the file from its store, its place at the rate limit, the longest transcription."""

End: TypeAlias = Literal["completed", "skipped", "error"]

_PLACES: Final[dict[End, int]] = {"completed": 0, "error": 1, "skipped": 2}
"""Each end has an event of its own: a dead letter that is taken up again tells how it ended then."""

_NOT_HEARD: Final = ("text/", "image/", "application/pdf")


class Voice(NamedTuple):
    """The file of an `attachment.stored`. *message*: what its events carry on of its message."""

    id: UUID
    note_id: UUID
    message_key: str
    kind: str
    attachment: str | None
    bucket: str
    path: str
    content_type: str
    size: int
    message: object


class Told(NamedTuple):
    """An event that goes out although the handler has failed."""

    event: Event


def voice_of(event: Event) -> Voice:
    """The file. Raises: Malformed."""
    data = event.json()
    try:
        ids = UUID(data["attachment_id"]), UUID(data["note_id"])
        key, kind, bucket, path, type = (data[n] for n in ("message_key", "kind", "bucket", "path", "content_type"))
        attachment = data.get("id") if data.get("system") == CHATWOOT else None
        size = data["bytes"]
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise Malformed("the event names no file of a message") from exc
    if not all(isinstance(text, str) for text in (key, kind, bucket, path, type)) or not isinstance(size, int):
        raise Malformed("a member of the event is of the wrong kind")
    named = str(attachment) if isinstance(attachment, str | int) else None
    return Voice(*ids, key, kind, named, bucket, path, type, size, data.get("message"))


async def handle(event: Event, deps: VoiceDeps, turn: Turn) -> Outcome:
    """Have one voice note transcribed. Raises what the store and the transcriber raise but Refused, and Malformed."""
    if event.json().get("kind") not in SPOKEN:
        return Done(skipped="no voice")
    voice = voice_of(event)
    if (known := await deps.transcript_of(voice.id)) is not None:
        return Done(emit=(_told(event, turn, voice, "completed", known),), skipped="transcribed already")
    if deps.transcriber is None:
        return _ended(event, deps, turn, voice, "skipped", NO_KEY)
    if (why := _unfit(voice, deps.transcriber.most_bytes)) is not None:
        return _ended(event, deps, turn, voice, "error", why)
    if turn.step == "":
        return Later(turn.now, rows=(_row(voice, "processing", model=deps.model),), step="ask")
    try:
        body = await deps.load(voice.bucket, voice.path)
        heard = await deps.transcriber.transcribe(body, voice.content_type, voice.path.rpartition("/")[2], None)
    except Refused as error:
        return _ended(event, deps, turn, voice, "error", error.full_text)
    return _completed(event, deps, turn, voice, heard, body)


def _unfit(voice: Voice, most_bytes: int) -> str | None:
    """Why it cannot be transcribed, without a look at it."""
    if voice.size > most_bytes:
        return f"the audio is larger than the {most_bytes} bytes that are taken"
    if voice.size == 0:
        return "the file is empty"
    if voice.content_type.startswith(_NOT_HEARD):
        return f"the file is {voice.content_type} and no audio"
    return None


def _completed(event: Event, deps: VoiceDeps, turn: Turn, voice: Voice, heard: Transcript, body: bytes) -> Done:
    text = heard.text.replace("\x00", "")[:MOST_TEXT]
    seconds = heard.duration_s if heard.duration_s is not None else seconds_of(body)
    deps.metrics.inc("ferryman_transcriptions_total", {"outcome": "completed"})
    deps.metrics.inc("ferryman_transcribed_seconds_total", n=seconds or 0)
    row = _row(voice, "completed", text=text, seconds=seconds, model=deps.model)
    return Done(rows=(row,), emit=(_told(event, turn, voice, "completed", text, heard.language),))


def _ended(event: Event, deps: VoiceDeps, turn: Turn, voice: Voice, end: End, why: str) -> Done:
    """The end of a voice note without a text. The reason of the event is one of a closed set; the row has the whole."""
    deps.metrics.inc("ferryman_transcriptions_total", {"outcome": end})
    row = _row(voice, end, error=why, model=None if end == "skipped" else deps.model)
    reason = "no key" if end == "skipped" else "cannot be transcribed"
    return Done(rows=(row,), emit=(_told(event, turn, voice, end, None),), skipped=reason)


def _row(
    voice: Voice,
    status: Status,
    *,
    text: str | None = None,
    error: str | None = None,
    seconds: float | None = None,
    model: str | None = None,
) -> AudioRow:
    return AudioRow(
        id=voice.id,
        note_id=voice.note_id,
        attachment=voice.attachment,
        path=f"{voice.bucket}/{voice.path}",
        status=status,
        text=text,
        error=error,
        duration_s=None if seconds is None else round(seconds),
        size=voice.size,
        model=model,
        ended=status not in ("pending", "processing"),
    )


def _told(event: Event, turn: Turn, voice: Voice, end: End, text: str | None, language: str | None = None) -> Event:
    data: dict[str, Any] = {"message_key": voice.message_key, "text": text, "status": end}
    data |= {"attachment_id": str(voice.id), "language": language, "message": voice.message}
    return event.emit("message.transcribed", _PLACES[end], data, time=turn.now)


def buried(event: Event, error: FerrymanError, turn: Turn) -> Sequence[Row]:
    """The row of a dead letter, and its event: whoever waits for the text waits no longer."""
    try:
        voice = voice_of(event)
    except Malformed:
        return ()
    why = error.full_text or type(error).__name__
    return _row(voice, "error", error=why), Told(_told(event, turn, voice, "error", None))


def waits(event: Event, why: str, turn: Turn) -> Sequence[Row]:
    """The row of a voice note that waits for its channel, or for its next attempt."""
    try:
        return (_row(voice_of(event), "pending", error=why),)
    except Malformed:
        return ()


async def record(conn: Connection, rows: Sequence[Row]) -> Sequence[Event]:
    """Write a batch of voice notes; notes without a text of their own say what was said. Locks notes before files."""
    await audio_files.keep(conn, [row for row in rows if isinstance(row, AudioRow)], PLACEHOLDERS, MOST_TEXT)
    return [row.event for row in rows if isinstance(row, Told)]


WORKER: Final[Worker[VoiceDeps]] = Worker(
    name="transcription",
    reads=("conversations",),
    types=frozenset({"attachment.stored"}),
    begins="now",
    domain=VOICE,
    handle=handle,
    record=record,
    buried=buried,
    waits=waits,
    channels=(OPENAI, STORAGE),
    on_uncertain="retry",
    lanes=lambda settings: AT_ONCE,
    deadline_s=lambda settings: DEADLINE_S + LONGEST_WAIT_S,
)
