"""`ferryman chatwoot setup`, against a simulated Chatwoot: what it makes, repairs, leaves alone and says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner, Result

from adapters.postgres.pool import Pool
from daemon.cli.exits import DONE, FAILED, USAGE
from daemon.cli.main import commands
from daemon.operator.chatwoot_webhook import EVENTS
from daemon.sandbox.chatwoot import ChatwootSandbox, Requested
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, INBOX_ID
from daemon.stores.credentials import Credentials

KEY: Final = "cnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI="
OURS: Final = "https://ferry.example.test"
PLACE: Final = f"{OURS}/webhooks/chatwoot"


@pytest.fixture
async def chatwoot() -> AsyncIterator[ChatwootSandbox]:
    async with ChatwootSandbox() as running:
        running.switches.role = "administrator"
        yield running


@pytest.fixture
def env(redis: Redis, redis_url: str, database_url: str, db: Pool, chatwoot: ChatwootSandbox) -> dict[str, str]:
    return {
        "REDIS_URL": redis_url,
        "DATABASE_URL": database_url,
        "FERRYMAN_ADMIN_TOKEN": "0123456789abcdef" * 2,
        "FERRYMAN_SECRET_KEY": KEY,
        "FERRYMAN_PUBLIC_URL": OURS,
        "CHATWOOT_BASE_URL": chatwoot.url,
        "CHATWOOT_API_ACCESS_TOKEN": chatwoot.token,
        "CHATWOOT_ACCOUNT_ID": str(ACCOUNT_ID),
        "CHATWOOT_WHATSAPP_INBOX_ID": str(INBOX_ID),
    }


async def ran(env: dict[str, str], *argv: str, code: int = DONE) -> Result:
    answer = await asyncio.to_thread(CliRunner().invoke, commands("chatwoot"), ["chatwoot", "setup", *argv], env=env)
    if isinstance(answer.exception, Exception) and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    assert answer.exit_code == code, answer.output
    return answer


async def document(env: dict[str, str], *argv: str, code: int = DONE) -> Any:
    return json.loads((await ran(env, "--json", *argv, code=code)).stdout)


def states(found: Any, part: str) -> list[str]:
    return [step["state"] for step in found["steps"] if step["part"] == part]


def writes(chatwoot: ChatwootSandbox) -> list[Requested]:
    """What was asked that changes something."""
    return [one for one in chatwoot.requests if one.method != "GET"]


async def secrets(db: Pool) -> list[str]:
    """Those that a daemon verifies Chatwoot's webhooks with, by what is stored."""
    stored = Credentials(db, lambda: [KEY], tells=False)
    await stored.load()
    return stored.beside("chatwoot_webhook_secret")


async def test_an_account_is_set_up_whole(env: dict[str, str], chatwoot: ChatwootSandbox, db: Pool) -> None:
    found = await document(env)
    (webhook,) = chatwoot.hooks.rows
    assert (webhook.url, sorted(webhook.subscriptions)) == (PLACE, sorted(EVENTS))
    assert await secrets(db) == [webhook.secret]
    kinds = {one["attribute_key"]: one["attribute_display_type"] for one in chatwoot.definitions}
    assert {name: kinds[name] for name in ("lead_score", "lead_quality", "has_trade_in", "budget_max")} == {
        "lead_score": "number",
        "lead_quality": "list",
        "has_trade_in": "checkbox",
        "budget_max": "number",
    }
    assert len(chatwoot.crm.account_labels) >= 30
    assert {one["attribute_model"] for one in chatwoot.definitions} == {"contact_attribute"}
    assert (found["ok"], states(found, "webhook"), states(found, "secret")) == (True, ["made"], ["made"])
    assert webhook.secret not in json.dumps(found)


async def test_who_wants_no_labels_gets_none(env: dict[str, str], chatwoot: ChatwootSandbox) -> None:
    """Promise: an account has no labels of rules that nobody runs."""
    found = await document(env | {"FERRYMAN_WORKERS": "journal,conversation-archive"})
    assert (found["ok"], states(found, "webhook"), states(found, "labels")) == (True, ["made"], ["ok"])
    assert (list(chatwoot.crm.account_labels), chatwoot.definitions) == ([], [])


async def test_a_second_run_changes_nothing(env: dict[str, str], chatwoot: ChatwootSandbox, db: Pool) -> None:
    await ran(env)
    before, stored = len(writes(chatwoot)), await db.fetch("SELECT * FROM credentials")
    found = await document(env)
    assert len(writes(chatwoot)) == before > 0
    assert await db.fetch("SELECT * FROM credentials") == stored
    assert (found["ok"], found["changes"]) == (True, 0)


async def test_a_dry_run_shows_the_plan_and_changes_nothing(
    env: dict[str, str], chatwoot: ChatwootSandbox, db: Pool
) -> None:
    text = (await ran(env, "--dry-run")).stdout
    assert f"planned  webhook: {PLACE}" in text
    assert writes(chatwoot) == []
    assert await secrets(db) == []


@pytest.mark.parametrize(
    ("url", "events"),
    [
        (PLACE, ["message_created"]),
        (PLACE, [*EVENTS, "conversation_typing_on"]),
        (PLACE + "/", list(EVENTS)),
        (PLACE.replace("https", "http"), list(EVENTS)),
        (PLACE.replace("ferry.example.test", "FERRY.example.test:443"), ["message_updated"]),
    ],
    ids=["fewer", "more", "slash", "scheme", "host"],
)
async def test_a_webhook_that_is_there_is_put_right(
    env: dict[str, str], chatwoot: ChatwootSandbox, db: Pool, url: str, events: list[str]
) -> None:
    made = chatwoot.hooks.subscribe(url, events)
    assert states(await document(env, "--dry-run"), "webhook") == ["planned"]
    assert states(await document(env), "webhook") == ["changed"]
    (webhook,) = chatwoot.hooks.rows
    assert (webhook.id, webhook.url, sorted(webhook.subscriptions)) == (made.id, PLACE, sorted(EVENTS))
    assert await secrets(db) == [webhook.secret]


async def test_another_webhook_to_the_same_place_is_told_and_left(
    env: dict[str, str], chatwoot: ChatwootSandbox
) -> None:
    for url in (PLACE, PLACE + "/", "https://else.example.test/webhooks/chatwoot"):
        chatwoot.hooks.subscribe(url, EVENTS)
    found = await document(env)
    assert states(found, "webhook") == ["ok", "warn"]
    assert len(chatwoot.hooks.rows) == 3


async def test_a_token_of_no_administrator_is_said_and_what_to_do(
    env: dict[str, str], chatwoot: ChatwootSandbox
) -> None:
    chatwoot.switches.role = "agent"
    text = (await ran(env, code=FAILED)).stdout
    assert "the token's owner is in the account as agent" in text
    assert "access token of an administrator" in text
    assert writes(chatwoot) == []


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("CHATWOOT_API_ACCESS_TOKEN", "another-token", "CHATWOOT_API_ACCESS_TOKEN"),
        ("CHATWOOT_ACCOUNT_ID", "4", "CHATWOOT_ACCOUNT_ID is 4"),
        ("CHATWOOT_WHATSAPP_INBOX_ID", "99", "no inbox 99"),
        ("CHATWOOT_BASE_URL", "http://127.0.0.1:9", "CHATWOOT_BASE_URL"),
    ],
)
async def test_a_wrong_setting_is_named_and_nothing_is_made(
    env: dict[str, str], chatwoot: ChatwootSandbox, setting: str, value: str, told: str
) -> None:
    assert told in (await ran(env | {setting: value}, code=FAILED)).stdout
    assert writes(chatwoot) == []


async def test_a_plan_without_webhooks_is_said(env: dict[str, str], chatwoot: ChatwootSandbox) -> None:
    chatwoot.faults.add("error", status=403, message="API access is not enabled", path="/webhooks")
    assert "whether the plan has API and webhooks" in (await ran(env, code=FAILED)).stdout


async def test_settings_that_are_missing_are_a_usage_error(env: dict[str, str], chatwoot: ChatwootSandbox) -> None:
    del env["FERRYMAN_PUBLIC_URL"]
    with pytest.raises(Exception, match="FERRYMAN_PUBLIC_URL is not set"):
        await ran(env, code=USAGE)
    assert chatwoot.requests == []


async def test_a_secret_of_the_settings_is_not_stored_again(
    env: dict[str, str], chatwoot: ChatwootSandbox, db: Pool
) -> None:
    made = chatwoot.hooks.subscribe(PLACE, EVENTS)
    found = await document(env | {"CHATWOOT_WEBHOOK_SECRET": f"older-secret-0123456789,{made.secret}"})
    assert states(found, "secret") == ["ok"]
    assert await secrets(db) == []


async def test_a_secret_can_be_shown_and_kept_by_hand(env: dict[str, str], chatwoot: ChatwootSandbox, db: Pool) -> None:
    text = (await ran(env | {"DATABASE_URL": "postgresql://nobody@/none?host=/nowhere"}, "--reveal")).stdout
    assert f"\nCHATWOOT_WEBHOOK_SECRET={chatwoot.hooks.rows[0].secret}\n" in text
    assert await secrets(db) == []


async def test_without_a_key_the_secret_is_not_stored_and_that_is_said(
    env: dict[str, str], chatwoot: ChatwootSandbox, db: Pool
) -> None:
    del env["FERRYMAN_SECRET_KEY"]
    found = await document(env, code=FAILED)
    (step,) = (step for step in found["steps"] if step["part"] == "secret")
    assert "FERRYMAN_SECRET_KEY is not set" in step["text"]
    assert "--reveal" in step["do"]
    assert len(chatwoot.definitions) > 0


async def test_a_chatwoot_that_signs_nothing_is_told_apart(
    env: dict[str, str], chatwoot: ChatwootSandbox, db: Pool
) -> None:
    chatwoot.hooks.subscribe(PLACE, EVENTS, secret="")
    found = await document(env, code=FAILED)
    assert states(found, "secret") == ["error"]
    assert states(await document(env | {"FERRYMAN_ALLOW_UNSIGNED": "chatwoot"}), "secret") == ["ok"]


async def test_definitions_that_are_there_get_what_they_lack_or_are_left(
    env: dict[str, str], chatwoot: ChatwootSandbox
) -> None:
    of = {"attribute_model": "contact_attribute", "attribute_display_name": "x", "id": 1}
    quality = of | {"attribute_key": "lead_quality", "attribute_display_type": "list", "attribute_values": ["vip"]}
    score = of | {"attribute_key": "lead_score", "attribute_display_type": "text", "attribute_values": [], "id": 2}
    chatwoot.definitions += [quality, score]
    found = await document(env)
    assert states(found, "attributes") == ["made", "changed", "warn"]
    assert quality["attribute_values"] == ["vip", "hot", "warm", "lukewarm", "cold"]
    assert score["attribute_display_type"] == "text"
    assert states(await document(env), "attributes") == ["warn", "ok"]
