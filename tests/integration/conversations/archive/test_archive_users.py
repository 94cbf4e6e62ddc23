"""Whose a message is, also when that becomes known later: its rows and objects follow, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from uuid import uuid4

import pytest

from adapters.postgres import archive, users
from adapters.postgres.pool import Pool
from adapters.postgres.users import Who
from daemon.conversations.archive.names import bucket_name
from daemon.conversations.archive.storing import Archive
from daemon.conversations.archive.users import apply
from daemon.conversations.archive.wiring import STORAGE, open_store
from schemas.errors import Transient
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

OF_U1 = bucket_name("pacelane-whatsapp", "u1")
MOVING = ("archive-moves", "archive-leftovers")


async def mapped(
    pool: Pool, user: str, phone: str | None = None, contact: str | None = None, verified: bool = False
) -> None:
    await pool.execute(
        "INSERT INTO whatsapp_user_mapping (user_id, whatsapp_number, chatwoot_contact_id, chatwoot_account_id,"
        " is_verified) VALUES ($1, $2, $3, $4, $5)",
        user, phone, contact, None if contact is None else "3", verified,
    )  # fmt: skip


async def met(pool: Pool, *identities: tuple[str, str]) -> None:
    """A person has these identities."""
    id = await pool.fetchval("INSERT INTO contacts (id) VALUES ($1) RETURNING id", uuid4())
    for kind, value in identities:
        await pool.execute(
            "INSERT INTO contact_identities (contact_id, kind, value) VALUES ($1, $2, $3)", id, kind, value
        )


PEOPLE: dict[str, tuple[Callable[[Pool], Awaitable[None]], Who, str | None]] = {
    "contact": (lambda p: mapped(p, "u1", contact="905"), Who(contacts=(("3", "905"),)), "u1"),
    "contact of another account": (lambda p: mapped(p, "u1", contact="905"), Who(contacts=(("4", "905"),)), None),
    "phone": (lambda p: mapped(p, "u1", "+46701740605"), Who(("+46701740605",)), "u1"),
    "phone with blanks": (lambda p: mapped(p, "u1", "+46 70-174 06 05"), Who(("+46701740605",)), "u1"),
    "phone with 00": (lambda p: mapped(p, "u1", "0046701740605"), Who(("+46701740605",)), "u1"),
    "digits": (lambda p: mapped(p, "u1", "46701740605"), Who(("+46701740605",)), "u1"),
    "a wa id": (lambda p: mapped(p, "u1", "46701740605@s.whatsapp.net"), Who(("+46701740605",)), "u1"),
    "the older notation of Brazil": (lambda p: mapped(p, "u1", "+55 11 8765-4321"), Who(("+5511987654321",)), "u1"),
    "the newer notation of Brazil": (lambda p: mapped(p, "u1", "+5511987654321"), Who(("+551187654321",)), "u1"),
    "a number without its country code": (lambda p: mapped(p, "u1", "0701740605"), Who(("+46701740605",)), None),
    "another phone": (lambda p: mapped(p, "u1", "+46701740606"), Who(("+46701740605",)), None),
}


@pytest.mark.parametrize("case", PEOPLE)
async def test_a_person_is_found(db: Pool, case: str) -> None:
    prepare, who, expected = PEOPLE[case]
    await prepare(db)
    assert await users.find(db, [Who(), who, Who(("+12025550143",))]) == [None, expected, None]


async def test_a_person_is_found_by_another_identity(db: Pool) -> None:
    await met(db, ("phone", "+46701740605"), ("chatwoot", "3:905"), ("phone", "+46701740606"))
    await mapped(db, "u1", "+46 70 174 06 06")
    found = await users.find(db, [Who(("+46701740605",)), Who(contacts=(("3", "905"),)), Who(contacts=(("4", "905"),))])
    assert found == ["u1", "u1", None]


async def test_of_several_users_the_contact_then_the_verified_then_the_older_one_counts(db: Pool) -> None:
    who = Who(("+46701740605",), (("3", "905"),))
    await mapped(db, "older", "+46701740605")
    await mapped(db, "newer", "46701740605")
    assert await users.find(db, [who]) == ["older"]
    await mapped(db, "verified", "0046701740605", verified=True)
    assert await users.find(db, [who]) == ["verified"]
    await mapped(db, "by contact", contact="905")
    assert await users.find(db, [who]) == ["by contact"]


async def test_nobody_can_be_named_as_what_stands_for_strangers(db: Pool) -> None:
    with pytest.raises(Exception, match="check constraint"):
        await mapped(db, "account_3", "+46701740605")


async def test_a_mapped_message_goes_to_the_users_own_bucket(worker: ArchiveWorker, db: Pool) -> None:
    await mapped(db, "u1", "+1 202 555 0143")
    await handled(worker, *events_of(incoming(7301)))
    row = await one_note(db)
    assert (row["user_id"], row["bucket"]) == ("u1", OF_U1)
    assert await db.fetchval("SELECT bucket_name FROM user_bucket_mapping WHERE user_id = 'u1'") == OF_U1


async def test_a_bucket_that_the_user_has_already_is_used(worker: ArchiveWorker, db: Pool) -> None:
    await mapped(db, "u1", "+1 202 555 0143")
    await db.execute("INSERT INTO user_bucket_mapping (user_id, bucket_name) VALUES ('u1', 'demo-user-9n32a9')")
    await handled(worker, *events_of(incoming(7301)))
    assert (await one_note(db))["bucket"] == "demo-user-9n32a9"


async def kept_before(worker: ArchiveWorker, files: FileServer) -> None:
    """A message with two files, of nobody known, and another person's."""
    files.files |= {"/v": OGG, "/j": JPEG}
    listed = [attached(88, f"{files.url}/v", "audio"), attached(89, f"{files.url}/j")]
    other = incoming(7302, phone="+46701740605", contact=906)
    await handled(worker, *events_of(incoming(7301, files=listed), other))


async def all_follow(worker: ArchiveWorker, pool: Pool, *, old_names: bool = True) -> None:
    """What belongs to u1 is in the bucket of u1, byte for byte, and nowhere else. *old_names*: each object has had
    another one before, by which it is found all the same."""
    row = await pool.fetchrow("SELECT * FROM meeting_notes WHERE chatwoot_message_id = '7301'")
    assert row is not None
    assert (row["user_id"], row["bucket"], OF_U1 in row["gcs_storage_path"]) == ("u1", OF_U1, True)
    assert sha256(await body_of(worker, row)).hexdigest() == row["sha256"]
    files = await pool.fetch("SELECT * FROM note_attachments ORDER BY place")
    for file, body in zip(files, (OGG, JPEG), strict=True):
        assert (file["bucket"], OF_U1 in file["storage_path"]) == (OF_U1, True)
        assert await body_of(worker, file) == body
    async with open_store(worker.outside) as store:
        for one in (row, *files):
            with pytest.raises(Exception, match="no such object"):
                await store._store.get(ACCOUNT, one["object_path"])
            assert not old_names or await store.get(ACCOUNT, one["object_path"])
    other = await pool.fetchrow("SELECT * FROM meeting_notes WHERE chatwoot_message_id = '7302'")
    assert other is not None
    assert (other["user_id"], other["bucket"]) == (None, ACCOUNT)
    assert await pool.fetchval("SELECT count(*) FROM archive_moves") == 0
    assert await pool.fetchval("SELECT count(*) FROM archive_moved WHERE deleted_at IS NULL") == 0


async def test_notes_follow_a_mapping_that_comes_later(worker: ArchiveWorker, db: Pool, files: FileServer) -> None:
    await kept_before(worker, files)
    await mapped(db, "u1", "+1 (202) 555-0143")
    await worker.duties("user-mappings")
    rows = await db.fetch("SELECT user_id FROM meeting_notes ORDER BY chatwoot_message_id")
    assert [row["user_id"] for row in rows] == ["u1", None]
    await worker.duties(*MOVING)
    await all_follow(worker, db)
    assert await apply(db) == 0


async def test_a_mapping_that_is_changed_is_looked_at_again(worker: ArchiveWorker, db: Pool) -> None:
    await handled(worker, *events_of(incoming(7301)))
    await mapped(db, "u1", "+46701740605")
    assert await apply(db) == 0
    await db.execute("UPDATE whatsapp_user_mapping SET whatsapp_number = '+12025550143'")
    assert await apply(db) == 1


async def test_a_person_whose_phone_is_known_later_is_found_by_the_hour(worker: ArchiveWorker, db: Pool) -> None:
    await handled(worker, *events_of(incoming(7301, phone=None)))
    await mapped(db, "u1", "+46701740605")
    assert await apply(db) == 0
    await met(db, ("phone", "+46701740605"), ("chatwoot", "3:905"))
    assert await apply(db) == 0
    await db.execute("UPDATE whatsapp_user_mapping SET applied_at = now() - interval '61 minutes'")
    assert await apply(db) == 1


async def test_a_thousand_notes_of_a_person_are_assigned(db: Pool) -> None:
    await db.execute(
        "INSERT INTO meeting_notes (message_key, line, event_id)"
        " SELECT 'meta:' || n, '+46701740605', 'e' || n FROM generate_series(1, 1000) AS n"
    )
    await mapped(db, "u1", "+46701740605")
    assert await apply(db) == 1000


class _Stop(Exception):
    """The process dies here."""


@pytest.mark.parametrize("when", range(1, 4))
@pytest.mark.parametrize("point", ["get", "put", "moved", "delete", "deleted"])
async def test_a_move_that_ends_anywhere_is_finished_by_the_next_one(
    worker: ArchiveWorker, db: Pool, files: FileServer, monkeypatch: pytest.MonkeyPatch, point: str, when: int
) -> None:
    await kept_before(worker, files)
    await mapped(db, "u1", "+12025550143")
    await worker.duties("user-mappings")
    async with open_store(worker.outside) as store:
        kind = type(store._store)
    place: object = archive if point in ("moved", "deleted") else kind
    real, calls = getattr(place, point), 0

    async def dying(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls == when:
            raise _Stop
        return await real(*args, **kwargs)

    monkeypatch.setattr(place, point, dying)
    with suppress(_Stop):
        await worker.duties(*MOVING)
    monkeypatch.undo()
    for table in ("archive_moves", "archive_moved"):  # the time that it was left to the one that died is over
        await db.execute(f"UPDATE {table} SET taken_until = NULL")
    await worker.duties(*MOVING)
    await all_follow(worker, db)


async def test_a_move_waits_for_a_store_that_is_away(worker: ArchiveWorker, db: Pool, files: FileServer) -> None:
    await kept_before(worker, files)
    await mapped(db, "u1", "+12025550143")
    worker.outside.channels[STORAGE].paused = True
    await worker.duties("user-mappings", *MOVING)
    assert await db.fetchval("SELECT count(*) FROM archive_moves") == 1
    worker.outside.channels[STORAGE].paused = False
    await db.execute("UPDATE archive_moves SET taken_until = NULL")
    await worker.duties(*MOVING)
    await all_follow(worker, db)


async def test_objects_that_wait_for_the_store_follow_once_it_has_them(
    worker: ArchiveWorker, db: Pool, files: FileServer
) -> None:
    worker.outside.channels[STORAGE].paused = True
    await kept_before(worker, files)
    await mapped(db, "u1", "+12025550143")
    worker.outside.channels[STORAGE].paused = False
    await worker.duties("user-mappings", *MOVING)
    assert await db.fetchval("SELECT count(*) FROM archive_moves") == 1
    await db.execute("UPDATE archive_moves SET taken_until = NULL")
    await worker.duties("archive-waiting", *MOVING)
    await all_follow(worker, db)


async def test_a_file_that_arrives_after_its_note_got_a_user_follows_it(
    worker: ArchiveWorker, db: Pool, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Archive.keep

    async def meanwhile(self: Archive, one: object) -> object:
        result = await kept(self, one)  # type: ignore[arg-type]
        if one.path.startswith("whatsapp-audio/"):  # type: ignore[attr-defined]
            await mapped(db, "u1", "+12025550143")
            await apply(db)
        return result

    monkeypatch.setattr(Archive, "keep", meanwhile)
    await kept_before(worker, files)
    monkeypatch.undo()
    assert await db.fetchval("SELECT count(*) FROM note_attachments WHERE bucket = $1", ACCOUNT) >= 1
    await worker.duties(*MOVING)
    await all_follow(worker, db, old_names=False)


async def test_a_store_that_fails_at_one_object_moves_it_later(
    worker: ArchiveWorker, db: Pool, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept_before(worker, files)
    await mapped(db, "u1", "+12025550143")
    await worker.duties("user-mappings")
    async with open_store(worker.outside) as store:
        kind = type(store._store)

    async def fail(*_: object) -> None:
        raise Transient("Google Cloud Storage answers HTTP 503")

    monkeypatch.setattr(kind, "put", fail)
    await worker.duties(*MOVING)
    assert await db.fetchval("SELECT bucket FROM meeting_notes WHERE chatwoot_message_id = '7301'") == ACCOUNT
    monkeypatch.undo()
    await db.execute("UPDATE archive_moves SET taken_until = NULL")
    await worker.duties(*MOVING)
    await all_follow(worker, db)
