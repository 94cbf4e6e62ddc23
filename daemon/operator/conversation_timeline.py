"""What was said in a conversation, both ways, in the order of time: each message with its archive, its files and their
texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from adapters.postgres.operator import conversation_parts as parts
from adapters.postgres.operator.conversation_parts import (
    StoredFile,
    StoredMessage,
    StoredNote,
    StoredWaiting,
    Whose,
)
from adapters.postgres.operator.conversations import StoredConversation
from adapters.postgres.pool import Pool
from daemon.messages.rules import HEARD_BY
from daemon.operator.conversation_names import SYSTEMS
from daemon.telemetry.redaction import redact_text
from schemas.phone import aliases

PLAIN: Final = "text"
"""The kind of an archived message of which nothing else is known."""

AGENT: Final = "agent_reply"
"""The kind of what a human agent has written, of which nothing but its time is known."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Said:
    """One message. Of what a person has written any of *message*, *note* and *waiting* may be missing: each is the work
    of a worker of its own. *key*: its name over all systems, where it has one. *agent*: a human agent wrote it."""

    key: str | None
    at: datetime
    message: StoredMessage | None = None
    note: StoredNote | None = None
    waiting: StoredWaiting | None = None
    files: Sequence[StoredFile] = ()
    agent: bool = False

    @property
    def kind(self) -> str:
        """Of the message: text, voice, choices and so on."""
        if self.message is not None:
            return self.message.kind
        if self.agent:
            return AGENT
        return PLAIN if self.waiting is None else self.waiting.kind

    @property
    def event_ids(self) -> list[str]:
        """Of the events that brought it here."""
        told = (self.message, self.note, self.waiting)
        return list(dict.fromkeys(one.event_id for one in told if one is not None))


@dataclass(frozen=True, slots=True)
class Timeline:
    """*said*: oldest first. *earlier*: whether there is more before it."""

    said: Sequence[Said] = field(repr=False)
    earlier: bool


async def timeline(pool: Pool, of: StoredConversation, asked: Sequence[UUID], limit: int) -> Timeline:
    """The *limit* newest messages of a conversation. *asked*: questions of its dialog."""
    phones = () if of.phone is None else aliases(of.phone)
    notes = {one.message_key: one for one in await parts.notes(pool, of, phones, limit + 1)}
    waiting = {one.message_key: one for one in await parts.waiting(pool, of.chat, list(notes))}
    told = [id for key in {**notes, **waiting} if (id := _id_in(key, of.system)) is not None]
    whose = Whose(phones, [of.system], sent_by(of.system))
    messages = await parts.messages(pool, of, whose, asked, told, limit + 1)
    keys = {key for one in messages if (key := _key_of(one)) is not None}
    notes |= {one.message_key: one for one in await parts.notes_of(pool, sorted(keys - notes.keys()))}
    waiting |= {one.message_key: one for one in await parts.waiting(pool, of.chat, sorted(keys - waiting.keys()))}
    agents = [Said(key=None, at=at, agent=True) for at in await parts.agent_replies(pool, of.chat, limit + 1)]
    found = sorted([*_joined(messages, notes, waiting), *agents], key=lambda one: (one.at, one.key or ""))
    shown = found[-limit:]
    files = await _files(pool, [one.note.id for one in shown if one.note is not None])
    return Timeline([_with_files(one, files) for one in shown], len(found) > limit)


def sent_by(system: str) -> Sequence[str]:
    """The names of those that send to people who write by *system*."""
    return [system] if system in HEARD_BY else [name for name, heard in HEARD_BY.items() if system in heard]


def said_document(one: Said, *, reveal: bool) -> dict[str, Any]:
    """As JSON. Without *reveal* nothing of what is said is in it."""
    m, n, w = one.message, one.note, one.waiting
    return {
        "at": one.at,
        "direction": ("out" if one.agent else "in") if m is None else m.direction,
        "id": None if m is None else str(m.id),
        "message_key": one.key,
        "provider": None if m is None else m.provider,
        "kind": one.kind,
        "status": ("sent" if one.agent else "received") if m is None else m.status,
        "error": None if m is None else m.error,
        "error_code": None if m is None else m.error_code,
        "not_before": None if m is None else m.not_before,
        "purpose": None if m is None else m.purpose,
        "understanding": _understanding(w),
        "note": None if n is None else _note_document(n),
        "files": [_file_document(file, reveal=reveal) for file in one.files],
        "content": content_of(one) if reveal else None,
    }


def content_of(one: Said) -> dict[str, Any] | None:
    """What is said; None: nothing is kept of it."""
    if one.message is not None:
        return dict(one.message.content)
    text = one.note.content if one.note is not None else None
    if text is None and one.waiting is not None:
        text = one.waiting.text
    return None if text is None else {"text": text}


def _understanding(one: StoredWaiting | None) -> str | None:
    if one is None:
        return None
    if one.understood_at is not None:
        return "understood"
    return "waits for its text" if one.waits_for_text else "waits"


def _note_document(note: StoredNote) -> dict[str, Any]:
    return {
        "id": str(note.id),
        "status": note.processing_status,
        "error": None if note.error_details is None else redact_text(note.error_details),
        "storage_path": note.gcs_storage_path,
        "intent": note.intent,
        "confidence": None if note.intent_confidence is None else round(note.intent_confidence, 4),
        "reason": None if note.intent_reason is None else redact_text(note.intent_reason),
    }


def _file_document(file: StoredFile, *, reveal: bool) -> dict[str, Any]:
    return {
        "kind": file.kind,
        "status": file.status,
        "content_type": file.content_type,
        "bytes": file.bytes,
        "storage_path": file.storage_path,
        "error": None if file.error is None else redact_text(file.error),
        "transcription": file.spoken,
        "transcription_error": None if file.spoken_error is None else redact_text(file.spoken_error),
        "duration_seconds": file.duration_seconds,
        "text": file.transcription if reveal else None,
    }


def _joined(
    messages: Sequence[StoredMessage], notes: Mapping[str, StoredNote], waiting: Mapping[str, StoredWaiting]
) -> Iterator[Said]:
    """Each message once."""
    known = {key: one for one in messages if (key := _key_of(one)) is not None}
    for one in messages:
        if (key := _key_of(one)) is None:
            yield Said(key=None, at=one.at, message=one)
    for key in {**known, **notes, **waiting}:
        message, note, held = known.get(key), notes.get(key), waiting.get(key)
        at = message.at if message is not None else held.at if held is not None else notes[key].created_at
        yield Said(key=key, at=at, message=message, note=note, waiting=held)


def _key_of(one: StoredMessage) -> str | None:
    """The name over all systems of what a person has written."""
    return f"{one.provider}:{one.provider_message_id}" if one.direction == "in" and one.provider_message_id else None


def _id_in(key: str, system: str) -> str | None:
    """The system's own id in the name of a message."""
    name, _, id = key.partition(":")
    return id if name == system and name in SYSTEMS else None


async def _files(pool: Pool, note_ids: Sequence[UUID]) -> Mapping[UUID, list[StoredFile]]:
    found: dict[UUID, list[StoredFile]] = {}
    for file in await parts.files(pool, note_ids):
        found.setdefault(file.note_id, []).append(file)
    return found


def _with_files(one: Said, files: Mapping[UUID, list[StoredFile]]) -> Said:
    there = [] if one.note is None else files.get(one.note.id, [])
    return replace(one, files=there)
