"""The files of what people write are kept by what they are, and none is fatal to its message."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from adapters import channel as channel_of_files
from adapters.postgres.pool import Pool
from daemon.conversations.archive import attachments
from daemon.settings.model import Settings
from tests.support.archive_worker import (
    OGG,
    ArchiveWorker,
    archive_worker,
    attached,
    body_of,
    events_of,
    handled,
    incoming,
    one_note,
)
from tests.support.file_server import HTML, JPEG, PDF, PNG, FileServer, answering, redirect
from tests.support.until import until


@pytest.fixture
def settings(tmp_path: Path, files: FileServer) -> Settings:
    """Where files come from does not depend on where they go: one store will do."""
    return Settings(chatwoot_base_url=files.url, ferryman_data_dir=tmp_path)


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
    of, told_first = data["message"], event.json()
    assert (of["conversation"], of["phone"], of["message_id"]) == (
        told_first["conversation"], told_first["phone"], "7306",
    )  # fmt: skip
    assert not {"text", "received", "files"} & of.keys(), "what was said is told once"


@pytest.mark.parametrize("prefix", ["http:///", "https:///", "/"])
async def test_an_address_without_a_host_is_one_of_our_own_chatwoot(
    worker: ArchiveWorker, db: Pool, files: FileServer, prefix: str
) -> None:
    files.files["/rails/a.png"] = PNG
    await handled(worker, *events_of(incoming(7306, files=[attached(88, f"{prefix}rails/a.png")])))
    assert await db.fetchval("SELECT status FROM note_attachments") == "stored"


async def test_a_file_that_is_not_uploaded_yet_is_asked_for_again(
    worker: ArchiveWorker, db: Pool, files: FileServer
) -> None:
    answers = [answering(404), answering(500)]

    async def late(request: Any) -> Any:
        return await (answers.pop(0) if answers else answering(200, JPEG))(request)

    files.files["/late"] = late
    await handled(worker, *events_of(incoming(7306, files=[attached(88, f"{files.url}/late")])))
    row = await db.fetchrow("SELECT * FROM note_attachments")
    assert row is not None
    assert (row["status"], row["sha256"]) == ("stored", sha256(JPEG).hexdigest())
    assert files.asked["/late"] == 3


async def test_a_file_that_is_not_to_be_had_is_never_fatal_to_its_message(
    worker: ArchiveWorker, db: Pool, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "LATE_ATTEMPTS", 2)
    files.files["/there"] = PNG
    listed = [attached(88, f"{files.url}/gone"), attached(89, f"{files.url}/there"), attached(90, "http://10.0.0.1/x")]
    await handled(worker, *events_of(incoming(7306, files=listed)))
    rows = await db.fetch("SELECT status, error FROM note_attachments ORDER BY place")
    assert [row["status"] for row in rows] == ["error", "stored", "error"]
    assert "404" in rows[0]["error"]
    assert "private network" in rows[2]["error"]
    assert (await one_note(db))["processing_status"] == "stored"
    assert await db.fetchval("SELECT count(*) FROM dead_letters") == 0


async def test_a_file_longer_than_the_cap_is_not_kept(
    redis_url: str, redis: object, db: Pool, tmp_path: Path, files: FileServer
) -> None:
    files.files |= {"/large": b"%PDF-" + b"x" * 2000, "/fits": PDF}
    settings = Settings(chatwoot_base_url=files.url, ferryman_data_dir=tmp_path, ferryman_attachment_max_bytes=1000)
    async with archive_worker(redis_url, db, settings) as made:
        listed = [attached(88, f"{files.url}/large"), attached(89, f"{files.url}/fits")]
        await handled(made, *events_of(incoming(7306, files=listed)))
    rows = await db.fetch("SELECT status, error FROM note_attachments ORDER BY place")
    assert [row["status"] for row in rows] == ["error", "stored"]
    assert "larger than" in rows[0]["error"]


async def test_a_chatwoot_that_is_away_costs_no_file(
    worker: ArchiveWorker, db: Pool, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_of_files, "PROBE_S", 0.2)
    down = True

    async def wavering(request: Any) -> Any:
        return await (answering(503) if down else answering(200, JPEG))(request)

    many = [f"/f{n}" for n in range(30)]
    files.files |= dict.fromkeys(many, wavering)
    bodies = [
        incoming(7400 + n, phone=f"+4670174{600 + n:04}", contact=n, files=[attached(n, files.url + path)])
        for n, path in enumerate(many)
    ]
    await worker.publish(events_of(*bodies))
    channel = worker.outside.channels["chatwoot-files"]
    async with worker.working():
        await until(lambda: not channel.closed)
        down = False
        await until(worker.settled)
    assert await db.fetchval("SELECT count(*) FROM note_attachments WHERE status = 'stored'") == 30
    assert await db.fetchval("SELECT count(*) FROM dead_letters") == 0
