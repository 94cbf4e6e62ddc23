"""Orders of content: shown, and made ready. Whoever wants to hear of it is told, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from adapters.postgres import content_orders, conversations, messages
from adapters.postgres.bus import outbox
from adapters.postgres.conversations import Asked
from adapters.postgres.messages import Request
from adapters.postgres.operator import messages as stored
from adapters.postgres.pool import Connection
from daemon.bus.worker import Outside
from daemon.conversations import notices
from daemon.conversations.archive.names import fallback_user
from daemon.conversations.clarification.answering import NoWay
from daemon.conversations.clarification.turning import request_of
from daemon.conversations.clarification.wiring import way_of
from daemon.conversations.dialogs.rules import DIALOGS
from daemon.messages.requests import event_of
from daemon.operator.faults import NotThere
from schemas.conversations import CHATWOOT
from schemas.envelope import Event

NOT_WANTED: Final = (
    "notify_on_ready of {user} was off when it became ready: `ferryman mappings notify {user} on` is for later orders"
)
NO_USER: Final = (
    "its person was in no mapping when it became ready. For later orders: `ferryman mappings add USER --phone PHONE`,"
    " then `ferryman mappings notify USER on`; for all without one: notify_on_ready of {user} in user_bucket_mapping"
)
NO_CONVERSATION: Final = "the conversation that it comes from is not known any more"
PURPOSE: Final = "notice:ready"


class NoSuchOrder(NotThere):
    """There is no order of content with this id."""


@dataclass(frozen=True, slots=True)
class Ready:
    """*document*: the order with its notice. *events*: in the outbox under the numbers *seqs*, to be published."""

    document: Mapping[str, Any]
    events: tuple[Event, ...] = ()
    seqs: tuple[int, ...] = ()


async def show(outside: Outside, id: UUID) -> dict[str, Any]:
    """An order with how its notice stands. Raises: NoSuchOrder."""
    order = await content_orders.find(outside.pool, id)
    if order is None:
        raise NoSuchOrder(f"there is no order of content {id}")
    message_id = order["notice_message_id"]
    message = None if message_id is None else await stored.find(outside.pool, message_id)
    notice = {
        "message_id": message_id,
        "status": None if message is None else message["status"],
        "why": order["notice_why"] if message is None else message["error"],
    }
    named = ("id", "user_id", "source", "triggered_by", "chat", "chatwoot_conversation_id", "phone", "created_at")
    shown = {name: order[name] for name in (*named, "ready_at")}
    return {**shown, "params": order["params_json"], "notice": None if order["ready_at"] is None else notice}


async def ready(outside: Outside, id: UUID) -> Ready:
    """Make an order ready, and tell its person where they want to be told. Done again, it changes nothing, and says the
    same. Raises: NoSuchOrder."""
    async with outside.pool.acquire() as conn, conn.transaction():
        await content_orders.assign(conn, id)
        order = await content_orders.locked(conn, id)
        if order is None:
            raise NoSuchOrder(f"there is no order of content {id}")
        if order["ready_at"] is not None:
            return Ready(_told(id, order["ready_at"], order["notice_message_id"], order["notice_why"]))
        notice = await _notice(outside, conn, order)
        request = notice if isinstance(notice, Request) else None
        events = () if request is None else (event_of(request, outside.now()),)
        if request is not None and not await messages.request_once(conn, [request]):
            events = ()
        seqs = tuple(await outbox.emit(conn, events)) if events else ()
        message_id, why = (None, notice) if isinstance(notice, str) else (notice.id, None)
        at = await content_orders.make_ready(conn, id, message_id, why)
    return Ready(_told(id, at, message_id, why), events, seqs)


async def _notice(outside: Outside, conn: Connection, order: Mapping[str, Any]) -> Request | str:
    """The message that tells that an order is ready, or why there is none."""
    user = order["user_id"] or account_user(order["chat"])
    if not await content_orders.wants_notice(conn, user):
        return (NOT_WANTED if order["user_id"] else NO_USER).format(user=user)
    (known,) = await conversations.standing(conn, [Asked(order["chat"] or "")])
    if not known.there:
        return NO_CONVERSATION
    way = way_of(outside, order["chat"], known)
    if isinstance(way, NoWay):
        return way.why
    return request_of(way, notices.ready(outside.rules(DIALOGS), order["id"], known.language), PURPOSE)


def account_user(chat: str | None) -> str:
    """Who stands for people without a mapping: `account_` and Chatwoot's number of the account, or the system."""
    system, _, rest = (chat or "").partition(":")
    return fallback_user(system, rest.partition(":")[0] if system == CHATWOOT else None)


def _told(id: UUID, at: Any, message_id: UUID | None, why: str | None) -> dict[str, Any]:
    return {"id": id, "ready_at": at, "notified": message_id is not None, "message_id": message_id, "why": why}
