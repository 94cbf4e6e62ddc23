"""One person over all systems: one timeline, and what is open and why."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from adapters.postgres.bus import journal, workers
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.operator import person as queries
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.operator import person
from daemon.operator.people import NoSuchContact
from daemon.operator.why.answer import Here
from daemon.workers import WORKERS
from tests.support.conversations import PHONE, chatwoot_chat, insert
from tests.support.people import bought
from tests.support.plans import assert_reads_few
from tests.support.toy import NOON, make_event

EVENT = make_event(PHONE, 1)


@pytest.fixture
async def here(db: Pool, redis: Redis) -> Here:
    """A person with an order, messages both ways, a note, a conversation, and an event that is open."""
    await bought(db, PHONE, 7, name="Noa Ben-Ari", email="noa@example.com")
    await workers.register(db, [worker.entry for worker in WORKERS], [])
    async with db.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(EVENT, "")])
    for n, (direction, status) in enumerate((("in", "received"), ("out", "failed"))):
        await insert(
            db,
            "messages",
            id=f"6f1d1b56-5d0c-5f0e-9a37-0d7a5b1c2e1{n}",
            direction=direction,
            status=status,
            provider="meta",
            phone=PHONE,
            kind="text",
            content={"text": "a secret word"},
            purpose="api",
            error=f"not sent to {PHONE}" if status == "failed" else None,
            event_id=f"e{n}",
            created_at=NOON + timedelta(minutes=n),
        )
    await chatwoot_chat(db, 481, labels=["vip"], labels_at=NOON + timedelta(minutes=9))
    await insert(
        db,
        "meeting_notes",
        id="6f1d1b56-5d0c-5f0e-9a37-0d7a5b1c2e22",
        message_key="chatwoot:1",
        contact_identifier=PHONE,
        content="a secret word",
        event_id="e9",
        created_at=NOON + timedelta(minutes=5),
    )
    return Here(db, Streams(redis, 16))


async def show(here: Here, text: str = PHONE, *, reveal: bool = False, limit: int = 200) -> dict[str, Any]:
    return await person.show(here, text, reveal=reveal, actor="ann", limit=limit)


async def test_one_timeline_holds_what_each_system_knows_newest_first(here: Here) -> None:
    told = await show(here)
    kinds = [step["kind"] for step in told["timeline"]]
    assert set(kinds) == {"order", "message", "note", "conversation", "labels"}
    assert [step["at"] for step in told["timeline"]] == sorted((s["at"] for s in told["timeline"]), reverse=True)
    ways = {step["direction"]: step["status"] for step in told["timeline"] if step["kind"] == "message"}
    assert ways == {"in": "received", "out": "failed"}
    (labels,) = [step for step in told["timeline"] if step["kind"] == "labels"]
    assert labels["labels"] == ["vip"]
    assert [one["id"] for one in told["conversations"]] == ["chatwoot:3:481"]
    assert not told["more"]
    assert orjson.dumps(told)


async def test_what_was_said_is_told_on_request_alone_and_that_is_written_down(here: Here) -> None:
    assert b"a secret word" not in orjson.dumps(await show(here))
    assert await here.pool.fetchval("SELECT count(*) FROM audit_log") == 0
    told = await show(here, reveal=True)
    assert orjson.dumps(told).count(b"a secret word") == 3
    row = await here.pool.fetchrow("SELECT actor, action, subject FROM audit_log")
    assert row is not None
    assert tuple(row) == ("ann", person.REVEALED, f"contact:{told['id']}")


async def test_an_error_that_quotes_a_phone_is_redacted(here: Here) -> None:
    (failed,) = [step for step in (await show(here))["timeline"] if step.get("status") == "failed"]
    assert PHONE not in failed["error"]


async def test_what_is_open_says_why_for_each_worker(here: Here) -> None:
    (one,) = (await show(here))["open"]
    assert one["id"] == EVENT.id
    assert one["why"]["contact-sync"]["text"] == "no daemon runs: `ferryman run`"


async def test_no_more_than_asked_for_is_told_and_that_there_is_more(here: Here) -> None:
    told = await show(here, limit=2)
    assert (len(told["timeline"]), told["more"]) == (2, True)


async def test_nobody_of_that_name_is_said(here: Here) -> None:
    with pytest.raises(NoSuchContact):
        await show(here, "+15550001111")


_MESSAGES = """
INSERT INTO messages (id, direction, status, provider, phone, kind, content, purpose, event_id)
SELECT md5(n::text)::uuid, 'out', 'sent', 'meta', '+97250' || lpad((n % 500)::text, 7, '0'), 'text', '{}', 'api', 'e'
FROM generate_series($1::int, $2::int) n
"""
_NOTES = """
INSERT INTO meeting_notes (id, message_key, contact_identifier, event_id)
SELECT md5(n::text)::uuid, 'k' || n, '+97250' || lpad((n % 500)::text, 7, '0'), 'e'
FROM generate_series($1::int, $2::int) n
"""
_CHATS = """
INSERT INTO conversations (chat, system, line)
SELECT 'c' || n, 'meta', '+97250' || lpad((n % 500)::text, 7, '0') FROM generate_series($1::int, $2::int) n
"""
_LETTERS = """
INSERT INTO dead_letters (worker, event_id, type, source, subject, time, data, traceparent, causationid, schemaversion,
  error_class, error_text, attempts)
SELECT 'w', 'e' || n, 't', 's', '+97250' || lpad((n % 500)::text, 7, '0'), now(), '{}', '', '', 1, 'E', 'x', 1
FROM generate_series($1::int, $2::int) n
"""


@pytest.mark.parametrize(
    ("table", "fill", "query"),
    [
        ("messages", _MESSAGES, queries._MESSAGES),
        ("meeting_notes", _NOTES, queries._NOTES),
        ("conversations", _CHATS, queries._CONVERSATIONS),
        ("dead_letters", _LETTERS, queries._LETTERS),
    ],
)
async def test_of_many_people_the_rows_of_one_are_read(db: Pool, table: str, fill: str, query: str) -> None:
    given = "ARRAY['+972500000003', '+972500000004'], 20"
    await assert_reads_few(db, [table], [fill], 10_000, query, "text[], bigint", given, 400)
