"""`ferryman replay --key`: the events of a person, by whatever the operator calls the person's key."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner

from adapters.postgres.bus import journal
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.pool import Pool
from daemon.cli.main import commands
from tests.support.toy import make_event


@pytest.mark.parametrize(
    ("typed", "count"),
    [
        ("+525555550142", 2),
        ("+5215555550142", 2),
        ("5215555550142", 2),
        ("Ann@b.example", 1),
        ("email:ann@b.example", 1),
        ("+972505550001", 0),
    ],
)
async def test_any_notation_of_a_key_names_its_events(
    redis: Redis, redis_url: str, database_url: str, db: Pool, typed: str, count: int
) -> None:
    of_the_line, of_before = make_event("+525555550142"), make_event("+5215555550142")
    by_mail, of_another = make_event("email:ann@b.example"), make_event("+525555550143")
    async with db.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(event, "") for event in (of_the_line, of_before, by_mail, of_another)])
    env = {"REDIS_URL": redis_url, "DATABASE_URL": database_url, "FERRYMAN_ADMIN_TOKEN": "0123456789abcdef" * 2}
    argv = ["replay", "--worker", "contact-sync", "--dry-run", "--key", typed]
    answer = await asyncio.to_thread(CliRunner().invoke, commands("replay"), argv, env=env)
    assert answer.exit_code == 0, answer.output
    assert f"{count} events of the journal for contact-sync" in answer.output
