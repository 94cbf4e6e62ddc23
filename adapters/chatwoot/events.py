"""The events that a document of Chatwoot becomes, whether a webhook has brought it or the API has shown it.

    message_created         incoming                 message.received
                            by a human agent         conversation.changed (agent_replied)
                            one of ours              delivery.updated
    message_updated         one of ours              delivery.updated: it could not be sent, or the person has it
                            answered in the widget   message.received: the choice, as a reply to it
    conversation_created, _status_changed, _updated  conversation.changed
    contact_created, _updated                        contact.changed

The identity of a message is its id and the event, as Chatwoot tells one event several times under other ids of
delivery. A status is told by its word, and what has no identity of its own (a conversation, a contact) by what is told.
Of private notes, of activities, and of what a bot has written there is no event.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import orjson

from adapters.ports import NoIdentity
from schemas.contact_changes import change_data
from schemas.conversations import conversation_data
from schemas.envelope import Event, content_digest, event_id
from schemas.errors import Malformed
from schemas.identity import key
from schemas.phone import parse_phone
from schemas.told import is_test_contact, message_data, odd_data, status_data
from schemas.webhooks.chatwoot import (
    MESSAGES,
    Person,
    account_of,
    channel_of,
    conversation_id_of,
    conversation_of,
    event_of,
    id_of,
    kept,
    marker_of,
    message_id_of,
    part,
    person_of,
    said_in,
    status_of,
    submitted_in,
    time_of,
    told_of,
    type_of,
    word,
)
from schemas.webhooks.chatwoot_changes import (
    CONTACTS,
    CONVERSATIONS,
    is_assigned,
    is_by_a_person_of_ours,
    labels_of,
    moment_of,
    status_in,
    tells_of_a_contact,
    tells_of_a_conversation,
    told_state,
)

SYSTEM: Final = "chatwoot"

_UNTOLD: Final[Mapping[str, Any]] = {"status": None, "assignee": None, "labels": None}


def events_of(doc: Mapping[str, Any], now: datetime) -> list[Event]:
    """The events, mostly one; none of what tells of nothing that is used. Decides nothing: what has an unexpected
    shape fails visibly in the worker.

    Raises: NoIdentity for a document that names no event, or a message without its id.
    """
    event = event_of(doc)
    if event is None:
        raise NoIdentity("the body has no event: it is none of Chatwoot's webhooks")
    if event in MESSAGES:
        return _of_a_message(event, doc, now)
    if event in CONVERSATIONS and tells_of_a_conversation(event, doc):
        return _of_a_conversation(CONVERSATIONS[event], doc, now)
    if event in CONTACTS and tells_of_a_contact(event, doc):
        return _of_a_contact(doc, now)
    return []


def _of_a_message(event: str, doc: Mapping[str, Any], now: datetime) -> list[Event]:
    message_id = message_id_of(doc)
    if message_id is None:
        raise NoIdentity("the message has no id, a number or a short text")
    if doc.get("private") is True:
        return []
    if (our_id := marker_of(doc)) is not None:
        return [*_statuses(event, doc, message_id, our_id, now), *_answered(event, doc, message_id, now)]
    if event != "message_created":
        return []
    try:
        if type_of(doc) == "incoming":
            return [_message(doc, message_id, now)]
        return _reply(doc, message_id, now) if is_by_a_person_of_ours(doc) else []
    except Malformed as exc:
        return [_received(doc, message_id, person_of(doc), odd_data(SYSTEM, str(exc), _text(doc)), now)]


def _message(doc: Mapping[str, Any], message_id: str, now: datetime) -> Event:
    person, account, conversation = person_of(doc), account_of(doc), conversation_of(doc)
    lacks = "account" if account is None else "conversation" if conversation_id_of(conversation) is None else None
    if lacks is None and person.id is None:
        lacks = "sender"
    if lacks is not None:
        return _received(doc, message_id, person, odd_data(SYSTEM, f"{lacks} has no id", _text(doc)), now)
    data = message_data(
        system=SYSTEM,
        contact_id=f"{account}:{person.id}",
        phone=person.phone,
        at=time_of(doc),
        channel=channel_of(conversation),
        message_id=message_id,
        received=_text(doc),
        name=person.name,
        bsuid=person.bsuid,
        conversation=_place(doc, account),
        **said_in(doc),
    )
    return _received(doc, message_id, person, data, now)


def _answered(event: str, doc: Mapping[str, Any], message_id: str, now: datetime) -> list[Event]:
    """What a visitor of a website has chosen of our question: Chatwoot writes it into the question, and tells no time
    of it. It is named by the question and by the choice."""
    person, account, choice = person_of(doc), account_of(doc), submitted_in(doc)
    place = _place(doc, account)
    if event != "message_updated" or choice is None or None in (account, person.id, place["id"]):
        return []
    title, value = choice
    named = f"{message_id}-{content_digest({'value': value}).hex()[:12]}"
    data = message_data(
        system=SYSTEM,
        contact_id=f"{account}:{person.id}",
        phone=person.phone,
        at=None,
        channel=channel_of(conversation_of(doc)),
        message_id=named,
        received=_text(doc),
        name=person.name,
        bsuid=person.bsuid,
        conversation=place,
        kind="choice",
        text=title,
        choice=value,
        reply_to=message_id,
    )
    return [_received(doc, named, person, data, now)]


def _received(doc: Mapping[str, Any], message_id: str, person: Person, data: bytes, now: datetime) -> Event:
    return Event(
        id=event_id(SYSTEM, "message", message_id),
        type="message.received",
        source=SYSTEM,
        subject=_key(person, account_of(doc), message_id),
        time=now,
        data=data,
    )


def _reply(doc: Mapping[str, Any], message_id: str, now: datetime) -> list[Event]:
    """That a human agent has answered. It tells neither status nor labels: the conversation shows its later ones, too,
    and a message is one thing for ever."""
    received = {"event": "message_created", "id": doc.get("id"), "created_at": doc.get("created_at")}
    at, id = time_of(doc), event_id(SYSTEM, "replied", message_id)
    received["created_at"] = None if at is None else int(at.timestamp())
    return _changed("agent_replied", doc, id, at, _UNTOLD, received, now)


def _of_a_conversation(what: str, conversation: Mapping[str, Any], now: datetime) -> list[Event]:
    doc = {"conversation": conversation, "account": conversation.get("account")}
    account, id = account_of(doc), conversation_id_of(conversation)
    if account is None or id is None:
        return []  # before version 4.14.2 a conversation without a message named no account
    state = {
        "status": status_in(conversation),
        "assignee": is_assigned(conversation),
        "labels": labels_of(conversation),
    }
    digest = content_digest(told_state(conversation))
    received = {name: conversation.get(name) for name in ("event", "id", "updated_at", "changed_attributes")}
    told = event_id(SYSTEM, "conversation", account, id, what, state=digest)
    return _changed(what, doc, told, moment_of(conversation), state, received, now)


def _changed(
    what: str,
    doc: Mapping[str, Any],
    id: str,
    at: datetime | None,
    state: Mapping[str, Any],
    received: Mapping[str, Any],
    now: datetime,
) -> list[Event]:
    """A `conversation.changed` of the conversation in *doc*; none where nothing says which one it is."""
    person, account = person_of(doc), account_of(doc)
    place = _place(doc, account)
    if account is None or place["id"] is None:
        return []
    data = conversation_data(
        system=SYSTEM,
        contact_id=f"{account}:{person.id or ''}",
        phone=person.phone,
        at=at,
        conversation=place,
        what=what,
        received=orjson.dumps(received),
        **state,
    )
    subject = _key(person, account, f"conversation:{place['id']}")
    return [Event(id=id, type="conversation.changed", source=SYSTEM, subject=subject, time=now, data=data)]


def _of_a_contact(doc: Mapping[str, Any], now: datetime) -> list[Event]:
    account, id = id_of(part(doc, "account").get("id")), id_of(doc.get("id"))
    if account is None or id is None:
        return []
    number, tested = word(doc, "phone_number") or "", word(doc, "identifier") or ""
    phone = parse_phone(number) if number.startswith("+") else None
    named = {"customer_name": word(doc, "name"), "Email": word(doc, "email")}
    shown = {name: doc.get(name) for name in ("event", "id", "name", "phone_number", "email", "identifier")}
    data = change_data(
        system=SYSTEM,
        contact_id=f"{account}:{tested if is_test_contact(tested) else id}",
        phone=phone,
        at=None,
        fields={name: text for name, text in named.items() if text is not None},
        received=orjson.dumps(shown),
    )
    told = event_id(SYSTEM, "contact", account, id, state=content_digest(told_state(doc)))
    subject = key(phone=phone, chat_id=f"chatwoot:{account}:{id}")
    return [Event(id=told, type="contact.changed", source=SYSTEM, subject=subject, time=now, data=data)]


def _statuses(event: str, doc: Mapping[str, Any], message_id: str, our_id: str, now: datetime) -> list[Event]:
    """The status that is told: of an update only one that is new."""
    person, (status, code) = person_of(doc), status_of(doc)
    if event == "message_updated" and status == "sent":
        return []
    data = status_data(
        system=SYSTEM,
        message_id=message_id,
        our_id=our_id,
        phone=person.phone,
        at=time_of(doc) if status == "sent" else None,
        status=status,
        received=orjson.dumps(told_of(doc)),
        error_code=code,
        error="Chatwoot's channel could not send it" if status == "failed" else None,
    )
    told = Event(
        id=event_id(SYSTEM, "status", message_id, status),
        type="delivery.updated",
        source=SYSTEM,
        subject=key(phone=person.phone, bsuid=person.bsuid, message_id=message_id),
        time=now,
        data=data,
    )
    return [told]


def _key(person: Person, account: str | None, otherwise: str) -> str:
    """The key of all that is told of a person: of one without any identity it is *otherwise*."""
    chat = f"chatwoot:{account}:{person.id}" if account and person.id else None
    return key(phone=person.phone, bsuid=person.bsuid, chat_id=chat, message_id=otherwise)


def _place(doc: Mapping[str, Any], account: str | None) -> dict[str, str | None]:
    """The conversation of the message *doc*, by Chatwoot's numbers."""
    conversation = conversation_of(doc)
    inbox = id_of(conversation.get("inbox_id")) or id_of(part(doc, "inbox").get("id"))
    return {"account": account, "id": conversation_id_of(conversation), "inbox": inbox}


def _text(doc: Mapping[str, Any]) -> bytes:
    return orjson.dumps(kept(doc))
