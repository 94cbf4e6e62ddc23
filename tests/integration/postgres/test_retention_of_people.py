"""What messages say, notes with their files, and the audit log leave after their terms, where there is a term."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from adapters.channel import Channel
from adapters.postgres import old_notes
from adapters.postgres.bus import retention
from adapters.postgres.pool import Pool
from adapters.registry import file_store
from daemon.conversations.archive.ageing import remove_old
from daemon.conversations.archive.storing import Archive
from daemon.operator.privacy.retaining import report
from daemon.settings.model import Settings

MESSAGE = (
    "INSERT INTO messages (id, direction, status, provider, kind, content, purpose, event_id, created_at)"
    " VALUES ($1, 'out', $2, 'meta', 'text', '{\"body\": \"hello\"}', 'api', 'e', now() - make_interval(days => $3))"
)
LOGGED = "INSERT INTO audit_log (actor, action, subject, at) VALUES ('me', $1, 'x', now() - make_interval(days => $2))"
NOTE = (
    "INSERT INTO meeting_notes (message_key, event_id, bucket, object_path, created_at)"
    " VALUES ($1, 'e', 'bucket-1', $1, now() - make_interval(days => $2))"
)


async def test_of_old_messages_the_text_leaves_and_of_those_under_way_nothing(db: Pool) -> None:
    for status, days in (("sent", 40), ("sent", 20), ("queued", 40), ("uncertain", 40)):
        await db.execute(MESSAGE, uuid4(), status, days)
    assert await retention.count(db, "messages", 30) == 1
    assert await retention.remove(db, "messages", 30) == 1
    assert await retention.remove(db, "messages", 30) == 0
    assert await db.fetchval("SELECT count(*) FROM messages WHERE content = '{}'") == 1


async def test_of_the_audit_log_erasures_and_exports_stay(db: Pool) -> None:
    for action, days in (("order.changed", 40), ("person.erased", 40), ("order.changed", 20)):
        await db.execute(LOGGED, action, days)
    assert await retention.count(db, "audit", 30) == await retention.remove(db, "audit", 30) == 1
    assert await db.fetchval("SELECT count(*) FROM audit_log WHERE action = 'person.erased'") == 1


async def test_old_notes_leave_with_what_the_archive_has_of_them(db: Pool, tmp_path: Path) -> None:
    archive = Archive(file_store(tmp_path, Channel("storage")), db)
    for path, days in (("old.json", 40), ("new.json", 20)):
        await db.execute(NOTE, path, days)
        await archive.put("bucket-1", path, b"{}", "application/json")
    assert await old_notes.count(db, 30) == 1
    assert await remove_old(db, archive, 30) == 1
    assert [file.name for file in (tmp_path / "bucket-1").iterdir()] == ["new.json"]
    assert await db.fetchval("SELECT message_key FROM meeting_notes") == "new.json"


async def test_without_a_term_nothing_would_go_and_every_kind_is_told(db: Pool) -> None:
    await db.execute(LOGGED, "order.changed", 4000)
    told = {one["kind"]: one for one in await report(db, Settings())}
    assert told["audit"] == {"kind": "audit", "days": 0, "rows": 0}
    assert told.keys() == {*retention.KINDS, "notes"}
    shorter = Settings(ferryman_retention_audit_days=30)
    assert {one["kind"]: one["rows"] for one in await report(db, shorter)}["audit"] == 1
