"""What subscribers are told: which events, and in which words.

A body is a CloudEvent as structured JSON. A thin one, the default, says which thing the event is about and how that
stands: ids, states and times, by a list for each type. It has no phone, no name and no text of anybody; ids of
providers that hold a phone (WhatsApp's message ids do) are left out. A full one has the key and the whole data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC
from typing import Any, Final

import orjson

from schemas.envelope import TYPES, Event

FAMILIES: Final = ("message", "contact", "order")
"""What a pattern `FAMILY.*` may name."""

_ALONE: Final = ("content_order.completed", "record.changed")

OFFERED: Final = tuple(name for name in TYPES if name.partition(".")[0] in FAMILIES or name in _ALONE)
"""The types of events that a subscriber may be told of."""

PATTERNS: Final = (*(f"{family}.*" for family in FAMILIES), *OFFERED)
"""What a subscriber may name."""

TEST: Final = "ferryman.test"
"""The type of the event by which an operator tries a subscriber."""

CONTENT_TYPE: Final = "application/cloudevents+json"

MOST_BYTES: Final = 20_000
"""A body's length, as Standard Webhooks advises it: a full one that would be longer goes out thin."""

LONGEST_VALUE: Final = 200

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_wanted(type: str, patterns: Iterable[str]) -> bool:
    """Whether a subscriber of these *patterns* is told of events of *type*."""
    return any(pattern in (type, f"{type.partition('.')[0]}.*") for pattern in patterns)


def body_of(event: Event, *, full: bool) -> str:
    """The body that tells of *event*. Raises: Malformed where its data are no JSON."""
    data = event.json()
    if full:
        body = _dumped(event, {"subject": event.subject, "data": data})
        if len(body) <= MOST_BYTES:
            return body.decode()
    return _dumped(event, {"data": thin(event, data)}).decode()


def _dumped(event: Event, members: Mapping[str, Any]) -> bytes:
    document = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "time": event.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        **members,
    }
    return orjson.dumps(document)


def thin(event: Event, data: Any) -> dict[str, Any]:
    """The ids, states and times of *data*, those of *event*. A value in which the event's phone can be read is left
    out, whatever its name is."""
    document = data if isinstance(data, dict) else {}
    say = _SAID.get(event.type)
    said = {} if say is None else say(document)
    digits = _digits_of(event.subject, document)
    return {name: value for name, value in said.items() if _is_plain(value, digits)}


_Said = Callable[[Mapping[str, Any]], dict[str, Any]]


def _named(*names: str) -> _Said:
    return lambda data: {name: data.get(name) for name in names}


def _order(data: Mapping[str, Any]) -> dict[str, Any]:
    order, form = data.get("order"), data.get("form")
    order, form = order if isinstance(order, dict) else {}, form if isinstance(form, dict) else {}
    return {
        "order_id": order.get("id"),
        "status": order.get("status"),
        "branch": order.get("branch"),
        "updated_at": form.get("updated_at"),
    }


def _received(data: Mapping[str, Any]) -> dict[str, Any]:
    """Chatwoot numbers its messages; the ids of WhatsApp have the phone in them."""
    said = _named("system", "kind", "channel", "at")(data)
    if data.get("system") != "chatwoot":
        return said
    place = data.get("conversation")
    place = place if isinstance(place, dict) else {}
    return {**said, "message_id": data.get("message_id"), "conversation_id": place.get("id")}


def _changed(data: Mapping[str, Any]) -> dict[str, Any]:
    fields = data.get("fields")
    names = sorted(name for name in fields if isinstance(name, str)) if isinstance(fields, dict) else None
    return {**_named("system", "at")(data), "fields": names}


_SENT: Final = _named("message_id", "provider", "account", "kind", "error_code")

_SAID: Final[Mapping[str, _Said]] = {
    "order.received": _order,
    "order.moved": _named("order_id"),
    "contact.synced": _named("order_id", "action"),
    "contact.validated": _named("has_whatsapp", "source", "checked_at", "expires_at"),
    "contact.changed": _changed,
    "contact.erased": _named("erasure", "event_ids"),
    "message.received": _received,
    "message.transcribed": _named("attachment_id", "status", "language"),
    "message.requested": _SENT,
    "message.sent": _SENT,
    "message.failed": _SENT,
    "content_order.completed": _named("order_id"),
    "record.changed": _named("model", "id", "version", "fields", "origin", "deleted", "op_ids"),
    TEST: _named("subscriber"),
}
"""Type -> what a thin body has of its data. Of a type without a line it has nothing."""


def _digits_of(*held: Any) -> frozenset[str]:
    """The digits of the phones that are the event's key, or stand under `phone` and `contact_id`."""
    texts = [one for one in held if isinstance(one, str)]
    for document in (one for one in held if isinstance(one, dict)):
        texts += [text for name in ("phone", "contact_id") if isinstance(text := document.get(name), str)]
    numbers = (re.sub(r"\D", "", text) for text in texts if re.fullmatch(r"\+?[\d ().-]+", text))
    return frozenset(number[-8:] for number in numbers if len(number) >= 8)


def _is_plain(value: Any, digits: frozenset[str]) -> bool:
    """Whether *value* may stand in a thin body: no person can be read in it."""
    if isinstance(value, bool):
        return True
    if isinstance(value, int):
        return not _holds(str(value), digits)
    if isinstance(value, list):
        return all(isinstance(one, str) and _is_plain(one, digits) for one in value)
    if not isinstance(value, str) or len(value) > LONGEST_VALUE or "@" in value:
        return False
    if _UUID.fullmatch(value):
        return True
    return not re.fullmatch(r"\+\d[\d ().-]{6,}", value) and not _holds(value, digits)


def _holds(text: str, digits: frozenset[str]) -> bool:
    """Whether one of the numbers can be read in *text*, whatever stands between its digits."""
    plain = re.sub(r"\D", "", text)
    return any(number in plain for number in digits)
