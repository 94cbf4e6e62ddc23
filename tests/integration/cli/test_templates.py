"""`ferryman templates`, and `ferryman send template` where they are known: what is printed, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner, Result

from adapters.postgres.pool import Pool
from daemon.cli.exits import DONE, FAILED
from daemon.cli.main import commands
from daemon.operator.sending import NotSendable
from daemon.operator.templates import NoTemplates
from daemon.sandbox.cgb import CgbSandbox
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_templates import definition
from tests.support.by_meta import settings_for


@pytest.fixture
async def meta() -> AsyncIterator[MetaSandbox]:
    async with MetaSandbox() as running:
        running.switches.templates = [definition(body="For {{1}}", header="IMAGE"), definition("visa", "he")]
        yield running


@pytest.fixture
def env(redis: Redis, redis_url: str, database_url: str, db: Pool, meta: MetaSandbox) -> dict[str, str]:
    return settings_for(meta) | {"REDIS_URL": redis_url, "DATABASE_URL": database_url}


async def ran(env: dict[str, str], *argv: str, code: int = DONE) -> Result:
    answer = await asyncio.to_thread(CliRunner().invoke, commands(argv[0]), list(argv), env=env)
    assert answer.exit_code == code, answer.output
    return answer


async def document(env: dict[str, str], *argv: str, code: int = DONE) -> Any:
    return json.loads((await ran(env, *argv, "--json", code=code)).stdout)


async def test_a_sync_says_what_it_has_found_and_a_list_shows_it(env: dict[str, str], meta: MetaSandbox) -> None:
    assert "no template is known" in (await ran(env, "templates", "list")).stdout
    assert "2 would be new" in (await ran(env, "templates", "sync", "--dry-run")).stdout
    assert await document(env, "templates", "list") == []
    assert "meta: 2 templates: 2 new, 0 changed, 0 gone" in (await ran(env, "templates", "sync")).stdout
    shown = (await ran(env, "templates", "list", "--provider", "meta")).stdout
    assert all(word in shown for word in ("parcel_ready", "en_US", "APPROVED", "UTILITY", "header, 1", "2 templates"))
    meta.switches.templates = [definition("visa", "he", status="PAUSED")]
    found = await document(env, "templates", "sync", "--provider", "meta")
    assert {name: found[name] for name in ("new", "changed", "gone", "total")} == {
        "new": 0,
        "changed": 1,
        "gone": 1,
        "total": 1,
    }
    (one,) = await document(env, "templates", "list")
    assert (one["name"], one["language"], one["status"]) == ("visa", "he", "PAUSED")


async def test_flows_of_cgb_are_templates_by_their_names(env: dict[str, str]) -> None:
    async with CgbSandbox() as cgb:
        cgb.account.flows = {7: "order_received", 8: "visa_paid"}
        given = env | {"CGB_API_URL": cgb.url, "CGB_API_KEY": cgb.token}
        assert (await document(given, "templates", "sync", "--provider", "cgb"))["new"] == 2
        rows = await document(given, "templates", "list", "--provider", "cgb")
        assert [(one["name"], one["language"], one["provider_template_id"]) for one in rows] == [
            ("order_received", None, "7"),
            ("visa_paid", None, "8"),
        ]


async def test_one_provider_that_fails_is_said_and_the_others_are_read(env: dict[str, str], meta: MetaSandbox) -> None:
    async with CgbSandbox() as cgb:
        meta.faults.add("bad_token", times=None)
        given = env | {"CGB_API_URL": cgb.url, "CGB_API_KEY": cgb.token}
        answer = await ran(given, "templates", "sync", code=FAILED)
        assert "cgb: " in answer.stdout
        assert "meta: the list could not be read: Meta:" in answer.stderr


async def test_without_an_account_there_is_nothing_to_read(env: dict[str, str]) -> None:
    answer = await asyncio.to_thread(
        CliRunner().invoke, commands("templates"), ["templates", "sync"], env=env | {"META_WABA_ID": ""}
    )
    assert isinstance(answer.exception, NoTemplates)
    assert "META_WABA_ID" in str(answer.exception)


async def test_a_message_that_does_not_fit_is_refused_before_it_is_sent(env: dict[str, str], db: Pool) -> None:
    await ran(env, "templates", "sync")
    send = ["send", "template", "+972505550142", "parcel_ready", "--language", "en_US", "--var", "1=Noa"]
    for flag in ("--dry-run", "--yes"):
        answer = await asyncio.to_thread(CliRunner().invoke, commands("send"), [*send, flag], env=env)
        assert isinstance(answer.exception, NotSendable)
        assert "shows an image" in str(answer.exception)
    assert await db.fetchval("SELECT count(*) FROM messages") == 0
    await ran(env, *send, "--var", "header=https://cdn.example.test/a.png", "--yes")
    assert await db.fetchval("SELECT category FROM messages") == "utility"
