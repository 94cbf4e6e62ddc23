"""Conversations as an operator looks at them: found by whatever is known of them; one with what was said, its dialog,
and what waits. What people have written, and who they are, is shown on request alone, which the audit log keeps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit
from uuid import UUID

import orjson

from adapters.postgres import audit_log
from adapters.postgres.audit_log import Logged
from adapters.postgres.bus.workers import JOURNAL
from adapters.postgres.operator import conversation_parts as parts
from adapters.postgres.operator import conversations as stored
from adapters.postgres.operator.conversation_parts import OpenLetter
from adapters.postgres.operator.conversations import Page, StoredConversation, Wanted
from adapters.postgres.operator.trail import EventFilter
from adapters.postgres.pool import Pool
from daemon.operator import conversation_waits as waits
from daemon.operator import people, sending
from daemon.operator.conversation_dialog import Dialog, dialog_in
from daemon.operator.conversation_documents import (
    dialog_document,
    letter_document,
    masked_name,
    more_document,
    order_document,
    row_document,
)
from daemon.operator.conversation_names import MOST, id_of, named
from daemon.operator.conversation_timeline import Said, said_document, timeline
from daemon.operator.faults import NotThere
from daemon.operator.keys import masked_key
from daemon.operator.messages import waits_for
from daemon.operator.naming import SeveralFit
from daemon.operator.trail import list_events
from daemon.operator.why import Circumstances, read_circumstances, stopped, why_open
from daemon.workers import WORKERS
from schemas.envelope import TYPES
from schemas.phone import line

MOST_LISTED: Final = 200
"""Conversations of one list, and messages that are shown of one, at most."""

REVEALED: Final = "conversation.revealed"
"""The action of the audit log."""

NONE: Final = (
    "no conversation is found by this: give a phone, Chatwoot's number of the conversation (481, or 3:481 with its"
    " account), the id of a message or of a content order, or the beginning of a name; or see"
    " `ferryman conversations find`"
)

_MOST_QUEUED: Final = 5
"""Messages whose reason to wait is looked for, at most."""

_MOST_OPEN: Final = 20
"""Events that no worker has ended with whose reasons are looked for, at most."""

_THEIRS: Final = frozenset({"message.received", *(type for type, topic in TYPES.items() if topic == "conversations")})
"""The types of events that conversations are made of."""

_FIRST: Final = datetime.max.replace(tzinfo=UTC), 2**63 - 1


class Listed(NamedTuple):
    """Conversations as JSON. *more*: there are others after them."""

    found: Sequence[dict[str, Any]]
    more: bool


class NoSuchConversation(NotThere):
    """No conversation has the name that was given."""


async def find(
    pool: Pool,
    text: str | None,
    wanted: Wanted,
    limit: int,
    *,
    reveal: bool,
    actor: str,
    before: tuple[datetime, int] | None = None,
) -> Listed:
    """The conversations that *text* may mean (None: all) and that are *wanted*, the newest first; those that
    come after *before*. *reveal*: with who the people are, which is written down as done by *actor*."""
    meant = None if text is None else await named(pool, text)
    ids = None if meant is None else list(meant)
    lines = [line(phone) for phone in await stored.phones_waited_for(pool)] if wanted.waiting else []
    page = Page(*(before or _FIRST), limit + 1)
    there = [] if ids == [] else await stored.listed(pool, wanted, page, ids, lines)
    found = there[:limit]
    if reveal:
        await _note_down(pool, found, actor)
    by = meant or {}
    return Listed(
        [row_document(one, reveal=reveal) | {"found_by": by.get(one.id)} for one in found], len(there) > limit
    )


async def the_conversation(pool: Pool, text: str) -> StoredConversation:
    """The one conversation that *text* means. Raises: NoSuchConversation; SeveralFit."""
    meant = await named(pool, text)
    found = await stored.listed(pool, Wanted(), Page(*_FIRST, MOST), list(meant), []) if meant else []
    if not found:
        raise NoSuchConversation(NONE)
    if len(found) > 1:
        raise SeveralFit([_line(one) for one in found])
    return found[0]


async def show(pool: Pool, text: str, limit: int, now: datetime, *, reveal: bool, actor: str) -> dict[str, Any]:
    """The conversation that *text* means as JSON, with its *limit* newest messages. *reveal*: with what was said and
    who the person is, which is written down as done by *actor*. Raises: NoSuchConversation; SeveralFit."""
    one = await the_conversation(pool, text)
    if reveal:
        await _note_down(pool, [one], actor)
    dialog = dialog_in(one.context)
    told = await timeline(pool, one, [question.id for question in dialog.questions], limit)
    orders = await parts.content_orders(pool, one.chat)
    letters = await _letters(pool, one)
    return {
        **row_document(one, reveal=reveal),
        **more_document(one, reveal=reveal),
        "contact_id": await _contact(pool, one),
        "dialog": dialog_document(one, dialog, told.said, reveal=reveal),
        "waits": await _waits(pool, one, dialog, told.said, letters, now),
        "timeline": [said_document(each, reveal=reveal) for each in told.said],
        "earlier": told.earlier,
        "content_orders": [order_document(each, reveal=reveal) for each in orders],
        "dead_letters": [letter_document(each) for each in letters],
        "revealed": reveal,
    }


async def _note_down(pool: Pool, found: Sequence[StoredConversation], actor: str) -> None:
    async with pool.acquire() as conn, conn.transaction():
        await audit_log.add(conn, [Logged(actor, REVEALED, f"conversation:{id_of(one)}", {}) for one in found])


async def _waits(
    pool: Pool,
    one: StoredConversation,
    dialog: Dialog,
    said: Sequence[Said],
    letters: Sequence[OpenLetter],
    now: datetime,
) -> list[str]:
    """What waits and why, a sentence each, what a person can do something about first."""
    circumstances: Circumstances = await read_circumstances(pool)
    why = await _why_queued(pool, said, now)
    objects = await _unmoved(pool, said)
    return [
        *waits.handed_over(one),
        *waits.dialog_waits(one, dialog, said, now),
        *waits.not_understood(one, said, now, stopped(waits.UNDERSTANDING, circumstances)),
        *waits.going_out(said, why),
        *waits.files_wait(said),
        *waits.objects_wait(objects),
        *waits.given_up(letters),
        *waits.not_ended(await _open(pool, one)),
    ]


async def _why_queued(pool: Pool, said: Sequence[Said], now: datetime) -> dict[UUID, str]:
    """Message -> why it has not gone out."""
    queued = [one.message for one in said if one.message and one.message.status in ("queued", "sending")]
    found = {}
    for message in queued[:_MOST_QUEUED]:
        why = await waits_for(pool, await sending.show(pool, message.id), now)
        if why is not None:
            found[message.id] = why
    return found


async def _unmoved(pool: Pool, said: Sequence[Said]) -> list[datetime]:
    """The times of messages of which an object waits here for the object store."""
    places, times = list[tuple[str, str]](), list[datetime]()
    for one in said:
        paths = [one.note.gcs_storage_path if one.note else None, *(file.storage_path for file in one.files)]
        for place in (place for path in paths if path for place in _places(path)):
            places.append(place)
            times.append(one.at)
    return sorted({times[at] for at in await parts.unmoved(pool, places)})


def _places(location: str) -> list[tuple[str, str]]:
    """The (bucket, path) that a location may be: of `gs://BUCKET/PATH` the one, of a file any folder may be the
    bucket's."""
    url = urlsplit(location)
    if url.scheme == "gs":
        return [(url.netloc, location.partition(f"{url.netloc}/")[2])]
    steps = unquote(url.path).strip("/").split("/")
    return [(steps[at], "/".join(steps[at + 1 :])) for at in range(len(steps) - 1)]


async def _letters(pool: Pool, one: StoredConversation) -> list[OpenLetter]:
    """The dead letters of its person's events, but for those that name another conversation."""
    return [each for each in await parts.letters(pool, _keys(one), sorted(_THEIRS)) if _may_be_of(each.data, one)]


def _may_be_of(data: str, one: StoredConversation) -> bool:
    """Whether an event with *data* does not name another conversation."""
    try:
        told = orjson.loads(data)
    except orjson.JSONDecodeError:
        return True
    if not isinstance(told, dict):
        return True
    if isinstance(chat := told.get("chat"), str):
        return chat == one.chat
    named = told.get("conversation")
    if not isinstance(named, dict) or one.chatwoot_conversation_id is None:
        return True
    return str(named.get("id")) == str(one.chatwoot_conversation_id)


async def _open(pool: Pool, one: StoredConversation) -> list[dict[str, Any]]:
    """Its person's newest events that a worker has not ended with, each with the reasons."""
    found = [event for key in _keys(one) for event in await list_events(pool, WORKERS, EventFilter(key=key), MOST)]
    unended = {
        event["id"]: event
        for event in found
        if event["type"] in _THEIRS
        and any(state == "open" for worker, state in event["workers"].items() if worker != JOURNAL)
    }
    newest = list(unended.values())[:_MOST_OPEN]
    told = await why_open(pool, [worker for worker in WORKERS if worker.name != JOURNAL], newest)
    return [event for event in told if event["why"]]


def _keys(one: StoredConversation) -> list[str]:
    """The keys of its person's events."""
    return list(dict.fromkeys(key for key in (one.subject, one.line) if key))


async def _contact(pool: Pool, one: StoredConversation) -> str | None:
    """The id of the person's contact, where there is one."""
    found = await people.find(pool, one.phone, 1) if one.phone else []
    return found[0]["id"] if found else None


def _line(one: StoredConversation) -> str:
    """A conversation in one line, which begins with its id."""
    at = f"{one.newest_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    phone = "" if one.phone is None else masked_key(one.phone)
    return "  ".join([id_of(one), at, phone, one.status or "", masked_name(one.name) or ""]).rstrip()
