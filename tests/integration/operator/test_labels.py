"""`ferryman labels create`: the account's labels are made once, by name and colour."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.operator import labels
from daemon.operator.faults import Unusable
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, INBOX_ID
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from tests.support.crm import RULES
from tests.support.daemons import environment, ferryman


@pytest.fixture
async def sandbox() -> AsyncIterator[ChatwootSandbox]:
    async with ChatwootSandbox() as running:
        running.switches.role = "administrator"
        yield running


def env_of(sandbox: ChatwootSandbox) -> dict[str, str]:
    return {
        "CHATWOOT_BASE_URL": sandbox.url,
        "CHATWOOT_API_ACCESS_TOKEN": sandbox.token,
        "CHATWOOT_ACCOUNT_ID": str(ACCOUNT_ID),
        "CHATWOOT_WHATSAPP_INBOX_ID": str(INBOX_ID),
    }


def settings_of(sandbox: ChatwootSandbox) -> Settings:
    return Settings(**{name.lower(): value for name, value in env_of(sandbox).items()})


async def test_labels_are_made_once_and_what_is_there_is_left(sandbox: ChatwootSandbox) -> None:
    wanted, seen = RULES.catalog(), list[tuple[int, int]]()
    sandbox.crm.account_labels["hot-lead"] = {"id": 1, "title": "hot-lead", "color": "#123456"}
    async with labels.open_crm(InForce(settings_of(sandbox))) as crm:
        would = await labels.create(crm, wanted, dry_run=True)
        assert len(sandbox.crm.account_labels) == 1
        made = await labels.create(crm, wanted, told=lambda done, of: seen.append((done, of)))
        posts = len(sandbox.bodies)
        again = await labels.create(crm, wanted)
    assert would == made
    assert {one.state for one in made if one.title != "hot-lead"} == {"new"}
    assert [one.state for one in again].count("there") == len(wanted) - 1
    assert [one.color for one in again if one.state == "differs"] == ["#123456"]
    assert len(sandbox.bodies) == posts, "run again, it writes nothing"
    colors = {title: one["color"] for title, one in sandbox.crm.account_labels.items()}
    assert colors == {one.title: one.color for one in wanted} | {"hot-lead": "#123456"}
    assert seen[-1] == (len(wanted), len(wanted))


async def test_two_runs_at_once_make_each_label_once(sandbox: ChatwootSandbox) -> None:
    async def run() -> None:
        async with labels.open_crm(InForce(settings_of(sandbox))) as crm:
            await labels.create(crm, RULES.catalog())

    await asyncio.gather(run(), run())
    assert len(sandbox.crm.account_labels) == len(RULES.catalog())


async def test_without_chatwoot_it_says_what_to_set() -> None:
    with pytest.raises(Unusable, match="set CHATWOOT_BASE_URL, CHATWOOT_API_ACCESS_TOKEN, CHATWOOT_ACCOUNT_ID"):
        async with labels.open_crm(InForce(Settings())):
            pass


async def test_the_verb_makes_them_and_says_so(sandbox: ChatwootSandbox, tmp_path: Path) -> None:
    env = environment(**env_of(sandbox))
    code, out, _ = await ferryman("labels", "create", "--dry-run", "--json", cwd=tmp_path, env=env)
    assert code == 0
    assert json.loads(out) | {"labels": []} == {
        "new": len(RULES.catalog()), "there": 0, "differs": 0, "total": len(RULES.catalog()), "dry_run": True,
        "labels": [],
    }  # fmt: skip
    code, out, _ = await ferryman("labels", "create", cwd=tmp_path, env=env)
    assert (code, len(sandbox.crm.account_labels)) == (0, len(RULES.catalog()))
    assert f"{len(RULES.catalog())} labels: {len(RULES.catalog())} made, 0 there already" in out
    sandbox.switches.role = "agent"
    sandbox.crm.account_labels.clear()
    code, _, err = await ferryman("labels", "create", cwd=tmp_path, env=env)
    assert (code, err.count("\n")) == (1, 1)
    assert "administrator" in err
