"""What Meta's Cloud API posts, directly or through 360dialog: batches of messages and of statuses of messages.

    {"object": "whatsapp_business_account", "entry": [{"changes": [{"field": "messages", "value": {
        "contacts": […], "messages": […], "statuses": […]}}]}]}

Every part of a batch becomes an event of its own: a message, or a change of what a person wants to get, a
`message.received`; a status a `delivery.updated`; a change of a template a `template.changed`. Other fields (of the
account, calls, …) tell of none of these, and become nothing. A part that is not understood becomes an event as well,
and fails visibly in the worker: it must not hold up the parts beside it.

An event is named by the id of its message, whoever hands it on. So a message that comes both by Meta and by 360dialog
is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from schemas.envelope import Event, content_digest, event_id
from schemas.errors import Malformed
from schemas.identity import key
from schemas.moments import from_epoch
from schemas.phone import Phone, parse_phone
from schemas.told import STATUSES, WHATSAPP, message_data, odd_data, status_data
from schemas.webhooks import meta_templates
from schemas.webhooks.meta_codes import CODES, code_of

SYSTEM: Final = "meta"
"""Whose the ids of messages and people are."""

GROUP: Final = "whatsapp-group"
"""The channel of what is written in a group: it opens no window for the person alone."""

PREFERENCES: Final = "user_preferences"

_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {"messages": ("messages", "statuses"), PREFERENCES: (PREFERENCES,)}
"""Field of a change -> the lists in its value that tell of people."""

_WA_ID: Final = re.compile(r"[0-9]{5,20}")
_KIND: Final = re.compile(r"[a-z][a-z0-9_]{0,49}")
_FILES: Final = frozenset({"image", "video", "audio", "document", "sticker"})
_OF_A_FILE: Final = ("id", "url", "mime_type", "sha256", "filename")
_TAPPED: Final = ("button_reply", "list_reply")


def events_from(doc: Mapping[str, Any], *, source: str, now: datetime) -> list[Event]:
    """The events of a body that *source* has got at *now*, in their order; none where it tells of no message.

    Raises: Malformed where it is no batch at all.
    """
    return [_event(part, source, now) for part in _parts(doc)]


def sample_body(contact_id: str, now: datetime) -> bytes:
    """A batch with one message, which the person *contact_id* writes at *now*."""
    message = {"from": contact_id, "id": f"wamid.{contact_id}", "timestamp": str(int(now.timestamp()))}
    value = {"messaging_product": "whatsapp", "messages": [message | {"type": "text", "text": {"body": "ok"}}]}
    entry = {"id": "0", "changes": [{"field": "messages", "value": value}]}
    return orjson.dumps({"object": "whatsapp_business_account", "entry": [entry]})


class _Contacts(NamedTuple):
    """The contacts of a value, and the place of the first one with each id: a batch may tell of thousands of people."""

    all: Sequence[Mapping[str, Any]] = ()
    by_wa_id: Mapping[str, int] = {}
    by_user_id: Mapping[str, int] = {}

    def of(self, wa_id: str | None, bsuid: str | None) -> Mapping[str, Any]:
        """What the contacts say of the person of these ids; of a person without ids, what the only contact says."""
        places = [self.by_wa_id.get(wa_id or ""), self.by_user_id.get(bsuid or "")]
        known = [place for place in places if place is not None]
        if known:
            return self.all[min(known)]
        return self.all[0] if wa_id is None and bsuid is None and len(self.all) == 1 else {}


class _Part(NamedTuple):
    """An element of a batch. *place*: the name of the list that it stands in, "" where the batch is odd there;
    or the field of a change of a template. *beside*: the contacts that stand in the same value, and *number*: Meta's id
    of the number that it is about. *time*: of the entry, at a change of a template."""

    place: str
    element: Any
    beside: _Contacts = _Contacts()
    time: Any = None
    number: str | None = None


class _Person(NamedTuple):
    """Whom an element is about. *id*: the WhatsApp id, else the business-scoped one; "" for nobody."""

    id: str
    phone: Phone | None
    bsuid: str | None
    name: str | None = None


def _parts(doc: Mapping[str, Any]) -> Iterator[_Part]:
    if "entry" not in doc:
        if not any(name in doc for name in _FIELDS["messages"]):
            raise Malformed("the body has no entry, nor messages or statuses")
        yield from _of_value("messages", doc)  # as WhatsApp's own servers wrote it, before the Cloud API
        return
    for entry in _elements(doc["entry"]):
        if not isinstance(entry, dict):
            yield _Part("", entry, _Contacts())
            continue
        for change in _elements(entry.get("changes", ())):
            if not isinstance(change, dict):
                yield _Part("", change, _Contacts())
            elif isinstance(field := change.get("field", "messages"), str) and field in _FIELDS:
                yield from _of_value(field, change.get("value"))
            elif isinstance(field, str) and field in meta_templates.FIELDS:
                yield _Part(field, change.get("value"), time=entry.get("time"))


def _of_value(field: str, value: Any) -> Iterator[_Part]:
    if not isinstance(value, dict):
        yield _Part("", value, _Contacts())
        return
    beside, number = _contacts(value), _word(_object(value.get("metadata")).get("phone_number_id"))
    for name in _FIELDS[field]:
        for element in _elements(value.get(name, ())):
            yield _Part(name, element, beside, number=number)


def _contacts(value: Mapping[str, Any]) -> _Contacts:
    found = [one for one in _elements(value.get("contacts")) if isinstance(one, dict)]
    by_wa_id: dict[str, int] = {}
    by_user_id: dict[str, int] = {}
    for place, contact in enumerate(found):
        for name, places in (("wa_id", by_wa_id), ("user_id", by_user_id)):
            if (id := _word(contact.get(name))) is not None:
                places.setdefault(id, place)
    return _Contacts(found, by_wa_id, by_user_id)


def _elements(value: Any) -> Any:
    """What *value* lists. What should be a list and is none is one element; null is nothing."""
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)


def _event(part: _Part, source: str, now: datetime) -> Event:
    """The event of one element."""
    if part.place in meta_templates.FIELDS:
        return meta_templates.changed(part.place, part.element, part.time, source=source, now=now)
    element = part.element if isinstance(part.element, dict) else {}
    their_id = None if part.place == PREFERENCES else _word(element.get("id"))
    name = their_id or content_digest({"part": part.element}).hex()
    identity = ("content", name) if their_id is None else (name,)
    status, received = _word(element.get("status")) or "", orjson.dumps(part.element)
    if part.place == "statuses":
        type, thing = "delivery.updated", ("status", *identity, status)
        person = _person(_first(element, "recipient_id"), _first(element, "recipient_user_id", "user_id"), part.beside)
        data = _status(element, their_id, status, person, received)
    else:
        type, thing = "message.received", ("message", *identity)
        wa_id = _first(element, "from", "wa_id")
        person = _person(wa_id, _first(element, "from_user_id", "user_id"), part.beside)
        data = _message(part, element, their_id, person, received)
    return Event(
        id=event_id(SYSTEM, *thing),
        type=type,
        source=source,
        subject=key(phone=person.phone, bsuid=person.bsuid, message_id=name),
        time=now,
        data=data,
    )


def _person(wa_id: str | None, bsuid: str | None, beside: _Contacts) -> _Person:
    """The person of these ids, with what the contacts *beside* say of the same one. A person without a phone may be
    named there alone."""
    contact = beside.of(wa_id, bsuid)
    wa_id, bsuid = wa_id or _word(contact.get("wa_id")), bsuid or _word(contact.get("user_id"))
    phone = None if wa_id is None else _phone(wa_id)
    return _Person(wa_id or bsuid or "", phone, bsuid, _word(_object(contact.get("profile")).get("name")))


@lru_cache(maxsize=4096)
def _phone(wa_id: str) -> Phone | None:
    """The phone of a WhatsApp id. A message has three statuses in a short time."""
    return parse_phone(f"+{wa_id}") if _WA_ID.fullmatch(wa_id) else None


def _status(element: Mapping[str, Any], their_id: str | None, status: str, person: _Person, received: bytes) -> bytes:
    odd = "a status has no id" if their_id is None else "a status is none of those that are known"
    if their_id is None or status not in STATUSES:
        return odd_data(SYSTEM, odd, received)
    errors = [one for one in _elements(element.get("errors")) if isinstance(one, dict)]
    code = code_of(errors[0].get("code")) if errors else None
    known = None if code is None else CODES.get(code)
    return status_data(
        system=SYSTEM,
        message_id=their_id,
        our_id=_word(element.get("biz_opaque_callback_data")),
        phone=person.phone,
        at=from_epoch(element.get("timestamp")),
        status=status,
        received=received,
        error_code=None if code is None else str(code),
        error=None if known is None else known.means,
    )


def _message(part: _Part, element: Mapping[str, Any], their_id: str | None, person: _Person, received: bytes) -> bytes:
    if not part.place:
        return odd_data(SYSTEM, "a part of the batch is not an object", received)
    if part.place == "messages" and their_id is None:
        return odd_data(SYSTEM, "a message has no id", received)
    if not person.id:
        return odd_data(SYSTEM, "a message or a preference says of nobody that it is theirs", received)
    told = {"kind": PREFERENCES} if part.place == PREFERENCES else _content(element)
    return message_data(
        system=SYSTEM,
        contact_id=person.id,
        phone=person.phone,
        at=from_epoch(element.get("timestamp")),
        channel=_channel(element, told["kind"]),
        message_id=their_id,
        received=received,
        name=person.name,
        bsuid=person.bsuid,
        number=part.number,
        **{"text": None, **told},
    )


def _channel(element: Mapping[str, Any], kind: str) -> str | None:
    """The channel by which a person has written. What WhatsApp itself tells of them is no message of theirs: after a
    change of number it is of the old one."""
    if kind in ("system", PREFERENCES):
        return None
    return GROUP if _word(element.get("group_id")) else WHATSAPP


def _content(message: Mapping[str, Any]) -> dict[str, Any]:
    """What a message says: members of `message_data`. A kind that is not known has its own name and no text."""
    named = message.get("type")
    kind = named if isinstance(named, str) and _KIND.fullmatch(named) else "unknown"
    part = _object(message.get(kind))
    told: dict[str, Any] = {"kind": kind, "reply_to": _word(_object(message.get("context")).get("id"))}
    if kind in _FILES:
        told["kind"] = "voice" if kind == "audio" and part.get("voice") is True else kind
        told["media"] = {name: word for name in _OF_A_FILE if (word := _word(part.get(name))) is not None}
        return told | {"text": _text(part.get("caption"))}
    match kind:
        case "text":
            return told | {"text": _text(part.get("body"))}
        case "button":
            return told | {"kind": "choice", "text": _text(part.get("text")), "choice": _word(part.get("payload"))}
        case "interactive":
            return told | _interactive(part)
        case "reaction":  # without an emoji it takes the former one back
            return told | {"text": _text(part.get("emoji")), "reply_to": _word(part.get("message_id"))}
        case "order":
            return told | {"text": _text(part.get("text"))}
    return told


def _interactive(part: Mapping[str, Any]) -> dict[str, Any]:
    """What was tapped; of an answer of another kind (a filled-in flow) its text."""
    name = part.get("type")
    tapped = _object(part.get(name)) if isinstance(name, str) else {}
    if name in _TAPPED:
        return {"kind": "choice", "text": _text(tapped.get("title")), "choice": _word(tapped.get("id"))}
    return {"text": _text(tapped.get("body"))}


def _first(element: Mapping[str, Any], *names: str) -> str | None:
    """The first of these members that is text."""
    for name in names:
        if (word := _word(element.get(name))) is not None:
            return word
    return None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _word(value: Any) -> str | None:
    """An id or a name: text without blanks around it; None for anything else."""
    return (value.strip() or None) if isinstance(value, str) else None


def _text(value: Any) -> str | None:
    """Text as it was written; None for anything else, and for none."""
    return value if isinstance(value, str) and value else None
