"""The store goes away, and comes back: what people write is kept all the same."""

from __future__ import annotations

from hashlib import sha256

import pytest

from adapters.channel import Channel
from adapters.conversation_ports import BucketTaken, ObjectStore
from adapters.postgres import archive
from adapters.postgres.archive import WaitingObject
from adapters.postgres.pool import Pool
from daemon.conversations.archive import attachments
from daemon.conversations.archive.names import bucket_name
from daemon.conversations.archive.storing import Archive
from daemon.conversations.archive.wiring import STORAGE, open_store
from schemas.errors import Refused
from tests.support.archive_worker import (
    ACCOUNT,
    OGG,
    ArchiveWorker,
    attached,
    body_of,
    events_of,
    handled,
    incoming,
    one_note,
)
from tests.support.file_server import JPEG, FileServer
from tests.support.until import until


class Away:
    """Makes the store of a worker away, and back."""

    def __init__(self, worker: ArchiveWorker) -> None:
        self._channel: Channel = worker.outside.channels[STORAGE]

    def begin(self) -> None:
        self._channel.paused = True

    def end(self) -> None:
        self._channel.paused = False


async def test_while_the_store_is_away_what_people_write_waits_in_postgres(
    worker: ArchiveWorker, db: Pool, files: FileServer
) -> None:
    files.files |= {"/v": OGG}
    away = Away(worker)
    away.begin()
    await handled(worker, *events_of(incoming(7306, files=[attached(88, f"{files.url}/v", "audio")])))
    row = await one_note(db)
    assert (row["processing_status"], row["error_details"]) == ("stored", None)
    file = await db.fetchrow("SELECT * FROM note_attachments")
    assert file is not None
    assert (file["status"], await db.fetchval("SELECT count(*) FROM archive_objects")) == ("stored", 2)
    assert await body_of(worker, file) == OGG  # also while it waits
    await worker.duties("archive-waiting", "archive-measured")
    assert await db.fetchval("SELECT count(*) FROM archive_objects") == 2
    assert "\nferryman_archive_waiting 2\n" in worker.outside.metrics.render()[0].decode()
    away.end()
    await db.execute("UPDATE archive_objects SET taken_until = NULL")
    await worker.duties("archive-waiting", "archive-measured")
    assert await db.fetchval("SELECT count(*) FROM archive_objects") == 0
    assert "\nferryman_archive_waiting 0\n" in worker.outside.metrics.render()[0].decode()
    after = await one_note(db)
    assert after == row
    assert sha256(await body_of(worker, after)).hexdigest() == row["sha256"]
    assert await body_of(worker, file) == OGG


async def test_a_large_file_waits_where_it_is(
    worker: ArchiveWorker, db: Pool, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "MOST_WAITING_BYTES", 100)
    files.files |= {"/j": JPEG}
    away = Away(worker)
    away.begin()
    await worker.publish(events_of(incoming(7306, files=[attached(88, f"{files.url}/j")])))
    async with worker.working():
        await until(lambda: files.asked["/j"] >= 1)
        await until(lambda: db.fetchval("SELECT count(*) FROM archive_objects"))
        away.end()
        await until(worker.settled)
    assert await db.fetchval("SELECT status FROM note_attachments") == "stored"
    assert await db.fetchval("SELECT path FROM archive_objects") == "whatsapp-messages/2031-02-14/481/7306.json"


async def test_a_name_that_belongs_to_somebody_else_is_given_up(
    worker: ArchiveWorker, db: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(worker.outside) as store:
        kind: type[ObjectStore] = type(store._store)
    sound = kind.ensure_bucket

    async def ensure(self: ObjectStore, name: str) -> None:
        if name == ACCOUNT:
            raise BucketTaken("the bucket's name belongs to another project of Google's")
        await sound(self, name)

    monkeypatch.setattr(kind, "ensure_bucket", ensure)
    await handled(worker, *events_of(incoming(7301)))
    assert await db.fetchval("SELECT count(*) FROM archive_objects") == 1
    await worker.duties("archive-waiting")
    row = await one_note(db)
    other = bucket_name("pacelane-whatsapp", "account_3", 1)
    assert (row["bucket"], row["gcs_storage_path"].count(other)) == (other, 1)
    assert await db.fetchval("SELECT bucket_name FROM user_bucket_mapping") == other
    assert sha256(await body_of(worker, row)).hexdigest() == row["sha256"]
    await handled(worker, *events_of(incoming(7302)))
    assert await db.fetchval("SELECT count(*) FROM archive_objects") == 0
    async with db.acquire() as conn:  # by a process that had asked for the bucket before
        await archive.wait(conn, [WaitingObject(ACCOUNT, "late/7303.json", archive.JSON, b"{}")])
    await worker.duties("archive-waiting")
    async with open_store(worker.outside) as store:
        assert await store.get(other, "late/7303.json") == b"{}"
        asked_for_by_an_older_event = await store.get(ACCOUNT, row["object_path"])
        assert sha256(asked_for_by_an_older_event).hexdigest() == row["sha256"]
    assert await db.fetchval("SELECT count(*) FROM archive_objects") == 0


async def test_what_the_store_refuses_for_good_is_a_row_with_its_reason(
    worker: ArchiveWorker, db: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: Archive, one: object) -> None:
        raise Refused("Google Cloud Storage answers HTTP 400")

    monkeypatch.setattr(Archive, "keep", refuse)
    (event,) = events_of(incoming(7301))
    await handled(worker, event)
    row = await one_note(db)
    assert (row["processing_status"], row["error_details"], row["gcs_storage_path"]) == (
        "error", "Google Cloud Storage answers HTTP 400", None,
    )  # fmt: skip
    monkeypatch.undo()
    again = event._replace(replayid="conversation-archive:r1", target="conversation-archive")
    await handled(worker, again)
    row = await one_note(db)
    assert (row["processing_status"], row["error_details"]) == ("stored", None)
    assert sha256(await body_of(worker, row)).hexdigest() == row["sha256"]


async def test_a_message_that_cannot_be_read_is_a_row_with_its_reason(worker: ArchiveWorker, db: Pool) -> None:
    body = incoming(7301)
    body["conversation"]["id"] = "none"
    await handled(worker, *events_of(body))
    row = await one_note(db)
    assert (row["processing_status"], row["error_details"]) == ("error", "conversation has no id")


async def test_two_thousand_files_are_all_kept_although_the_store_goes_away(
    worker: ArchiveWorker, db: Pool, files: FileServer
) -> None:
    count = 2000 if worker.outside.settings.storage_emulator_host is None else 150
    bodies = {f"/m{n}": b"OggS" + b"\0" * 24 + b"OpusHead" + n.to_bytes(4, "big") * (1 + n % 50) for n in range(count)}
    files.files |= bodies
    posts = [
        incoming(9000 + n, text=None, contact=n % 97, phone=f"+4670174{n % 97:04}", conversation=n % 97,
                 files=[attached(n, f"{files.url}/m{n}", "audio")])
        for n in range(count)
    ]  # fmt: skip
    away = Away(worker)
    await worker.publish(events_of(*posts))
    stored = "SELECT count(*) FROM note_attachments WHERE status = 'stored'"
    async with worker.working():
        await until(lambda: db.fetchval(f"SELECT ({stored}) > {count // 10}"), within_s=60)
        away.begin()
        await until(lambda: db.fetchval("SELECT count(*) > 20 FROM archive_objects"), within_s=60)
        away.end()
        await until(worker.settled, within_s=90)
    await db.execute("UPDATE archive_objects SET taken_until = NULL")
    await worker.duties("archive-waiting")
    assert await db.fetchval("SELECT count(*) FROM archive_objects") == 0
    rows = await db.fetch("SELECT * FROM note_attachments")
    assert len(rows) == count
    async with open_store(worker.outside) as store:
        for row in rows:
            body = await store.get(row["bucket"], row["object_path"])
            assert (body, sha256(body).hexdigest()) == (bodies[f"/m{row['attachment_id']}"], row["sha256"])
    assert await db.fetchval("SELECT count(*) FROM meeting_notes WHERE processing_status = 'stored'") == count
