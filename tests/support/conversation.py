"""The worker of dialogs by hand: events of a conversation in Chatwoot, what handles them on a real Postgres, and what a
person would tap."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from adapters.postgres import buffered_messages, conversations, dialogs, messages
from adapters.postgres.conversations import Asked, Standing
from adapters.postgres.pool import Pool
from daemon.bus.outcome import Done, Outcome, Turn
from daemon.conversations.clarification.answering import NoWay, Way
from daemon.conversations.clarification.buffering import Pace
from daemon.conversations.clarification.clarification import handle, record
from daemon.conversations.clarification.wiring import DialogDeps, dialog_due, settled
from daemon.conversations.dialogs.rules import DIALOGS
from daemon.rules.files import SHIPPED
from schemas.envelope import Event, event_id
from schemas.phone import Phone
from schemas.understanding import Intent

NOW: Final = datetime(2031, 2, 14, 9, 15, tzinfo=UTC)
AT_ONCE: Final = Pace(timedelta(0), timedelta(minutes=5))
USUAL: Final = Pace(timedelta(seconds=30), timedelta(minutes=5))
SECOND: Final = timedelta(seconds=1)
MINUTE: Final = timedelta(minutes=1)
ORDER: Final = "Please write a post"
CONVERSATION: Final = {"account": "1", "id": "42", "inbox": "1"}
CHAT: Final = "chatwoot:1:42"
E164: Final = "+972505550142"


def chatwoot_message(
    id: int | str,
    text: str | None,
    *,
    at: datetime = NOW,
    phone: str | None = E164,
    conversation: Mapping[str, str] = CONVERSATION,
    **told: Any,
) -> Event:
    """A person has written in a conversation of Chatwoot."""
    data = {
        "system": "chatwoot",
        "contact_id": "1:77",
        "phone": phone,
        "at": at.isoformat(),
        "channel": "whatsapp",
        "text": text,
        "message_id": str(id),
        "kind": "text",
        "name": "Noa",
        "conversation": dict(conversation),
        "received": {},
        **told,
    }
    return Event(
        id=event_id("chatwoot", "message", str(id)),
        type="message.received",
        source="chatwoot",
        subject=phone or "bsuid:IL.abc",
        time=at,
        data=json.dumps(data).encode(),
    )


def an_event(type: str, at: datetime = NOW, /, **data: Any) -> Event:
    """Another event of the same person."""
    text = json.dumps(data)
    return Event(
        id=event_id("test", type, text, at.isoformat()),
        type=type,
        source="ferryman",
        subject=E164,
        time=at,
        data=text.encode(),
    )


def changed(what: str, at: datetime = NOW, **told: Any) -> Event:
    """Chatwoot tells of the conversation."""
    data = {"system": "chatwoot", "contact_id": "1:77", "phone": E164, "at": at.isoformat(), "what": what}
    return an_event("conversation.changed", at, conversation=CONVERSATION, **{**data, **told})


async def classify(text: str, language: str | None) -> Intent:
    """Whoever writes of a post wants one."""
    kind = "ORDER" if "post" in text.lower() else "NOTE"
    return Intent(kind, 0.7, "the words", {}, language or "en")  # type: ignore[arg-type]


def deps_of(
    db: Pool, *, pace: Pace = AT_ONCE, way: Way | NoWay | None = None, counted: Callable[..., None] = lambda *_: None
) -> DialogDeps:
    """What the handler is given, on the tables of *db*."""

    async def standing(asked: Asked) -> Standing:
        (found,) = await conversations.standing(db, [asked])
        return found

    async def status(id: Any) -> str | None:
        (found,) = await messages.statuses(db, [id])
        return found

    async def language_of(phone: str) -> str | None:
        return await conversations.language_of(db, [phone])

    def way_of(chat: str, known: Standing) -> Way | NoWay:
        if way is not None:
            return way
        if known.phone is None:
            return NoWay("no phone")
        return Way("chatwoot", "default", Phone.parse_e164(known.phone), known.chatwoot_conversation_id)

    return DialogDeps(
        rules=SHIPPED(DIALOGS),
        pace=pace,
        pause=30 * MINUTE,
        keeps=timedelta(days=30),
        standing=standing,
        status=status,
        twins=partial(buffered_messages.twins, db),
        chat_of_line=partial(conversations.of_line, db),
        chat_of_message=partial(buffered_messages.chat_of, db),
        dialog_of=partial(dialogs.dialog_of, db),
        word=partial(dialogs.word, db),
        language_of=language_of,
        classify=classify,
        way=way_of,
        count=counted,
    )


async def decided(db: Pool, event: Event, deps: DialogDeps, now: datetime | None = None) -> Outcome:
    """What the handler makes of *event*."""
    return await handle(event, deps, Turn(now or event.time))


async def recorded(db: Pool, outcome: Outcome) -> list[Event]:
    """Write *outcome*; returns what is emitted."""
    assert isinstance(outcome, Done)
    async with db.acquire() as conn, conn.transaction():
        return [*outcome.emit, *await record(conn, outcome.rows)]


async def handled(db: Pool, event: Event, deps: DialogDeps, now: datetime | None = None) -> tuple[str, list[Event]]:
    """What became of *event*, and what is emitted."""
    outcome = await decided(db, event, deps, now)
    assert isinstance(outcome, Done)
    return outcome.skipped or "done", await recorded(db, outcome)


async def clock(db: Pool, deps: DialogDeps, now: datetime) -> list[Event]:
    """Let the clock do its work at *now*; returns what is emitted because of it."""
    async with db.acquire() as conn, conn.transaction():
        due = [settled(one, now) for one in await conversations.take_settled(conn, now, 100)]
        due += [dialog_due(one, now) for one in await conversations.take_due(conn, now, 100)]
    return [event for one in due for event in (await handled(db, one, deps, now))[1]]


async def questions(db: Pool) -> list[dict[str, Any]]:
    """The messages to people, in the order in which they were asked for: id, content, purpose."""
    rows = await db.fetch(
        "SELECT id, content::text, purpose, status FROM messages WHERE direction = 'out' ORDER BY created_at"
    )
    return [{**dict(row), "content": json.loads(row["content"])} for row in rows]


async def context(db: Pool, chat: str = CHAT) -> dict[str, Any]:
    """The context of a conversation."""
    found = await db.fetchval("SELECT context_json::text FROM conversations WHERE chat = $1", chat)
    return dict(json.loads(found))


async def orders(db: Pool) -> list[dict[str, Any]]:
    """The rows of `content_orders`."""
    rows = await db.fetch("SELECT *, params_json::text AS params FROM content_orders ORDER BY created_at")
    return [{**dict(row), "params": json.loads(row["params"])} for row in rows]


async def sent(db: Pool, provider_ids: Sequence[str] = ()) -> None:
    """Every message that is queued goes out, and has the given ids of its provider, by their order."""
    ids = [row["id"] for row in await questions(db) if row["status"] == "queued"]
    for n, id in enumerate(ids):
        given = provider_ids[n] if n < len(provider_ids) else f"out-{id}"
        await db.execute("UPDATE messages SET status = 'sent', provider_message_id = $2 WHERE id = $1", id, given)
