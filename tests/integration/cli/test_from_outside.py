"""What came from outside, as the verbs show it on real tables; and what operators type, asked of real tables."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner

from adapters.postgres.bus import burials, inbox, journal
from adapters.postgres.bus.burials import DeadLetter
from adapters.postgres.bus.inbox import InboxRow
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.pool import Pool
from daemon.cli.exits import code_of
from daemon.cli.main import commands
from schemas.envelope import Event, event_id
from schemas.errors import FerrymanError
from tests.support.toy import NOON
from tests.support.verb_forms import FORMS

NASTY = "\x1b]0;owned\x07\x9b31m\u202egpj.exe\u2066\u200b@x.org"
EVENT = Event(
    id=event_id("orders", "IL-1"),
    type="order.received",
    source="orders",
    subject=f"email:{NASTY}",
    time=NOON,
    data=json.dumps({"email": NASTY}, ensure_ascii=False).encode(),
)
TYPED = [
    "'",
    "%",
    "\\",
    "-1",
    "1",
    "9" * 18,
    "9" * 23,
    "+972505550001",
    "a@b.example",
    "IL-1",
    "\udcff",
    "",
    "0001-01-01",
]


@pytest.fixture
async def env(redis: Redis, redis_url: str, database_url: str, db: Pool) -> dict[str, str]:
    """Settings of a verb on the test's stores, which hold one event, its dead letter and its order."""
    async with db.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(EVENT, "")])
        await inbox.insert(conn, "contact-sync", [InboxRow(EVENT.id, "", "dead", NASTY, 2, b"")])
        await burials.bury(conn, "contact-sync", [DeadLetter(EVENT, "Refused", NASTY, 2)])
    await db.execute(
        "INSERT INTO orders (order_id, client_email, cgb_sync_status, cgb_sync_error, ordered_at, raw_body,"
        " webhook_received_at) VALUES ('IL-1', $1, 'failed', $1, $2, '{}', $2)",
        NASTY,
        NOON,
    )
    return {"REDIS_URL": redis_url, "DATABASE_URL": database_url, "FERRYMAN_ADMIN_TOKEN": "0123456789abcdef" * 2}


async def ended(argv: list[str], env: dict[str, str]) -> tuple[int, str]:
    """Exit code and output of a verb; of a failure, its line."""
    answer = await asyncio.to_thread(CliRunner().invoke, commands(argv[0]), argv, env=env)
    if isinstance(answer.exception, FerrymanError):
        return code_of(answer.exception), str(answer.exception)
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
    return answer.exit_code, answer.output


@pytest.mark.parametrize(
    "argv",
    [
        "events list",
        "events show IL-1",
        "dead-letters list",
        "dead-letters show 1",
        "orders list",
        "orders show IL-1",
        "audit",
        "status",
        "partitions",
        "workers list",
    ],
)
@pytest.mark.parametrize("json", [False, True])
async def test_no_verb_shows_what_commands_a_terminal(argv: str, json: bool, env: dict[str, str]) -> None:
    code, said = await ended([*argv.split(), *(["--json"] if json else [])], env)
    assert code in (0, 1)
    assert said.replace("\n", "").isprintable()
    if "show" in argv:
        assert "\\u202e" in said


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
async def test_whatever_is_typed_is_asked_of_the_tables_or_a_usage_error(form: list[str], env: dict[str, str]) -> None:
    for typed in TYPED:
        code, said = await ended([typed if word == "*" else word for word in form], env)
        assert code in (0, 1, 2), said
        assert "cannot use" not in said, typed


async def test_a_window_with_an_offset_is_the_window_that_was_meant(env: dict[str, str]) -> None:
    async def found(since: str) -> list[Any]:
        code, said = await ended(["events", "list", "--since", since, "--json"], env)
        assert code == 0
        return list(json.loads(said))

    assert await found("2031-03-01T12:00Z")
    assert await found("2031-03-01T14:00+02:00")
    assert not await found("2031-03-01T12:01Z")
    assert not await found("2031-03-01T12:00-02:00")
