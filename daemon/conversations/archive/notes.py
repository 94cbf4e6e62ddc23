"""What is kept of a message: its row, its object, its files. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

from adapters.postgres.json_text import json_text
from adapters.postgres.notes import NewFile, Note
from daemon.conversations.archive.names import (
    attachment_id,
    fallback_user,
    file_stem,
    folder_of,
    message_path,
    note_id,
    told_id,
)
from schemas.cleaned import cut, visible
from schemas.conversations import CHATWOOT, Chat, chat_of, message_key
from schemas.envelope import Event
from schemas.errors import FerrymanError, Malformed
from schemas.phone import Phone
from schemas.told import WHATSAPP, phone_told, told_in

PLACEHOLDERS: Final[Mapping[str, str]] = {
    "audio": "[Audio Message]",
    "voice": "[Audio Message]",
    "image": "[Image Message]",
    "sticker": "[Image Message]",
    "video": "[Video Message]",
    "document": "[File Attachment]",
}
"""What the row says of a message without text, by its kind."""

OTHER: Final = "[Media Message]"

_CHANNELS: Final[Mapping[str, str]] = {"webwidget": "web", "facebookpage": "facebook"}
"""Chatwoot's names of channels -> ours, where they differ."""

_LONGEST_ERROR: Final = 500

FACTS: Final = (
    "system", "contact_id", "phone", "at", "channel", "conversation", "name", "message_id", "kind", "number"
)  # fmt: skip
"""Members of `message.received` that the events of its files carry on."""


class FileTold(NamedTuple):
    """A file of a message. *id*: the system's own of an attachment. It is fetched from *url*, or by *media_id*."""

    kind: str
    id: str | None
    url: str | None
    media_id: str | None


class Heard(NamedTuple):
    """A message of a person, read. *message_id*: the system's own, or one that we have made for it. *line*: the phone
    line."""

    event: Event
    told: Mapping[str, Any]
    chat: Chat
    key: str
    message_id: str
    phone: Phone | None
    files: tuple[FileTold, ...]

    @property
    def line(self) -> str | None:
        """The person's phone line."""
        return None if self.phone is None else self.phone.line

    @property
    def folder(self) -> str:
        """Where its objects are, below what they are."""
        return folder_of(self.chat, self.event.time)

    @property
    def path(self) -> str:
        """The path of its object."""
        return message_path(self.folder, self.message_id)

    @property
    def fallback(self) -> str:
        """What stands for its user where nobody is known."""
        return fallback_user(self.chat.system, self.account)

    @property
    def contact(self) -> str | None:
        """Chatwoot's id of the person within its account; None of another system."""
        return str(self.told["contact_id"]).rpartition(":")[2] if self.chat.system == CHATWOOT else None

    @property
    def account(self) -> str | None:
        """Chatwoot's id of the account; None of another system."""
        if self.chat.account is not None:
            return str(self.chat.account)
        account = str(self.told["contact_id"]).partition(":")[0]  # what came before a message told its conversation
        return account if self.chat.system == CHATWOOT and account.isascii() and account.isdigit() else None


def heard(event: Event) -> Heard:
    """The message of a `message.received`. Raises: Malformed."""
    told = told_in(event)
    chat, named = chat_of(told), message_key(told)
    id = str(told["message_id"]) if named is not None else event.id
    return Heard(
        event=event,
        told=told,
        chat=chat,
        key=f"{chat.system}:{id}",
        message_id=id,
        phone=phone_told(told),
        files=tuple(_files(told)),
    )


def _files(told: Mapping[str, Any]) -> list[FileTold]:
    """The files of a message: those that can be fetched."""
    listed, media, of_crm = told.get("files"), told.get("media"), told.get("system") == CHATWOOT
    if isinstance(listed, list) and listed:
        found = [
            _file(one, one.get("id"), None if of_crm else one.get("id")) for one in listed if isinstance(one, dict)
        ]
    elif isinstance(media, dict):
        found = [_file({**media, "kind": told.get("kind")}, None, media.get("id"))]
    else:
        found = []
    return [one for one in found if one.url or one.media_id]


def _file(one: Mapping[str, Any], id: object, media_id: object) -> FileTold:
    texts = [value if isinstance(value, str) and value else None for value in (id, one.get("url"), media_id)]
    return FileTold(str(one.get("kind") or "document"), *texts)


def source_type(told: Mapping[str, Any], chat: Chat, whatsapp_inbox: int) -> str:
    """By what a message came: `whatsapp`, `email`, `sms`, `telegram`, `web` or another channel's own name.
    *whatsapp_inbox*: Chatwoot's inbox of WhatsApp, where the channel itself does not tell."""
    channel = told.get("channel", WHATSAPP)
    if isinstance(channel, str) and channel:
        return _CHANNELS.get(channel, channel)
    return WHATSAPP if chat.inbox == whatsapp_inbox else "other"


def content_of(told: Mapping[str, Any]) -> str:
    """The text of a message, or what stands for it."""
    text = told.get("text")
    return text if isinstance(text, str) and text else PLACEHOLDERS.get(str(told.get("kind")), OTHER)


def document_of(message: Heard) -> bytes:
    """The object of a message: the same bytes whenever it is made."""
    document = json_text(
        {
            "webhook_payload": message.told.get("received"),
            "processed_at": message.event.time.isoformat(),
            "message_metadata": {
                "account_id": told_id(message.account),
                "conversation_id": message.chat.conversation or message.chat.key,
                "message_id": told_id(message.message_id),
                "message_type": "incoming",
                "sender_type": "contact",
                "sender_id": told_id(message.contact or str(message.told["contact_id"])),
            },
        }
    )
    return (document or "").encode()


def note_of(message: Heard, user: str | None, bucket: str, location: str, body: bytes, whatsapp_inbox: int) -> Note:
    """The row of a message whose object *body* is at *location* in *bucket*."""
    return Note(
        id=note_id(message.key),
        message_key=message.key,
        user=user,
        fallback=message.fallback,
        system=message.chat.system,
        message_id=message.message_id,
        conversation=_conversation(message.chat),
        contact=message.contact,
        account=message.account,
        identifier=message.phone.e164 if message.phone is not None else str(message.told["contact_id"]),
        line=message.line,
        source_type=source_type(message.told, message.chat, whatsapp_inbox),
        content=content_of(message.told),
        metadata=_metadata(message),
        bucket=bucket,
        path=message.path,
        location=location,
        sha256=sha256(body).hexdigest(),
        event_id=message.event.id,
        received_at=message.event.time,
        files=tuple(_new_files(message)),
    )


def _conversation(chat: Chat) -> str:
    return chat.key if chat.conversation is None else str(chat.conversation)


def _metadata(message: Heard) -> dict[str, Any]:
    told = message.told
    names = ("kind", "channel", "at", "choice", "reply_to", "name", "bsuid", "number")
    kept = {name: told[name] for name in names if told.get(name) is not None}
    return {"system": message.chat.system, "chat": message.chat.key, **kept, "files": len(message.files)}


def _new_files(message: Heard) -> Sequence[NewFile]:
    return [
        NewFile(attachment_id(message.key, place), place, file.id or file.media_id, file.kind)
        for place, file in enumerate(message.files)
    ]


def file_events(message: Heard, user: str | None, bucket: str) -> list[Event]:
    """The `attachment.received` of each file of a message."""
    return [
        message.event.emit(
            "attachment.received",
            place,
            {
                "attachment_id": str(attachment_id(message.key, place)),
                "note_id": str(note_id(message.key)),
                "message_key": message.key,
                "place": place,
                "kind": file.kind,
                "id": file.id,
                **({} if file.url is None else {"url": file.url}),
                **({} if file.media_id is None else {"media_id": file.media_id}),
                "system": message.chat.system,
                "chat": message.chat.key,
                "stem": file_stem(message.folder, message.message_id, file.id or str(place)),
                "bucket": bucket,
                "user": user,
                "message": facts_of(message.told),
            },
            time=message.event.time,
        )
        for place, file in enumerate(message.files)
    ]


def facts_of(told: Mapping[str, Any]) -> dict[str, Any]:
    """What whoever hears of a file, or of its text, has to know of its message: all but what it says."""
    received = told.get("received")
    source = received.get("source_id") if isinstance(received, Mapping) else None
    return {**{name: told[name] for name in FACTS if name in told}, "source_id": source}


def failed_note(event: Event, why: str, whatsapp_inbox: int) -> Note:
    """The row of a message that is not archived yet, or never will be: *why*."""
    try:
        message = heard(event)
        note = note_of(message, None, "", "", b"", whatsapp_inbox)
    except (FerrymanError, KeyError, TypeError):
        note = _unread(event)
    return note._replace(
        bucket=None,
        path=None,
        location=None,
        sha256=None,
        error=cut(visible(why), _LONGEST_ERROR),
        files=(),
        status="error",
    )


def _unread(event: Event) -> Note:
    """The row of a message that cannot be read."""
    told = _object(event)
    named = message_key(told)
    return Note(
        id=note_id(named or f"{event.source}:{event.id}"),
        message_key=named or f"{event.source}:{event.id}",
        user=None,
        fallback="",
        system=event.source,
        message_id=str(told["message_id"]) if named else event.id,
        event_id=event.id,
        received_at=event.time,
    )


def _object(event: Event) -> Mapping[str, Any]:
    try:
        told = event.json()
    except Malformed:
        return {}
    return {"system": event.source, **told} if isinstance(told, dict) else {}
