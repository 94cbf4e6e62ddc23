"""Rows of conversations, as the workers write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from adapters.postgres.pool import Pool
from schemas.phone import line
from tests.support.toy import NOON

PHONE: Final = "+972505550142"
NAME: Final = "Noa Ben-Ari"
ACCOUNT: Final = 3


async def insert(db: Pool, table: str, **row: Any) -> Any:
    """Insert a row; returns its first column. A mapping becomes JSON."""
    values = [json.dumps(value) if isinstance(value, Mapping) else value for value in row.values()]
    places = ", ".join(f"${n}" for n in range(1, len(row) + 1))
    returning = "message_key" if table == "buffered_messages" else "id"
    query = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places}) RETURNING {returning}"
    return await db.fetchval(query, *values)


async def chatwoot_chat(db: Pool, number: int, *, minutes: int = 0, phone: str | None = PHONE, **changes: Any) -> int:
    """A conversation of Chatwoot, in which something was written last *minutes* after NOON; returns its row's id."""
    given = {
        "chat": f"chatwoot:{ACCOUNT}:{number}",
        "system": "chatwoot",
        "chatwoot_account_id": ACCOUNT,
        "chatwoot_conversation_id": number,
        "inbox_id": 1,
        "channel": "whatsapp",
        "phone": phone,
        "line": None if phone is None else line(phone),
        "subject": "bsuid:IL.7" if phone is None else line(phone),
        "name": NAME,
        "status": "open",
        "message_count": 1,
        "last_message_at": NOON + timedelta(minutes=minutes),
        "created_at": NOON,
    }
    return int(await insert(db, "conversations", **given | changes))


async def direct_chat(db: Pool, system: str, person: str, *, minutes: int = 0, **changes: Any) -> int:
    """A conversation of a system that is no CRM, with the person whom it calls so."""
    phone = f"+{person}" if person.isdigit() else None
    given = {
        "chat": f"{system}:106:{person}",
        "system": system,
        "phone": phone,
        "line": None if phone is None else line(phone),
        "contact_ref": person,
        "name": NAME,
        "last_message_at": NOON + timedelta(minutes=minutes),
    }
    return int(await insert(db, "conversations", **given | changes))


async def wrote(
    db: Pool, id: int | str, text: str, *, system: str = "chatwoot", minutes: int = 0, **changes: Any
) -> UUID:
    """A person has written a message that *system* calls *id*."""
    given = {
        "id": uuid4(),
        "direction": "in",
        "status": "received",
        "provider": system,
        "phone": PHONE,
        "kind": "text",
        "content": {"text": text, "media": None, "choice": None, "reply_to": None},
        "purpose": "person",
        "provider_message_id": str(id),
        "event_id": f"event-{id}",
        "sent_at": NOON + timedelta(minutes=minutes),
    }
    made: UUID = await insert(db, "messages", **given | changes)
    return made


async def sent(db: Pool, text: str, *, system: str = "chatwoot", minutes: int = 0, **changes: Any) -> UUID:
    """A message to the person."""
    at = NOON + timedelta(minutes=minutes)
    given = {
        "id": uuid4(),
        "direction": "out",
        "status": "sent",
        "provider": system,
        "phone": PHONE,
        "kind": "text",
        "content": {"body": text},
        "purpose": "dialog:content_order",
        "event_id": "asked",
        "created_at": at,
        "sent_at": at,
    }
    made: UUID = await insert(db, "messages", **given | changes)
    return made


async def archived(db: Pool, id: int | str, number: int | None, text: str, *, minutes: int = 0, **changes: Any) -> UUID:
    """A message of a person is archived; *number*: of its conversation in Chatwoot."""
    given = {
        "message_key": f"chatwoot:{id}",
        "chatwoot_message_id": str(id),
        "chatwoot_conversation_id": str(number),
        "chatwoot_account_id": str(ACCOUNT),
        "contact_identifier": PHONE,
        "line": PHONE,
        "content": text,
        "gcs_storage_path": f"gs://pacelane-whatsapp-1f/2031/{number}/{id}.json",
        "event_id": f"event-{id}",
        "created_at": NOON + timedelta(minutes=minutes),
    }
    made: UUID = await insert(db, "meeting_notes", **given | changes)
    return made


async def buffered(db: Pool, id: int | str, number: int, *, minutes: int = 0, **changes: Any) -> None:
    """A message of a person is to be understood."""
    given = {
        "chat": f"chatwoot:{ACCOUNT}:{number}",
        "message_key": f"chatwoot:{id}",
        "event_id": f"event-{id}",
        "place": int(id),
        "at": NOON + timedelta(minutes=minutes),
        "kind": "text",
    }
    await insert(db, "buffered_messages", **given | changes)


def asking(field: str, *questions: UUID, **more: Any) -> dict[str, Any]:
    """The context of a dialog that asks for *field*, by these messages."""
    options = [["LinkedIn", "linkedin"], ["Instagram", "instagram"]]
    return {
        "clarifyingField": field,
        "orderParams": {"topic": "bicycles of Noa", "platform": "linkedin"},
        "dialog": "content_order",
        "dialogId": str(UUID(int=7)),
        "since": datetime.isoformat(NOON + timedelta(minutes=5)),
        "asked": [
            {"id": str(UUID(int=1)), "field": "platform", "number": 1, "options": options},
            *({"id": str(id), "field": field, "number": n, "options": []} for n, id in enumerate(questions, 2)),
        ],
        **more,
    }


async def letter(db: Pool, event_id: str, data: Mapping[str, Any]) -> int:
    """A dead letter of the archive, for an event of the person; returns its number."""
    number: int = await insert(
        db,
        "dead_letters",
        worker="conversation-archive",
        event_id=event_id,
        type="message.received",
        source="chatwoot",
        subject=PHONE,
        time=NOON,
        data=json.dumps(data),
        traceparent="",
        causationid="",
        schemaversion=1,
        error_class="Malformed",
        error_text="the event has no text",
        attempts=1,
    )
    return number
