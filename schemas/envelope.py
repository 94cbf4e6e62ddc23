"""The envelope of every event: CloudEvents 1.0 attributes, as flat fields of a Redis stream entry.

`data` stays the JSON text exactly as it was received, so that a signature or a later dispute can be checked against it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha1, sha256
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from schemas.errors import Malformed

NAMESPACE: Final = uuid.UUID("6f1d1b56-5d0c-5f0e-9a37-0d7a5b1c2e11")
"""Namespace of the deterministic event ids. Never changed: ids of events already delivered depend on it."""

_NAMESPACE_BYTES: Final = NAMESPACE.bytes

SCHEMA_VERSION: Final = 1

OF_ONE_THING: Final = 13
"""Characters with which the ids of all states of one thing begin, a hyphen among them: 48 bits."""

TYPES: Final[Mapping[str, str]] = {
    "order.received": "orders",
    "order.moved": "orders",
    "contact.diverged": "orders",
    "applicant_issue.received": "orders",
    "contact.synced": "contacts",
    "contact.validated": "contacts",
    "contact.changed": "contacts",
    "conversation.changed": "conversations",
    "conversation.settled": "conversations",
    "conversation.escalated": "conversations",
    "dialog.due": "conversations",
    "attachment.received": "conversations",
    "attachment.stored": "conversations",
    "message.transcribed": "conversations",
    "labels.requested": "conversations",
    "content_order.completed": "conversations",
    "applicant_issue.reported": "conversations",
    "message.received": "messages",
    "message.requested": "messages",
    "message.sent": "messages",
    "message.failed": "messages",
    "template.changed": "messages",
    "delivery.updated": "deliveries",
    "record.changed": "records",
}
"""Every event type and the topic that carries it."""

TOPICS: Final = ("orders", "contacts", "conversations", "messages", "deliveries", "records")


def event_id(source: str, *identity: str, state: bytes = b"") -> str:
    """The id of an event: UUIDv5 of its *source* and of its identity there. The same thing delivered twice has one id.

    *state*: a digest of what is told of that thing, where it may be told anew. Every state has an id of its own, and
    the ids of one thing begin with the same OF_ONE_THING characters.

    The parts are joined by a separator that JSON strings from outside cannot hold (U+0000 is refused at intake), so
    different identities never give the same text. It is computed here because `uuid.uuid5` takes four times as long.
    """
    name = _NAMESPACE_BYTES + "\x00".join((source, *identity)).encode()
    digest = sha1(name, usedforsecurity=False).hexdigest()
    if state:
        digest = digest[:12] + sha1(name + b"\x00" + state, usedforsecurity=False).hexdigest()[12:]
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def content_digest(document: Mapping[str, Any]) -> bytes:
    """A digest of what *document*, parsed JSON, says: spacing, escapes and the order of its members change nothing."""
    return sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).digest()


InboxKey: TypeAlias = tuple[str, str]
"""(event id, replay id): the key of an event in the inbox. A replay of the event has a key of its own."""


class Event(NamedTuple):
    """One fact, its *type* in the past tense. *subject* is the key: it chooses the partition and the lane, and may be a
    phone number.

    A named tuple, as it is made several times for each event, and a frozen dataclass takes four times as long to make.
    Give every field by its name.
    """

    id: str
    type: str
    source: str
    subject: str
    time: datetime
    data: bytes
    traceparent: str = ""
    causationid: str = ""
    schemaversion: int = SCHEMA_VERSION
    replayid: str = ""
    dataref: str = ""
    """Reference to a payload that is too large for a stream entry; *data* is empty until it is fetched."""
    target: str = ""
    """The only worker that this copy of the event is for; every other worker ignores it. Empty: for all workers."""

    @property
    def inbox_key(self) -> InboxKey:
        """The key of this event in the inbox."""
        return self.id, self.replayid

    def with_reference(self, dataref: str) -> Event:
        """This event as it goes over the bus when its payload is kept elsewhere."""
        return self._replace(data=b"", dataref=dataref)

    def with_data(self, data: bytes) -> Event:
        """This event with its payload back in place."""
        return self._replace(data=data, dataref="")

    def is_for(self, worker: str, since: datetime) -> bool:
        """Whether *worker*, to which events accepted before *since* are none of its own, handles this delivery.

        A replay and an operator's retry are for one worker alone, however old the event is.
        """
        if self.target or self.replayid:
            return self.target in ("", worker) and (not self.replayid or self.replayid.startswith(f"{worker}:"))
        return self.time >= since

    @property
    def topic(self) -> str:
        """The topic that carries events of this type. Raises: KeyError for a type not in TYPES."""
        return TYPES[self.type]

    def json(self) -> Any:
        """The payload. Raises: Malformed when it is not JSON (only possible if another program wrote to the stream)."""
        try:
            return orjson.loads(self.data)
        except orjson.JSONDecodeError as exc:
            raise Malformed("the event's data is not JSON") from exc

    def emit(self, type: str, place: int, data: Any, *, subject: str | None = None, time: datetime) -> Event:
        """The event that handling this one brings about. Its id derives from the cause, the type and the *place*
        among the events of that type that one handling emits, so doing it again emits the same id."""
        return Event(
            id=event_id("ferryman", self.id, self.replayid, type, str(place)),
            type=type,
            source="ferryman",
            subject=self.subject if subject is None else subject,
            time=time,
            data=orjson.dumps(data),
            traceparent=self.traceparent,
            causationid=self.id,
        )


def to_fields(event: Event) -> list[str | bytes]:
    """The stream entry of *event*, names and values by turns. Empty extensions are left out."""
    fields: list[str | bytes] = [
        "id",
        event.id,
        "type",
        event.type,
        "source",
        event.source,
        "subject",
        event.subject,
        "time",
        event.time.isoformat(),
        "data",
        event.data,
        "schemaversion",
        str(event.schemaversion),
    ]
    if event.traceparent:
        fields += ("traceparent", event.traceparent)
    if event.causationid:
        fields += ("causationid", event.causationid)
    if event.replayid:
        fields += ("replayid", event.replayid)
    if event.dataref:
        fields += ("dataref", event.dataref)
    if event.target:
        fields += ("target", event.target)
    return fields


_EXTENSIONS: Final = tuple(
    (name.encode(), name) for name in ("traceparent", "causationid", "replayid", "dataref", "target")
)


def from_fields(fields: Mapping[bytes, bytes]) -> Event:
    """The event of a stream entry.

    Raises: Malformed when an attribute is missing, unreadable or not storable in Postgres, or the schema version is
    newer than this reader.
    """
    if b"\x00" in b"".join([value for name, value in fields.items() if name != b"data"]):
        raise Malformed("an attribute of the stream entry holds U+0000")
    try:
        version = int(fields.get(b"schemaversion", b"1"))
        if version > SCHEMA_VERSION:
            raise Malformed(f"schema version {version} is newer than this process understands ({SCHEMA_VERSION})")
        time = datetime.fromisoformat(fields[b"time"].decode())
        if version < 1 or time.tzinfo is None:
            raise Malformed("the stream entry has no schema version or no time zone")
        if time.tzinfo is not UTC:
            time.astimezone(UTC)  # raises OverflowError for a time that UTC cannot express
        if b"dataref" in fields:
            bytes.fromhex(fields[b"dataref"].decode())
        return Event(
            id=fields[b"id"].decode(),
            type=fields[b"type"].decode(),
            source=fields[b"source"].decode(),
            subject=fields[b"subject"].decode(),
            time=time,
            data=fields[b"data"],
            schemaversion=version,
            **{name: fields[field].decode() for field, name in _EXTENSIONS if field in fields},
        )
    except (KeyError, ValueError, OverflowError) as exc:
        raise Malformed("the stream entry is not an event of ours") from exc
