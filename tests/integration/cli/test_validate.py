"""`ferryman validate`: what it prints, whom it asks, what it keeps, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner, Result

from adapters.postgres import whatsapp_checks
from adapters.postgres.bus import pauses
from adapters.postgres.pool import Pool
from daemon.cli.exits import DONE, FAILED, USAGE, code_of
from daemon.cli.main import commands
from daemon.contacts.validation import Terms
from daemon.sandbox.whapi import WhapiSandbox
from schemas.errors import FerrymanError
from schemas.phone import Phone
from schemas.whatsapp import Evidence

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
HERE, ABSENT, LANDLINE = "+972505550142", "+972505550143", "+97231234567"
TERMS = Terms(yes_days=90, no_days=14)


@pytest.fixture
async def whapi() -> AsyncIterator[WhapiSandbox]:
    async with WhapiSandbox() as running:
        running.switches.no_whatsapp = [ABSENT[1:]]
        yield running


@pytest.fixture
def env(redis: Redis, redis_url: str, database_url: str, db: Pool, whapi: WhapiSandbox) -> dict[str, str]:
    return {
        "REDIS_URL": redis_url,
        "DATABASE_URL": database_url,
        "FERRYMAN_ADMIN_TOKEN": "0123456789abcdef" * 2,
        "WHAPI_API_URL": whapi.url,
        "WHAPI_TOKEN": whapi.token,
    }


async def ran(env: dict[str, str], *argv: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, commands("validate"), ["validate", *argv], env=env)


async def document(env: dict[str, str], *argv: str, code: int = DONE) -> list[dict[str, Any]]:
    answer = await ran(env, "--json", *argv)
    assert answer.exit_code == code, answer.output
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found


async def learn(db: Pool, *told: Evidence) -> None:
    async with db.acquire() as conn, conn.transaction():
        await whatsapp_checks.keep(conn, told)


async def test_what_is_known_is_printed_with_its_source_its_time_and_its_end(
    env: dict[str, str], db: Pool, whapi: WhapiSandbox
) -> None:
    told = TERMS.evidence(Phone(HERE), True, "message", NOW - DAY)
    await learn(db, told, TERMS.evidence(Phone(ABSENT), False, "delivery", NOW - 20 * DAY))
    one, expired, unknown = await document(env, HERE, ABSENT, "+972 50-555-0144")
    assert one == {
        "number": HERE,
        "phone": HERE,
        "has_whatsapp": True,
        "source": "message",
        "checked_at": told.at.isoformat(),
        "expires_at": told.expires_at.isoformat(),
        "problem": None,
    }
    assert (expired["has_whatsapp"], expired["source"]) == (None, "delivery")
    assert (unknown["phone"], unknown["has_whatsapp"], unknown["source"]) == ("+972505550144", None, None)
    answer = await ran(env, HERE, ABSENT)
    assert answer.exit_code == DONE
    lines = answer.stdout.splitlines()
    assert any(HERE in line and "yes" in line and "message" in line for line in lines)
    assert any(ABSENT in line and "not known" in line for line in lines)
    assert whapi.ledger.entries == []


async def test_a_number_that_cannot_be_is_a_no_without_a_call_and_a_look_keeps_nothing(
    env: dict[str, str], db: Pool, whapi: WhapiSandbox
) -> None:
    (found,) = await document(env, LANDLINE)
    assert (found["has_whatsapp"], found["source"]) == (False, "offline")
    assert await db.fetchval("SELECT count(*) FROM whatsapp_checks") == 0
    (found,) = await document(env, LANDLINE, "--ask")
    assert (found["has_whatsapp"], found["source"]) == (False, "offline")
    assert await db.fetchval("SELECT source FROM whatsapp_checks") == "offline"
    assert whapi.ledger.entries == []


async def test_asking_keeps_and_announces_a_new_answer_once(env: dict[str, str], db: Pool, whapi: WhapiSandbox) -> None:
    for _ in range(2):
        found = await document(env, HERE, ABSENT, HERE, "--ask")
        assert [(one["has_whatsapp"], one["source"]) for one in found] == [
            (True, "whapi"),
            (False, "whapi"),
            (True, "whapi"),
        ]
    assert {row[0]: row[1] for row in await db.fetch("SELECT phone, has_whatsapp FROM whatsapp_checks")} == {
        HERE: True,
        ABSENT: False,
    }
    emitted = await db.fetch("SELECT type, subject FROM outbox ORDER BY subject")
    assert [tuple(row) for row in emitted] == [("contact.validated", HERE), ("contact.validated", ABSENT)]
    assert {number for asked in whapi.asked for number in asked} == {HERE[1:], ABSENT[1:]}


async def test_bad_numbers_are_a_line_each_and_the_others_are_shown(env: dict[str, str]) -> None:
    answer = await ran(env, HERE, "0505550142", "+972", "\u202enobody")
    assert answer.exit_code == FAILED
    assert HERE in answer.stdout
    lines = answer.stderr.splitlines()
    assert len(lines) == 3
    assert all("it is no phone number: write it with + and the country code" in line for line in lines)
    assert lines[2].startswith("ferryman: \\u202enobody: ")
    found = await document(env, HERE, "0505550142", code=FAILED)
    assert [one["phone"] for one in found] == [HERE, None]


async def test_a_file_has_a_number_in_each_line_and_asking_for_all_of_it_is_confirmed(
    env: dict[str, str], tmp_path: Path, whapi: WhapiSandbox
) -> None:
    numbers = [f"+97250555{n:04d}" for n in range(120)]
    file = tmp_path / "numbers.txt"
    file.write_text("# customers\n\n" + "\n".join(numbers) + "\n", encoding="utf-8-sig")
    assert [one["phone"] for one in await document(env, "--file", str(file))] == numbers
    refused = await ran(env, "--file", str(file), "--ask")
    assert refused.exit_code == FAILED
    assert whapi.ledger.entries == []
    looked = await ran(env, "--file", str(file), "--ask", "--dry-run")
    assert "120 numbers would be asked for" in looked.stdout
    assert whapi.ledger.entries == []
    found = await document(env, "--file", str(file), "--ask", "--yes")
    assert {one["has_whatsapp"] for one in found} == {True}
    assert sorted(number for asked in whapi.asked for number in asked) == [number[1:] for number in numbers]
    assert len(whapi.asked) <= 6


async def test_what_cannot_be_asked_is_a_line_and_keeps_nothing(
    env: dict[str, str], db: Pool, whapi: WhapiSandbox
) -> None:
    whapi.faults.add("bad_token")
    answer = await ran(env, HERE, "--ask")
    assert answer.exit_code == FAILED
    assert f"ferryman: {HERE}: Whapi: HTTP 404" in answer.stderr.splitlines()
    assert await db.fetchval("SELECT count(*) FROM whatsapp_checks") == 0


async def test_a_channel_that_an_operator_has_paused_is_not_asked(
    env: dict[str, str], db: Pool, whapi: WhapiSandbox
) -> None:
    await pauses.pause(db, "whapi")
    answer = await ran(env, HERE, "--ask")
    assert answer.exit_code == FAILED
    assert "whapi is paused by an operator" in answer.stderr
    assert whapi.ledger.entries == []


async def test_asking_without_a_checker_says_what_to_set(env: dict[str, str]) -> None:
    without = {name: text for name, text in env.items() if not name.startswith("WHAPI")}
    answer = await ran(without, HERE, "--ask")
    assert isinstance(answer.exception, FerrymanError)
    assert code_of(answer.exception) == FAILED
    assert "WHAPI_TOKEN" in str(answer.exception)


async def test_no_number_at_all_is_a_usage_error(env: dict[str, str], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("# nothing\n")
    for argv in ([], ["--file", str(empty)], ["--file", str(tmp_path / "absent")]):
        answer = await ran(env, *argv)
        assert isinstance(answer.exception, FerrymanError)
        assert code_of(answer.exception) == USAGE
