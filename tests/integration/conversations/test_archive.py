"""What people write is kept once, whatever happens to the stores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest

from adapters.postgres.pool import Pool, Record
from daemon.conversations.archive_names import bucket_name
from daemon.conversations.archive_wiring import open_store
from daemon.settings.model import Settings
from schemas.envelope import Event
from schemas.told import message_data
from tests.support.archive_worker import AT, ArchiveWorker, archive_worker, events_of, incoming
from tests.support.file_server import HTML, JPEG, PDF, PNG, FileServer, redirect
from tests.support.object_stores import emulator
from tests.support.until import until

ACCOUNT = bucket_name("pacelane-whatsapp", "account_3")
OGG = b"OggS\x00\x02" + b"\x00" * 22 + b"OpusHead" + b"\x01" * 300


@pytest.fixture(scope="module")
def emulated() -> Iterator[str]:
    with emulator() as url:
        yield url


@pytest.fixture
async def files() -> AsyncIterator[FileServer]:
    async with FileServer() as running:
        yield running


@pytest.fixture(params=["files", "gcs"])
def settings(request: pytest.FixtureRequest, emulated: str, tmp_path: Path, files: FileServer) -> Settings:
    own: dict[str, Any] = {"chatwoot_base_url": files.url, "ferryman_data_dir": tmp_path}
    return Settings(**own, storage_emulator_host=emulated if request.param == "gcs" else None)


@pytest.fixture
async def worker(redis_url: str, redis: object, db: Pool, settings: Settings) -> AsyncIterator[ArchiveWorker]:
    async with archive_worker(redis_url, db, settings) as made:
        yield made


def attached(id: int, url: str, kind: str = "image") -> dict[str, Any]:
    return {"id": id, "file_type": kind, "data_url": url, "content_type": "application/x-lie", "account_id": 3}


async def handled(worker: ArchiveWorker, *events: Event) -> None:
    """Have *events* handled, with all that follows."""
    await worker.publish(events)
    async with worker.working():
        await until(worker.settled)


async def one_note(pool: Pool) -> Record:
    (row,) = await pool.fetch("SELECT * FROM meeting_notes")
    return row


async def body_of(worker: ArchiveWorker, row: Record) -> bytes:
    async with open_store(worker.outside) as store:
        return await store.get(row["bucket"], row["object_path"])


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


# files


async def test_files_are_kept_by_what_their_bytes_are(worker: ArchiveWorker, db: Pool, files: FileServer) -> None:
    files.files |= {"/v": OGG, "/p": PDF, "/j": redirect(f"{files.url}/jj"), "/jj": JPEG, "/h": HTML}
    listed = [
        attached(88, f"{files.url}/v", "audio"),
        attached(89, f"{files.url}/p", "file"),
        attached(90, f"{files.url}/j"),
        attached(91, f"{files.url}/h", "file"),
    ]
    await handled(worker, *events_of(incoming(7306, text=None, files=listed)))
    rows = await db.fetch("SELECT * FROM note_attachments ORDER BY place")
    assert [(row["status"], row["attachment_id"], row["content_type"], row["object_path"]) for row in rows] == [
        ("stored", "88", "audio/ogg", "whatsapp-audio/2031-02-14/481/7306_88.ogg"),
        ("stored", "89", "application/pdf", "whatsapp-media/2031-02-14/481/7306_89.pdf"),
        ("stored", "90", "image/jpeg", "whatsapp-media/2031-02-14/481/7306_90.jpg"),
        ("stored", "91", "text/html", "whatsapp-media/2031-02-14/481/7306_91.bin"),
    ]
    for row, body in zip(rows, (OGG, PDF, JPEG, HTML), strict=True):
        assert (row["bytes"], row["sha256"]) == (len(body), sha256(body).hexdigest())
        assert await body_of(worker, row) == body


async def test_what_is_stored_is_told_once(worker: ArchiveWorker, db: Pool, files: FileServer) -> None:
    files.files["/v"] = OGG
    (event,) = events_of(incoming(7306, text=None, files=[attached(88, f"{files.url}/v", "audio")]))
    await handled(worker, event)
    await handled(worker, event)
    (told,) = await worker.emitted("attachment.stored")
    data = told.json()
    row = await db.fetchrow("SELECT * FROM note_attachments")
    assert row is not None
    assert (data["attachment_id"], data["note_id"]) == (str(row["id"]), str(row["meeting_note_id"]))
    names = ("bucket", "path", "content_type", "bytes", "sha256")
    assert [data[name] for name in names] == [
        row["bucket"], row["object_path"], "audio/ogg", len(OGG), sha256(OGG).hexdigest(),
    ]  # fmt: skip
    assert (data["kind"], data["message_key"], data["system"]) == ("audio", "chatwoot:7306", "chatwoot")


@pytest.mark.parametrize("prefix", ["http:///", "https:///", "/"])
async def test_an_address_without_a_host_is_one_of_our_own_chatwoot(
    worker: ArchiveWorker, db: Pool, files: FileServer, prefix: str
) -> None:
    files.files["/rails/a.png"] = PNG
    await handled(worker, *events_of(incoming(7306, files=[attached(88, f"{prefix}rails/a.png")])))
    assert await db.fetchval("SELECT status FROM note_attachments") == "stored"
