"""`ferryman campaign`: what it prints, what it asks, and how it ends."""

from __future__ import annotations

import asyncio
import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any, Final

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner, Result

from adapters.postgres.pool import Pool
from daemon.cli.campaign_views import COLUMNS
from daemon.cli.exits import DONE, code_of
from daemon.cli.main import commands
from schemas.errors import FerrymanError
from tests.support.campaigns import fed, phone

CREATE: Final = ("create", "news", "--template", "news", "--language", "he")


@pytest.fixture
def env(redis: Redis, redis_url: str, database_url: str, db: Pool) -> dict[str, str]:
    return {
        "REDIS_URL": redis_url,
        "DATABASE_URL": database_url,
        "FERRYMAN_ADMIN_TOKEN": "0123456789abcdef" * 2,
        "META_PHONE_NUMBER_ID": "1",
        "META_ACCESS_TOKEN": "m" * 20,
        "MESSAGES_DEFAULT_PROVIDER": "meta",
    }


async def ran(env: dict[str, str], *argv: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, commands("campaign"), ["campaign", *argv], env=env)


async def said(env: dict[str, str], *argv: str) -> str:
    answer = await ran(env, *argv)
    assert answer.exit_code == DONE, (answer.output, answer.exception)
    return answer.stdout


async def refused(env: dict[str, str], *argv: str) -> tuple[int, str]:
    """(exit code, what it says) of a command that fails."""
    answer = await ran(env, *argv)
    assert isinstance(answer.exception, FerrymanError), answer.output
    return code_of(answer.exception), str(answer.exception)


def table(path: Path, *rows: str, header: str = "phone,1,name") -> str:
    file = path / "people.csv"
    file.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return str(file)


def three(path: Path) -> str:
    return table(path, *(f"{phone(n)},a,Buyer {n}" for n in range(3)))


async def test_it_is_made_started_paused_resumed_and_stopped(env: dict[str, str], db: Pool, tmp_path: Path) -> None:
    text = await said(env, *CREATE, "--csv", three(tmp_path), "--rate", "0.5")
    assert "3 messages by meta, 0.5 in a second at most, no quiet hours" in text
    found = json.loads(await said(env, "status", "news", "--json"))
    assert (found["status"], found["counts"]["pending"], found["rate"]) == ("draft", 3, 0.5)
    code, why = await refused(env, "start", "news")
    assert (code, "send the template news to 3 people by meta: add --yes" in why) == (1, True)
    assert "is running" in await said(env, "start", "news", "--yes")
    await fed(db)
    assert "1 wait: their turn at meta" in await said(env, "status", found["id"])
    assert "is paused" in await said(env, "pause", "news")
    assert json.loads(await said(env, "status", "news", "--json"))["counts"]["pending"] == 3
    assert "is running" in await said(env, "resume", "news", "--yes")
    assert "is stopped" in await said(env, "stop", "news", "--yes")
    text = await said(env, "list")
    assert "news" in text
    assert "stopped" in text
    assert [one["counts"]["canceled"] for one in json.loads(await said(env, "list", "--json"))] == [3]
    logged = await db.fetch("SELECT action FROM audit_log ORDER BY id")
    assert [row["action"] for row in logged] == [
        f"campaign.{done}" for done in ("created", "started", "paused", "resumed", "stopped")
    ]


async def test_looking_only_changes_nothing(env: dict[str, str], db: Pool, tmp_path: Path) -> None:
    text = await said(env, *CREATE, "--csv", table(tmp_path, f"{phone(1)},a,", f"{phone(1)},b,"), "--dry-run")
    assert "line 3 names the person of line 2" in text
    assert await db.fetchval("SELECT count(*) FROM campaigns") == 0
    await said(env, *CREATE, "--csv", three(tmp_path))
    for verb in ("start", "pause", "resume", "stop"):
        assert "would" in await said(env, verb, "news", "--dry-run")
    assert await db.fetchval("SELECT status FROM campaigns") == "draft"


@pytest.mark.parametrize(
    ("rows", "options", "code", "says"),
    [
        (["12,a,"], (), 1, "line 2"),
        ([], (), 1, "nobody to send to"),
        ([f"{phone(1)},a,"], ("--category", "marketing"), 1, "--consent"),
        ([f"{phone(1)},a,"], ("--category", "news"), 2, "category"),
        ([f"{phone(1)},a,"], ("--quiet", "9"), 1, "quiet"),
        ([f"{phone(1)},a,"], ("--provider", "whapi"), 1, "not configured"),
        ([f"{phone(1)},a,"], ("--branch", "il"), 2, "not from both"),
        ([f"{phone(1)},a,"], ("--var", "1=x"), 2, "not from both"),
        ([f"{phone(1)},a,"], ("--var", "x"), 2, "NAME=TEXT"),
    ],
)
async def test_what_cannot_be_sent_is_said(
    env: dict[str, str], db: Pool, tmp_path: Path, rows: list[str], options: tuple[str, ...], code: int, says: str
) -> None:
    found = await refused(env, *CREATE, "--csv", table(tmp_path, *rows), *options)
    assert (found[0], says in found[1]) == (code, True), found
    assert await db.fetchval("SELECT count(*) FROM campaigns") == 0


async def test_a_file_that_is_no_text_is_said_with_the_line(env: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(f"phone,1\n{phone(1)},a\n{phone(2)},".encode() + b"\xe9\n")
    code, why = await refused(env, *CREATE, "--csv", str(file))
    assert (code, "line 3" in why) == (2, True)
    code, why = await refused(env, *CREATE, "--csv", str(tmp_path / "none.csv"))
    assert (code, "cannot be read" in why) == (2, True)


async def test_a_report_masks_phones_where_they_are_not_asked_for(
    env: dict[str, str], db: Pool, tmp_path: Path
) -> None:
    await said(env, *CREATE, "--csv", three(tmp_path))
    await db.execute("UPDATE campaign_recipients SET status = 'failed', error = '=HYPERLINK(1)' WHERE line = 2")
    rows = _rows(await said(env, "report", "news"))
    assert list(rows[0]) == list(COLUMNS)
    assert [(row["line"], row["phone"], row["status"]) for row in rows] == [
        ("2", "+…00", "failed"),
        ("3", "+…01", "pending"),
        ("4", "+…02", "pending"),
    ]
    assert rows[0]["error"] == "'=HYPERLINK(1)", "no spreadsheet takes it for a formula"
    assert await db.fetchval("SELECT count(*) FROM audit_log WHERE action = 'campaign.revealed'") == 0
    out = tmp_path / "report.csv"
    assert "written" in await said(env, "report", "news", "--reveal", "--out", str(out))
    assert [row["phone"] for row in _rows(out.read_text())] == [phone(n) for n in range(3)]
    assert await db.fetchval("SELECT count(*) FROM audit_log WHERE action = 'campaign.revealed'") == 1


def _rows(text: str) -> list[dict[str, Any]]:
    return list(csv.DictReader(StringIO(text)))


async def test_waiting_ends_with_the_campaign(env: dict[str, str], db: Pool, tmp_path: Path) -> None:
    await said(env, *CREATE, "--csv", three(tmp_path))

    async def send() -> None:
        while await db.fetchval("SELECT status FROM campaigns") != "done":
            await fed(db)
            await db.execute("UPDATE messages SET status = 'sent' WHERE status = 'queued'")

    text, _ = await asyncio.gather(said(env, "start", "news", "--yes", "--wait"), send())
    assert "3 of 3 on their way" in text
    assert "of 3 people: 3 sent" in text


async def test_a_campaign_that_is_not_there_is_said(env: dict[str, str]) -> None:
    for argv in (("start", "gone", "--yes"), ("status", "gone"), ("report", "gone"), ("stop", "gone", "--yes")):
        code, why = await refused(env, *argv)
        assert (code, "there is no campaign" in why) == (1, True)
    assert "there is no campaign" in await said(env, "list")
