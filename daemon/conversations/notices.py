"""What is said unasked: that something failed, and that something is ready. Each once.

A worker that buries what a person wrote cannot say so itself, as it is not given what finds the way to them. It leaves
that to the worker of dialogs, by a `dialog.due` with the member `notice`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from adapters.postgres import messages
from adapters.postgres.messages import Request
from adapters.postgres.pool import Connection
from daemon.bus.outcome import Row
from daemon.conversations.dialogs.asking import notice
from daemon.conversations.dialogs.rules import DialogRules
from daemon.conversations.dialogs.steps import Ask
from daemon.messages.requests import event_of
from schemas.conversations import chat_of
from schemas.envelope import Event, event_id
from schemas.errors import Malformed
from schemas.messages import Text

FAILURES: Final[Mapping[str, str]] = {"clarification": "order_failed", "conversation-archive": "bucket_failed"}
"""Worker -> the notice of `dialogs.toml` that tells of its dead letters."""

READY: Final = "ready"


class Told(NamedTuple):
    """A notice of `dialogs.toml` that is to be given. *day*: told once a day, as many things may fail at once."""

    name: str
    day: str


@dataclass(frozen=True, slots=True, repr=False)
class Failed:
    """A worker has buried what the person of *chat* wrote."""

    chat: str
    name: str
    at: datetime
    cause: Event


@dataclass(frozen=True, slots=True, repr=False)
class Notice:
    """A notice on its way. *cause*: the event that brings it about."""

    request: Request
    cause: Event


def rows_of(event: Event, worker: str, now: datetime) -> Sequence[Row]:
    """The rows by which a person learns that *worker* has buried *event*; none where that is no message of theirs. To
    be recorded by `record`."""
    with suppress(Malformed, AttributeError, TypeError):
        told = event.json()
        if event.type == "message.received" and "odd" not in told:
            return (Failed(chat_of(told).key, FAILURES[worker], now, event),)
        chat = told.get("chat")
        if event.type == "conversation.settled" and isinstance(chat, str):
            return (Failed(chat, FAILURES[worker], now, event),)
    return ()


def told_in(told: Mapping[str, Any]) -> Told | None:
    """The notice that the data of a `dialog.due` ask for; None: they ask for none."""
    name, day = told.get("notice"), told.get("day")
    known = isinstance(name, str) and name in FAILURES.values() and isinstance(day, str)
    return Told(str(name), str(day)) if known else None


def failure(rules: DialogRules, chat: str, told: Told, language: str | None) -> Ask:
    """What is said of a failure."""
    id = UUID(event_id("notice", chat, told.name, told.day))
    return Ask(id, Text(notice(rules, told.name, language)), "notice")


def ready(rules: DialogRules, order_id: UUID, language: str | None) -> Ask:
    """What is said of an order that is ready."""
    id = UUID(event_id("notice", READY, str(order_id)))
    return Ask(id, Text(notice(rules, READY, language, {"order_id": str(order_id), "order": str(order_id)})), "notice")


async def record(conn: Connection, rows: Sequence[Row]) -> Sequence[Event]:
    """Write the notices among *rows*; returns what brings them on their way."""
    given = [row for row in rows if isinstance(row, Notice)]
    new = await messages.request_once(conn, [row.request for row in given])
    asked = [_asked_for(row) for row in rows if isinstance(row, Failed)]
    return [*asked, *(_sent(row) for row in given if row.request.id in new)]


def _sent(row: Notice) -> Event:
    cause = row.cause
    return event_of(row.request, cause.time)._replace(causationid=cause.id, traceparent=cause.traceparent)


def _asked_for(row: Failed) -> Event:
    day = row.at.date().isoformat()
    return Event(
        id=event_id("ferryman", "dialog.due", row.chat, row.name, row.cause.id),
        type="dialog.due",
        source="ferryman",
        subject=row.cause.subject,
        time=row.at,
        data=orjson.dumps({"chat": row.chat, "version": None, "notice": row.name, "day": day}),
        traceparent=row.cause.traceparent,
        causationid=row.cause.id,
    )
