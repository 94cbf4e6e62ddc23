"""One person, over all systems: who they are, everything that happened in the order of time, what is open and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from adapters.postgres import audit_log
from adapters.postgres.audit_log import Logged
from adapters.postgres.operator import person as stored
from adapters.postgres.operator import trail
from adapters.postgres.operator.person import PersonConversation, PersonLetter, PersonMessage, PersonNote
from adapters.postgres.operator.trail import EventFilter
from adapters.postgres.pool import Pool
from daemon.operator import people
from daemon.operator.keys import masked_key
from daemon.operator.trail import list_events, trail_of
from daemon.operator.why.answer import Here, why_all
from daemon.operator.why.circumstances import read_circumstances
from daemon.telemetry.redaction import redact_text
from daemon.workers import WORKERS
from schemas.identity import key
from schemas.phone import aliases, line

MOST: Final = 200
"""Rows of each kind that are told, the newest ones, at most."""

MOST_ASKED: Final = 20
"""Open events whose reasons are looked for, the newest ones, at most: each may ask a process."""

REVEALED: Final = "contact.revealed"
"""The action of the audit log."""


async def show(
    here: Here, text: str, *, reveal: bool, actor: str, limit: int = MOST, reason: str | None = None
) -> dict[str, Any]:
    """The person whom *text* means as JSON: as `people.show` has them, with `timeline` (newest first), `conversations`,
    `dead_letters`, and `open` with a sentence for each worker. *reveal*: with what was said, which is written down as
    done by *actor*, for the *reason* that they gave. Raises: NoSuchContact; SeveralFit."""
    document = await people.show(here.pool, text, explain=False)
    if reveal:
        await _note_down(here.pool, document["id"], actor, reason)
    return await _whole(here, document, reveal=reveal, limit=limit)


async def shown(here: Here, text: str, *, reveal: bool, limit: int = MOST, asked: int = MOST_ASKED) -> dict[str, Any]:
    """As `show`, for a session of which it was written down when it revealed the person. *asked*: of how many open
    events, at most, the reasons are looked for. Raises: NoSuchContact; SeveralFit."""
    document = await people.show(here.pool, text, explain=False)
    return await _whole(here, document, reveal=reveal, limit=limit, asked=asked)


async def _whole(
    here: Here, document: dict[str, Any], *, reveal: bool, limit: int, asked: int = MOST_ASKED
) -> dict[str, Any]:
    """*document* with all that is known beyond the contact itself."""
    pool = here.pool
    phones = list(dict.fromkeys(one for phone in document["phones"] for one in aliases(phone)))
    lines = list(dict.fromkeys(map(line, document["phones"])))
    keys = [*lines, *([key(email=document["email"])] if document["email"] else [])]
    conversations = await stored.conversations(pool, lines, limit)
    happened = [
        *_orders(document["orders"]),
        *(_message(one, reveal=reveal) for one in await stored.messages(pool, phones, limit)),
        *(_note(one, reveal=reveal) for one in await stored.notes(pool, phones, limit)),
        *_conversations(conversations),
        *_records(document["records"]),
        *_merges(document["merges"]),
    ]
    told, more = await _open(here, keys, asked)
    newest = sorted(happened, key=lambda one: one["at"], reverse=True)
    return {
        **document,
        "timeline": newest[:limit],
        "more": len(newest) > limit,
        "conversations": [_conversation(one) for one in conversations],
        "dead_letters": [_letter(one) for one in await stored.letters(pool, keys, limit)],
        "open": told,
        "more_open": more,
        "revealed": reveal,
    }


async def _note_down(pool: Pool, contact: str, actor: str, reason: str | None) -> None:
    async with pool.acquire() as conn, conn.transaction():
        detail = {} if reason is None else {"reason": reason}
        await audit_log.add(conn, [Logged(actor, REVEALED, f"contact:{contact}", detail)])


async def _open(here: Here, keys: Sequence[str], most: int) -> tuple[list[dict[str, Any]], int]:
    """(the *most* newest events of *keys* that a worker has not ended with, each with the sentences by worker; how many
    more there are)."""
    # by their keys alone: to look for what is open would read the whole journal
    listed = [event for one in keys for event in await list_events(here.pool, WORKERS, EventFilter(key=one), MOST)]
    found = [event for event in listed if "open" in event["workers"].values()]
    told: list[dict[str, Any]] = []
    if not found:
        return told, 0
    now = await read_circumstances(here.pool)
    kept = {one.id: one for one in await trail.by_ids(here.pool, [event["id"] for event in found[:most]], most)}
    for one in [kept[event["id"]] for event in found[:most] if event["id"] in kept]:
        whole = await trail_of(here.pool, WORKERS, one)
        if whole is not None:
            open_for = [worker for worker in WORKERS if worker.name in whole.open]
            why = await why_all(here, whole, open_for, now)
            about = {"id": one.id, "type": one.type, "time": one.time}
            told.append(about | {"why": {worker: said.document() for worker, said in why.items()}})
    return told, max(0, len(found) - most)


def _orders(orders: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in orders:
        about = {"id": one["order_id"], "status": one["status"], "reason": one["reason"]}
        yield _step(one["received_at"], "order", f"order {one['order_id']} came", **about)
        if one["completed_at"] is not None:
            yield _step(one["completed_at"], "sync", f"order {one['order_id']}: {one['status']}", **about)


def _message(one: PersonMessage, *, reveal: bool) -> dict[str, Any]:
    way = "to them" if one.direction == "out" else "from them"
    about = one._asdict() | {"id": str(one.id), "error": one.error and redact_text(one.error)}
    about["message_kind"] = about.pop("kind")
    about["content"] = one.content if reveal else None
    del about["at"]
    return _step(one.at, "message", f"{one.kind} {way} by {one.provider}: {one.status}", **about)


def _note(one: PersonNote, *, reveal: bool) -> dict[str, Any]:
    about = one._asdict() | {"id": str(one.id), "content": one.content if reveal else None}
    del about["at"]
    understood = f", understood as {one.intent}" if one.intent else ""
    return _step(one.at, "note", f"a message is archived: {one.status}{understood}", **about)


def _conversations(found: Sequence[PersonConversation]) -> Iterator[dict[str, Any]]:
    for one in found:
        about = {"id": _name(one), "status": one.status}
        yield _step(one.created_at, "conversation", f"conversation {_name(one)} began", **about)
        if one.escalated_at is not None:
            yield _step(one.escalated_at, "conversation", f"conversation {_name(one)}: handed to a person", **about)
        if one.labels and one.labels_at is not None:
            labels = {"labels": list(one.labels)}
            yield _step(one.labels_at, "labels", f"labels: {', '.join(one.labels)}", **about, **labels)


def _records(records: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in records:
        text = f"{one['model']} {one['id']}: version {one['version']}"
        yield _step(one["changed_at"], "record", text, model=one["model"], id=one["id"], version=one["version"])


def _merges(merges: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in merges:
        about = {"actor": one["actor"], "stays": one["stays"], "merged": one["merged"]}
        yield _step(one["at"], "merge", f"{one['action']} by {one['actor']}", **about)


def _conversation(one: PersonConversation) -> dict[str, Any]:
    document = one._asdict() | {"id": _name(one), "number": one.id}
    del document["chat"]
    return document


def _letter(one: PersonLetter) -> dict[str, Any]:
    return one._asdict() | {"error_text": redact_text(one.error_text)}


def _name(one: PersonConversation) -> str:
    """A name that tells nothing of its person."""
    return one.chat if one.chatwoot_conversation_id is not None else f"c{one.id}"


def _step(at: datetime, kind: str, text: str, **about: Any) -> dict[str, Any]:
    return {"at": at, "kind": kind, "text": text, **about}


def masked(document: Mapping[str, Any]) -> str:
    """A person in one line, for a list of what was found."""
    phones = " ".join(masked_key(phone) for phone in document["phones"])
    return " ".join(filter(None, [phones, document["newest_order_id"] or ""]))
