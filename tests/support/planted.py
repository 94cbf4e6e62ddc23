"""A person in every table, stream, object and log that may hold one, and a neighbour who must stay.

The words CANARY, SURNAME and SPOKEN are nobody else's: after an erasure they are nowhere.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from adapters.postgres.bus import days
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.bus.publisher import publish
from schemas.envelope import Event, event_id

PHONE: Final = "+972505550142"
EMAIL: Final = "canary142@example.com"
SURNAME: Final = "Zanzibarsky"
SPOKEN: Final = "quetzalcoatlus"
ORDER: Final = "IL210214KN1042"
OTHER_PHONE: Final = "+972505550977"
OTHER_ORDER: Final = "IL210214ZZ2077"
OTHER_NAME: Final = "Neighbourly"
WRONG_PHONE: Final = "+972505550811"
"""Somebody else's, which the person's order once had."""

WORDS: Final = ("97250555014", "505550142", "canary142", SURNAME, SPOKEN, ORDER)
MODEL: Final = "Lead"
OBJECT: Final = ("bucket-1", "notes/canary.json")
VOICE: Final = ("bucket-1", "notes/voice.ogg")


def an_event(type: str, number: int, data: Mapping[str, Any], *, subject: str = PHONE, **more: Any) -> Event:
    """An event of the person."""
    now = datetime.now(UTC)
    body = json.dumps(data).encode()
    return Event(
        id=event_id("test", subject, type, str(number)),
        type=type,
        source="test",
        subject=subject,
        time=now,
        data=body,
        **more,
    )


def order_body(phone: str = PHONE, order: str = ORDER, *, created: str = "2021-02-14T09:00:00Z") -> dict[str, Any]:
    """A webhook's body, small."""
    client = {"name": f"Ann {SURNAME}", "email": EMAIL, "phone": {"code": "972", "number": "0" + phone[4:]}}
    return {"order": {"id": order}, "form": {"client": client, "created_at": created, "applicants": []}}


async def insert(db: Pool, table: str, **row: Any) -> Any:
    """Insert a row; returns its id, where it has one. A mapping becomes JSON."""
    values = [json.dumps(value) if isinstance(value, Mapping) else value for value in row.values()]
    places = ", ".join(f"${n}" for n in range(1, len(row) + 1))
    query = f"INSERT INTO {table} AS t ({', '.join(row)}) VALUES ({places}) RETURNING to_jsonb(t) ->> 'id'"
    return await db.fetchval(query, *values)


async def _journal(db: Pool, event: Event) -> None:
    await insert(db, "event_journal", **_columns(event))


def _columns(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "time": event.time,
        "data": event.data.decode(),
        "traceparent": "",
        "causationid": event.causationid,
        "schemaversion": 1,
    }


async def plant(db: Pool, bus: Streams) -> dict[str, Any]:
    """Put the person everywhere, and the neighbour beside. Returns ids that tests ask for."""
    await days.ensure_days(db)
    await db.execute(
        "INSERT INTO workers (name, topics, types, begins) VALUES"
        " ('journal', '{orders,messages}', '{order.received,message.received,message.requested}', 'everything'),"
        " ('contact-sync', '{orders}', '{order.received}', 'everything'),"
        " ('outbound-messaging', '{messages}', '{message.requested,message.received}', 'everything')"
    )
    person = await insert(db, "contacts", name=f"Ann {SURNAME}", email=EMAIL, newest_order_id=ORDER)
    merged = await insert(
        db, "contacts", name=f"Old {SURNAME}", merged_into=person, stayed_as={"name": f"Ann {SURNAME}"}
    )
    other = await insert(db, "contacts", name=OTHER_NAME, apart_from=[person])
    identities = [("phone", PHONE), ("cgb", "8801"), ("chatwoot", "3:902"), ("bsuid", "IL.1234567890123")]
    for kind, value in identities:
        await insert(db, "contact_identities", contact_id=person, kind=kind, value=value)
    await insert(db, "contact_identities", contact_id=other, kind="phone", value=OTHER_PHONE)
    await insert(db, "contact_emails", contact_id=person, email=EMAIL)
    events = await _plant_events(db, bus)
    await _plant_orders(db, person, other, events)
    message = await _plant_messages(db, events)
    note = await _plant_conversation(db, events, message)
    await _plant_records(db)
    await _plant_subscriber(db, events)
    await _plant_reveals(db)
    await insert(
        db, "audit_log", actor="me", action="order.corrected", subject=f"order:{ORDER}", detail={"phone": PHONE}
    )
    await insert(
        db,
        "audit_log",
        actor="me",
        action="contact.merged",
        subject=f"contact:{person}",
        detail={"merged": str(merged)},
    )
    await insert(db, "replays", id="r1", worker="contact-sync", filter={"key": PHONE}, total=1, until=1)
    await insert(
        db,
        "refused_requests",
        source="orders",
        reason="size",
        status=413,
        headers={},
        body=json.dumps(order_body()).encode(),
    )
    await insert(db, "refused_requests", source="orders", reason="size", status=413, headers={}, body=b"{}")
    return {"person": person, "other": other, "message": message, "note": note, **events}


async def _plant_events(db: Pool, bus: Streams) -> dict[str, str]:
    open_one = an_event("order.received", 1, order_body())
    ended = an_event("order.received", 2, order_body(created="2021-02-14T08:00:00Z"))
    wrong = an_event("order.received", 3, order_body(WRONG_PHONE), subject=WRONG_PHONE)
    caused = an_event("contact.synced", 4, {"name": SURNAME}, subject="order:x", causationid=ended.id)
    large = an_event("message.received", 5, {"text": SPOKEN * 6000})
    dead = an_event("message.requested", 6, {"text": SURNAME})
    letter = an_event("message.requested", 7, {"text": SURNAME})
    others = an_event(
        "order.received",
        8,
        {"order": {"id": OTHER_ORDER}, "emergency": "050-555 0142", "form": {"client": {"name": OTHER_NAME}}},
        subject=OTHER_PHONE,
    )
    for event in (open_one, ended, wrong, caused, large, dead, letter, others):
        await _journal(db, event)
    await publish(db, bus, [open_one, wrong, large, others])
    for worker, event, outcome in (
        ("contact-sync", ended, "done"),
        ("journal", ended, "done"),
        ("contact-sync", others, "done"),
        ("journal", others, "done"),
        ("outbound-messaging", dead, "uncertain"),
        ("journal", dead, "done"),
        ("outbound-messaging", letter, "dead"),
        ("journal", letter, "done"),
        ("contact-sync", wrong, "done"),
        ("journal", wrong, "done"),
        ("journal", large, "done"),
        ("journal", open_one, "done"),
    ):
        await insert(
            db,
            "inbox",
            worker=worker,
            event_id=event.id,
            outcome=outcome,
            data_hash=b"x",
            reason=f"said {PHONE}" if outcome == "uncertain" else None,
        )
    await insert(
        db,
        "attempts",
        worker="contact-sync",
        event_id=open_one.id,
        attempts=2,
        error_class="Transient",
        error_text=f"no {PHONE}",
        next_at=datetime.now(UTC),
    )
    await insert(
        db,
        "dead_letters",
        worker="outbound-messaging",
        event_id=letter.id,
        type=letter.type,
        source="test",
        subject=PHONE,
        time=letter.time,
        data=letter.data.decode(),
        traceparent="",
        causationid="",
        schemaversion=1,
        error_class="Refused",
        error_text=f"{SURNAME} is away",
        attempts=1,
    )
    now = datetime.now(UTC)
    await insert(
        db,
        "attempt_history",
        worker="contact-sync",
        event_id=open_one.id,
        counted=True,
        error_class="Transient",
        error_code="",
        error_text=f"no {PHONE}",
        host="a",
        began_at=now,
        ended_at=now,
    )
    await insert(db, "event_conflicts", event_id=ended.id, data_hash=b"y", source="test", data=SURNAME)
    spooled = an_event("order.received", 9, order_body())
    await insert(db, "spool", **_columns(spooled))
    await insert(db, "outbox", **_columns(an_event("message.requested", 10, {"text": SURNAME})))
    return {
        "open": open_one.id,
        "ended": ended.id,
        "wrong": wrong.id,
        "spooled": spooled.id,
        "others": others.id,
        "letter": letter.id,
    }


async def _plant_orders(db: Pool, person: uuid.UUID, other: uuid.UUID, events: Mapping[str, str]) -> None:
    now = datetime.now(UTC)
    await insert(
        db,
        "orders",
        order_id=ORDER,
        client_name=f"Ann {SURNAME}",
        client_phone_e164=PHONE,
        cbb_contact_uuid=person,
        ordered_at=now,
        raw_body=json.dumps(order_body()),
        webhook_received_at=now,
        event_id=events["ended"],
        applicants_data=json.dumps([{"id": "apl_canary", "name": SURNAME}]),
    )
    await insert(
        db,
        "orders",
        order_id=OTHER_ORDER,
        client_name=OTHER_NAME,
        client_phone_e164=OTHER_PHONE,
        cbb_contact_uuid=other,
        ordered_at=now,
        raw_body="{}",
        webhook_received_at=now,
        emergency_contact_data={"phone": "050-5550142"},
    )
    await insert(
        db,
        "applicant_issues",
        applicant_id="apl_canary",
        event_id="issue",
        status="reported",
        issues={},
        applicant_name=SURNAME,
        order_id=ORDER,
        reported_at=now,
        raw_body=SURNAME,
    )
    await insert(db, "reconciled_orders", order_id=ORDER, event_id="e", replay_id="r")
    await insert(db, "automatic_orders", order_id=ORDER, ordered_at=now, form_revision=1, received_at=now)
    await insert(db, "whatsapp_checks", phone=PHONE, has_whatsapp=True, source="cgb", checked_at=now, expires_at=now)
    await insert(
        db, "told_fields", line=PHONE, field="name", value=SURNAME, told_at=now, event_id="e", owner="cgb", taken=True
    )


async def _plant_messages(db: Pool, events: Mapping[str, str]) -> uuid.UUID:
    now = datetime.now(UTC)
    queued, sent = uuid.uuid4(), uuid.uuid4()
    for id, status in ((queued, "queued"), (sent, "sent")):
        await insert(
            db,
            "messages",
            id=id,
            direction="out",
            status=status,
            provider="meta",
            phone=PHONE,
            kind="text",
            content={"text": SURNAME},
            purpose="api",
            event_id=str(uuid.uuid4()),
        )
    await insert(
        db,
        "messages",
        id=uuid.uuid4(),
        direction="out",
        status="sent",
        provider="meta",
        phone=OTHER_PHONE,
        kind="text",
        content={"text": "hello"},
        purpose="api",
        event_id="o",
    )
    await insert(
        db,
        "delivery_updates",
        message_id=sent,
        provider="meta",
        provider_message_id="w1",
        status="read",
        at=now,
        event_id="d1",
    )
    await insert(
        db,
        "delivery_updates",
        provider="meta",
        provider_message_id="w2",
        status="read",
        at=now,
        event_id=events["ended"],
        error=SURNAME,
    )
    await insert(db, "customer_windows", line=PHONE, system="meta", written_at=now)
    await insert(db, "opt_outs", line=PHONE, scope="marketing", opted_out=True, at=now, source="message")
    await insert(db, "idempotency_keys", key=SURNAME, digest=b"d", message_id=sent)
    await insert(
        db,
        "automatic_messages",
        message_id=queued,
        order_id=ORDER,
        kind="k",
        subject="apl_canary",
        rule="r",
        trigger="t",
    )
    campaign = await insert(
        db,
        "campaigns",
        id=uuid.uuid4(),
        name="news",
        provider="meta",
        account="default",
        template="t",
        category="utility",
        rate=1.0,
        duplicates=0,
        created_by="me",
    )
    for line, phone, name in ((1, PHONE, SURNAME), (2, OTHER_PHONE, OTHER_NAME)):
        await insert(
            db,
            "campaign_recipients",
            campaign_id=campaign,
            line=line,
            phone=phone,
            person=phone,
            name=name,
            variables={"1": name},
            status="pending",
        )
    return queued


async def _plant_conversation(db: Pool, events: Mapping[str, str], message: uuid.UUID) -> uuid.UUID:
    now, chat = datetime.now(UTC), "chatwoot:3:481"
    await insert(
        db,
        "conversations",
        chat=chat,
        system="chatwoot",
        subject=PHONE,
        line=PHONE,
        phone=PHONE,
        name=SURNAME,
        chatwoot_account_id=3,
        chatwoot_conversation_id=481,
        context_json={"topic": SPOKEN},
    )
    await insert(db, "agent_replies", event_id="a1", chat=chat, at=now)
    await insert(
        db,
        "buffered_messages",
        chat=chat,
        message_key="chatwoot:7301",
        event_id="b1",
        place=1,
        at=now,
        kind="text",
        text=SPOKEN,
    )
    note = await insert(
        db,
        "meeting_notes",
        message_key="chatwoot:7301",
        line=PHONE,
        contact_identifier=PHONE,
        content=SPOKEN,
        event_id="b1",
        bucket=OBJECT[0],
        object_path=OBJECT[1],
        chatwoot_account_id="3",
        chatwoot_conversation_id="481",
    )
    file = await insert(
        db,
        "note_attachments",
        id=uuid.uuid4(),
        meeting_note_id=note,
        place=0,
        kind="audio",
        bucket=VOICE[0],
        object_path=VOICE[1],
    )
    await insert(
        db, "audio_files", id=uuid.uuid4(), meeting_note_id=note, note_attachment_id=file, transcription=SPOKEN
    )
    await insert(
        db, "archive_objects", bucket=OBJECT[0], path=OBJECT[1], content_type="text/plain", body=SPOKEN.encode()
    )
    await insert(db, "archive_moved", bucket="bucket-0", path=OBJECT[1], to_bucket=OBJECT[0])
    await insert(db, "archive_moves", meeting_note_id=note)
    await insert(
        db, "content_orders", id=uuid.uuid4(), params_json={"topic": SPOKEN}, chat=chat, phone=PHONE, event_id="c1"
    )
    await insert(db, "crm_people", account_id=3, person=PHONE, messages=1, heard=["car"], attributes={"n": SURNAME})
    await insert(db, "crm_messages", message_key="chatwoot:7301")
    await insert(db, "crm_labels", account_id=3, conversation_id=481, put=["car"], wished=[], posted="[]")
    await insert(db, "label_requests", key=SURNAME, digest=b"d", event_id=uuid.UUID(events["ended"]))
    await insert(db, "whatsapp_user_mapping", user_id="u-canary", whatsapp_number="972505550142")
    await insert(db, "user_bucket_mapping", user_id="u-canary", bucket_name="bucket-1")
    return uuid.UUID(str(note))


async def _plant_records(db: Pool) -> None:
    seq = await db.fetchval("UPDATE sync_clock SET seq = seq + 1 RETURNING seq")
    await insert(
        db,
        "records",
        model=MODEL,
        record_id="lead-1",
        version=1,
        prev=0,
        seq=seq,
        data={"name": SURNAME, "phone": PHONE},
        changed_at=datetime.now(UTC),
    )
    await insert(db, "record_people", model=MODEL, record_id="lead-1", seq=seq, line=PHONE)


async def _plant_subscriber(db: Pool, events: Mapping[str, str]) -> None:
    """The person's deliveries, one of them under a stranger's key, where one of the stranger's waits behind it."""
    subscriber = await insert(
        db, "subscribers", name="shop", url="https://x", types=["order.*"], secrets=b"s", key_id="k", created_by="me"
    )
    for event, key, body, next_at in (
        (events["ended"], PHONE, SURNAME, "now"),
        (events["wrong"], WRONG_PHONE, SURNAME, "now"),
        ("strangers", WRONG_PHONE, "{}", "infinity"),
    ):
        await db.execute(
            "INSERT INTO webhook_deliveries (subscriber_id, event_id, type, key, body, next_at)"
            " VALUES ($1, $2, 'order.received', $3, $4, $5::text::timestamptz)",
            int(subscriber),
            event,
            key,
            body,
            next_at,
        )


async def _plant_reveals(db: Pool) -> None:
    """An operator looks at the person, by two notations."""
    operator = await insert(db, "operators", name="staff", role="read", created_by="me")
    await insert(db, "operator_sessions", digest=b"t", operator=int(operator), address="::1", agent="a")
    for number in (PHONE, PHONE[1:]):
        await insert(db, "operator_reveals", digest=b"t", subject=f"phone:{number}", until=datetime.now(UTC))
