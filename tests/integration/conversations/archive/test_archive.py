"""What people write is kept once, as a row and an object."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson
import pytest

from adapters.postgres.pool import Pool
from schemas.envelope import Event
from schemas.told import message_data
from tests.support.archive_worker import (
    ACCOUNT,
    AT,
    ArchiveWorker,
    body_of,
    events_of,
    handled,
    incoming,
    one_note,
)


async def test_a_message_is_one_row_and_one_object(worker: ArchiveWorker, db: Pool) -> None:
    body = incoming(7301)
    await handled(worker, *events_of(body), *events_of(body))
    row = await one_note(db)
    path = "whatsapp-messages/2031-02-14/481/7301.json"
    told = {name: row[name] for name in ("chatwoot_message_id", "chatwoot_conversation_id", "source_type", "content")}
    assert told == {
        "chatwoot_message_id": "7301",
        "chatwoot_conversation_id": "481",
        "source_type": "whatsapp",
        "content": "Write a short post on tidal power",
    }
    assert (row["processing_status"], row["error_details"], row["user_id"]) == ("stored", None, None)
    assert (row["contact_identifier"], row["chatwoot_contact_id"], row["chatwoot_account_id"]) == (
        "+12025550143", "905", "3",
    )  # fmt: skip
    assert row["gcs_storage_path"].endswith(f"{ACCOUNT}/{path}")
    assert row["gcs_storage_path"].startswith(("gs://", "file:///"))
    kept = await body_of(worker, row)
    assert sha256(kept).hexdigest() == row["sha256"]
    document = orjson.loads(kept)
    assert document["webhook_payload"]["content"] == body["content"]
    assert document["processed_at"] == AT.isoformat()
    assert document["message_metadata"] == {
        "account_id": 3,
        "conversation_id": 481,
        "message_id": 7301,
        "message_type": "incoming",
        "sender_type": "contact",
        "sender_id": 905,
    }
    assert await db.fetchval("SELECT bucket_name FROM user_bucket_mapping WHERE user_id = 'account_3'") == ACCOUNT
    assert await db.fetchval("SELECT count(*) FROM archive_objects") == 0


async def test_a_replay_changes_nothing(worker: ArchiveWorker, db: Pool) -> None:
    (event,) = events_of(incoming(7301))
    await handled(worker, event)
    before = await one_note(db)
    again = event._replace(replayid="conversation-archive:r1", target="conversation-archive")
    await handled(worker, again)
    assert await one_note(db) == before


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("audio", "[Audio Message]"), ("image", "[Image Message]"), ("video", "[Video Message]"),
     ("file", "[File Attachment]"), ("location", "[Media Message]")],
)  # fmt: skip
async def test_a_message_without_text_says_what_it_is(
    worker: ArchiveWorker, db: Pool, kind: str, expected: str
) -> None:
    await handled(worker, *events_of(incoming(7301, text=None, files=[{"id": 1, "file_type": kind}])))
    assert (await one_note(db))["content"] == expected
    assert await db.fetchval("SELECT count(*) FROM note_attachments") == 0  # there is nothing to fetch


async def test_a_test_contact_is_skipped(worker: ArchiveWorker, db: Pool) -> None:
    body = incoming(7301)
    body["sender"]["identifier"] = "310214-TEST"
    await handled(worker, *events_of(body))
    assert await db.fetchval("SELECT count(*) FROM meeting_notes") == 0
    assert await db.fetchval("SELECT reason FROM inbox WHERE worker = 'conversation-archive'") == "test contact"


def direct(system: str, message_id: str, **more: Any) -> Event:
    data = message_data(
        system=system, contact_id="12025550143", phone=None, at=AT, channel="whatsapp", text=None,
        message_id=message_id, received=b'{"from": "x"}', **more,
    )  # fmt: skip
    return Event(id=f"e-{message_id}", type="message.received", source=system, subject="k", time=AT, data=data)


async def test_a_message_of_any_system_is_kept_under_names_of_ours(worker: ArchiveWorker, db: Pool) -> None:
    await handled(worker, direct("meta", "wamid.HBg/L=="), direct("twilio", "SM01"), direct("whapi", "../../x"))
    rows = await db.fetch("SELECT * FROM meeting_notes ORDER BY message_key")
    assert [(r["message_key"], r["source_type"], r["chatwoot_message_id"]) for r in rows] == [
        ("meta:wamid.HBg/L==", "whatsapp", None),
        ("twilio:SM01", "whatsapp", None),
        ("whapi:../../x", "whatsapp", None),
    ]
    assert not any("12025550143" in row["gcs_storage_path"] or ".." in row["gcs_storage_path"] for row in rows)
    users = await db.fetch("SELECT user_id FROM user_bucket_mapping ORDER BY user_id")
    assert [row["user_id"] for row in users] == ["account_meta", "account_twilio", "account_whapi"]
    for row in rows:
        assert orjson.loads(await body_of(worker, row))["webhook_payload"] == {"from": "x"}


# the operators' SQL, as their handbook has it

BY_DAY = """
SELECT 
  DATE(created_at) as date,
  COUNT(*) as messages_received,
  COUNT(CASE WHEN processing_status = 'stored' THEN 1 END) as successfully_stored,
  COUNT(CASE WHEN processing_status = 'error' THEN 1 END) as errors
FROM meeting_notes 
WHERE source_type = 'whatsapp'
  AND created_at >= NOW() - INTERVAL '7 days'
GROUP BY DATE(created_at)
ORDER BY date DESC;
"""  # noqa: W291

UNPROCESSED = """
SELECT COUNT(*) as unprocessed_messages
FROM meeting_notes 
WHERE source_type = 'whatsapp' 
  AND processing_status = 'stored'
  AND user_id IS NULL;
"""  # noqa: W291

ERRORS = """
SELECT 
  error_details,
  COUNT(*) as error_count
FROM meeting_notes 
WHERE source_type = 'whatsapp' 
  AND processing_status = 'error'
  AND created_at >= NOW() - INTERVAL '24 hours'
GROUP BY error_details;
"""  # noqa: W291


async def test_the_operators_sql_tells_the_truth(worker: ArchiveWorker, db: Pool) -> None:
    now = datetime.now(UTC)
    days = [now, now, now - timedelta(days=1), now - timedelta(days=8)]
    events = [event for n, at in enumerate(days) for event in events_of(incoming(7301 + n), at=at)]
    broken = incoming(7390)
    broken["conversation"]["id"] = None
    mail = incoming(7391, channel="Channel::Email")
    await db.execute("INSERT INTO whatsapp_user_mapping (user_id, whatsapp_number) VALUES ('u1', '+46 70 174 06 05')")
    mapped = incoming(7392, phone="+46701740605", contact=906)
    await handled(worker, *events, *events_of(broken, mail, mapped, at=now))
    by_day = [tuple(row) for row in await db.fetch(BY_DAY)]
    assert by_day == [(now.date(), 4, 3, 1), ((now - timedelta(days=1)).date(), 1, 1, 0)]
    assert await db.fetchval(UNPROCESSED) == 4
    assert [tuple(row) for row in await db.fetch(ERRORS)] == [("conversation has no id", 1)]
    assert await db.fetchval("SELECT source_type FROM meeting_notes WHERE chatwoot_message_id = '7391'") == "email"
