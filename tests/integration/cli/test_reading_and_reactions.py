"""`ferryman send reaction`, `send read` and `send text --split`: what is printed, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner, Result

from adapters.postgres import windows
from adapters.postgres.pool import Pool
from adapters.postgres.windows import Written
from daemon.cli.exits import DONE
from daemon.cli.main import commands
from daemon.operator.reacting import NoTarget
from daemon.operator.reading import NotMarked
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID
from tests.support.by_meta import settings_for

PHONE: Final = "+972505550142"
THEIRS: Final = "wamid.THEIRS"


@pytest.fixture
async def meta() -> AsyncIterator[MetaSandbox]:
    async with MetaSandbox() as running:
        running.chats.note(THEIRS, PHONE.removeprefix("+"), theirs=True)
        yield running


@pytest.fixture
async def env(redis: Redis, redis_url: str, database_url: str, db: Pool, meta: MetaSandbox) -> dict[str, str]:
    return settings_for(meta) | {"REDIS_URL": redis_url, "DATABASE_URL": database_url}


@pytest.fixture
async def theirs(db: Pool) -> str:
    """A message of the person, by our id."""
    at, id = datetime.now(UTC), str(uuid4())
    one = Written("meta", PHONE, PHONE, at, "text", {"text": "hello"}, THEIRS, id, True, PHONE_NUMBER_ID)
    async with db.acquire() as conn, conn.transaction():
        await windows.record(conn, [one])
    return id


async def run(env: dict[str, str], *argv: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, commands(argv[0]), list(argv), env=env)


async def document(env: dict[str, str], *argv: str) -> Any:
    answer = await run(env, *argv, "--json")
    assert answer.exit_code == DONE, answer.output
    return json.loads(answer.stdout)


async def test_a_reaction_is_asked_for_by_either_id(env: dict[str, str], db: Pool, theirs: str) -> None:
    for message in (theirs, THEIRS):
        assert "sent by meta" in (await run(env, "send", "reaction", PHONE, message, "👍", "--dry-run")).stdout
        one = await document(env, "send", "reaction", PHONE, message, "👍", "--yes")
        wanted = {"kind": "reaction", "status": "queued", "content": {"message_id": THEIRS, "emoji": "👍"}}
        assert {name: one[name] for name in wanted} == wanted
    assert (await document(env, "send", "reaction", PHONE, theirs, "", "--yes"))["content"]["emoji"] == ""
    answer = await run(env, "send", "reaction", PHONE, str(uuid4()), "👍", "--dry-run")
    assert isinstance(answer.exception, NoTarget)
    assert await db.fetchval("SELECT count(*) FROM messages WHERE direction = 'out'") == 3


async def test_a_message_is_marked_as_read_once(env: dict[str, str], meta: MetaSandbox, theirs: str) -> None:
    assert "would be marked" in (await run(env, "send", "read", theirs, "--dry-run")).stdout
    assert (await document(env, "send", "read", theirs, "--dry-run"))["provider"] == "meta"
    assert meta.read == []
    first = await document(env, "send", "read", theirs)
    assert (first["id"], first["account"], meta.read) == (theirs, "default", [THEIRS])
    assert await document(env, "send", "read", theirs) == first
    assert "was marked as read at" in (await run(env, "send", "read", theirs)).stdout
    assert meta.read == [THEIRS]
    ours = (await document(env, "send", "text", PHONE, "hello", "--yes"))["id"]
    assert isinstance((await run(env, "send", "read", ours)).exception, NotMarked)


async def test_a_long_text_goes_as_several_messages_where_that_is_asked_for(env: dict[str, str], db: Pool) -> None:
    text = "\n\n".join(f"{n} " + "word " * 600 for n in range(3))
    answer = await run(env, "send", "text", PHONE, text, "--dry-run")
    assert "--split" in str(answer.exception)
    assert "by meta, as 3 messages" in (await run(env, "send", "text", PHONE, text, "--split", "--dry-run")).stdout
    found = await document(env, "send", "text", PHONE, text, "--split", "--yes")
    assert [one["content"]["body"].split()[0] for one in found] == ["0", "1", "2"]
    assert [UUID(one["id"]) for one in found] == [
        row["id"] for row in await db.fetch("SELECT id FROM messages ORDER BY created_at")
    ]
