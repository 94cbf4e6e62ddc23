"""What a step of a dialog brings about, as rows: the context, the message to the person, the order, the hand-over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from adapters.postgres import conversations
from adapters.postgres.buffered_messages import Understood
from adapters.postgres.content_orders import ContentOrder
from adapters.postgres.conversations import Standing
from adapters.postgres.messages import Request
from adapters.registry import SENDERS
from daemon.conversations.clarification.answering import NoWay, Way
from daemon.conversations.dialogs.context import Context
from daemon.conversations.dialogs.steps import Ask, Completed, Step
from daemon.messages.content import kind_of, to_json
from daemon.messages.requests import event_id_of
from schemas.conversations import CHATWOOT
from schemas.envelope import Event
from schemas.messages import Choices, Content, Text
from schemas.phone import aliases

CONTENT_ORDER: Final = "content_order"
"""The dialog whose result is a row of `content_orders`."""

ORDER_PARAMS: Final = ("platform", "length", "tone", "topic")
_ORIGINS: Final = "origins"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Turned:
    """A step, by the version of the context that decided it. Where that is not the context's any more, nothing of the
    step is written, and its messages are understood anew at *at*. *events*: emitted with it.
    *conversation*: Chatwoot's numbers of it."""

    context: conversations.Context
    requests: tuple[Request, ...] = ()
    order: ContentOrder | None = None
    conversation: Mapping[str, str | None] | None = None
    events: tuple[Event, ...] = ()
    understood: tuple[Understood, ...] = ()
    cause: Event
    at: datetime


def turned(
    event: Event,
    chat: str,
    known: Standing,
    step: Step,
    way: Way | NoWay,
    now: datetime,
    *,
    origin: Mapping[str, Any] | None = None,
    language: str | None = None,
    understood: Sequence[Understood] = (),
) -> Turned:
    """The rows of *step*. *way*: how the person is answered; where they cannot be, the step asks nothing. *origin*:
    where the dialog that it begins comes from. *language*: that the person has written in."""
    origins = _origins(known.context)
    if origin is not None and (id := _begun(step, known.context)) is not None:
        origins = {id: origin, **origins}
    name = step.context.dialog or (None if step.completed is None else step.completed.dialog) or _dialog_of(known)
    handed = step.escalated
    events = [] if handed is None else [escalated(event, chat, known, handed.why, handed.note, handed.labels, now)]
    return Turned(
        context=conversations.Context(
            chat=chat,
            version=known.version,
            document=_document(step.context, origins),
            due_at=step.due_at,
            language=language,
            escalated_why=None if handed is None else handed.why,
            at=now,
        ),
        requests=() if isinstance(way, NoWay) else tuple(request_of(way, one, f"dialog:{name}") for one in step.asks),
        order=None if step.completed is None else _order(event, chat, known, step.completed, way, origins),
        conversation=_conversation(known),
        events=tuple(events),
        understood=tuple(understood),
        cause=event,
        at=now,
    )


def request_of(way: Way, ask: Ask, purpose: str) -> Request:
    """The message that *ask* is. Its id is that of the ask, so that it is sent once."""
    content = carried(way.provider, ask.content)
    return Request(
        id=ask.id,
        provider=way.provider,
        account=way.account,
        phone=way.phone.e164,
        kind=kind_of(content),
        content=to_json(content),
        purpose=purpose,
        event_id=event_id_of(ask.id),
        conversation=way.conversation,
    )


def carried(provider: str, content: Text | Choices) -> Content:
    """*content* as *provider* carries it: choices that it has no form for are a numbered text, as they may be answered
    by number."""
    if isinstance(content, Text) or provider not in SENDERS or SENDERS[provider]().refusal(content) is None:
        return content
    lines = [f"{number}. {one.title}" for number, one in enumerate(content.items, 1)]
    return Text("\n".join([content.text, "", *lines]))


def escalated(
    event: Event,
    chat: str,
    known: Standing,
    why: str,
    note: str,
    labels: Sequence[str],
    now: datetime,
) -> Event:
    """The event by which a conversation is handed to a person."""
    data = {
        "chat": chat,
        "system": known.system,
        "conversation": _conversation(known),
        "phone": known.phone,
        "why": why,
        "note": note,
        "labels": list(labels),
    }
    return event.emit("conversation.escalated", 0, data, time=now)


def completed(turned: Turned, order: ContentOrder, user_id: str | None) -> Event:
    """The event that tells of a complete order."""
    data = {
        "order_id": str(order.id),
        "chat": order.chat,
        "conversation": turned.conversation,
        "phone": order.phone,
        "user_id": user_id,
        "params": dict(order.params),
    }
    return turned.cause.emit("content_order.completed", 0, data, time=turned.at)


def contact_of(known: Standing) -> str | None:
    """The person's own id in their system, without that of the account."""
    return (known.contact_ref or "").rpartition(":")[2] or None


def _conversation(known: Standing) -> dict[str, str | None] | None:
    if known.chatwoot_conversation_id is None:
        return None
    inbox = None if known.inbox_id is None else str(known.inbox_id)
    return {"account": str(known.chatwoot_account_id), "id": str(known.chatwoot_conversation_id), "inbox": inbox}


def _document(context: Context, origins: Mapping[str, Any]) -> dict[str, Any]:
    """The context as it is kept, with the origins of the dialogs that are open or wait."""
    document = context.to_json()
    kept = {id: origins[id] for id in _dialogs(document) if id in origins}
    return {**document, _ORIGINS: kept} if kept else document


def _dialogs(document: Mapping[str, Any]) -> list[str]:
    """The ids of the dialogs that are open or wait."""
    waiting = document.get("waiting")
    ids = [document.get("dialogId"), *(one.get("id") for one in waiting or () if isinstance(one, dict))]
    return [id for id in ids if isinstance(id, str)]


def _begun(step: Step, before: Mapping[str, Any]) -> str | None:
    """The dialog that *step* begins, or lets wait, or completes at once."""
    old = set(_dialogs(before))
    new = [id for id in _dialogs(step.context.to_json()) if id not in old]
    if new:
        return new[-1]
    return None if step.completed is None else str(step.completed.id)


def _origins(document: Mapping[str, Any]) -> dict[str, Any]:
    found = document.get(_ORIGINS)
    return dict(found) if isinstance(found, dict) else {}


def _dialog_of(known: Standing) -> str | None:
    found = known.context.get("dialog")
    return found if isinstance(found, str) else None


def _order(
    event: Event, chat: str, known: Standing, done: Completed, way: Way | NoWay, origins: Mapping[str, Any]
) -> ContentOrder | None:
    """The order that a complete dialog makes; None: it is a dialog of another kind."""
    if done.dialog != CONTENT_ORDER:
        return None
    origin = origins.get(str(done.id))
    origin = origin if isinstance(origin, dict) else {}
    params = {name: value.lower() if name in ORDER_PARAMS else value for name, value in done.params.items()}
    extra = origin.get("params")
    account = known.chatwoot_account_id
    return ContentOrder(
        id=done.id,
        params={
            **(extra if isinstance(extra, dict) else {}),
            **params,
            "original_content": origin.get("original_content"),
            "context": {
                name: origin.get(name) for name in ("chatwoot_message_id", "contact_id", "sender_name", "created_at")
            },
        },
        chat=chat,
        chatwoot_conversation_id=known.chatwoot_conversation_id,
        phone=known.phone,
        provider=None if isinstance(way, NoWay) else way.provider,
        event_id=event.id,
        message_key=origin.get("message_key"),
        contact_id=contact_of(known) if known.system == CHATWOOT else None,
        account_id=None if account is None else str(account),
        phones=() if known.phone is None else aliases(known.phone),
    )
