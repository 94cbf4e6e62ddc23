"""`ferryman send` and `ferryman messages` as an operator uses them, beside a running daemon."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from adapters.postgres.pool import Pool
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID
from tests.support.daemons import Running, environment, ferryman, running

SECRET: Final = "meta-app-secret-0123456789"
WROTE: Final = "+972505550001"
SILENT: Final = "+972505550002"


@pytest.fixture
async def meta() -> AsyncIterator[MetaSandbox]:
    async with MetaSandbox(app_secret=SECRET) as sandbox:
        yield sandbox


class Shell:
    """An operator's shell beside the daemon."""

    def __init__(self, here: Running, cwd: Path, settings: dict[str, Any]) -> None:
        self.here = here
        self._cwd, self._env = cwd, environment(**settings)

    async def __call__(self, *argv: str) -> tuple[int, str]:
        code, out, err = await ferryman(*argv, cwd=self._cwd, env=self._env)
        return code, out + err


@pytest.fixture
async def shell(stores: dict[str, str], meta: MetaSandbox, tmp_path: Path) -> AsyncIterator[Shell]:
    settings: dict[str, Any] = stores | {
        "META_GRAPH_URL": meta.url,
        "META_PHONE_NUMBER_ID": PHONE_NUMBER_ID,
        "META_ACCESS_TOKEN": meta.token,
        "META_APP_SECRET": SECRET,
        "MESSAGES_DEFAULT_PROVIDER": "meta",
        "FERRYMAN_ADMIN_TOKEN": "e2e-admin-token-0123456789",
        "FERRYMAN_LEASE_SECONDS": 2,
    }
    async with running(tmp_path, **settings) as here:
        meta.callback_url = here.url
        yield Shell(here, tmp_path, settings)


async def test_what_waits_is_shown_with_its_reason_and_taken_back(shell: Shell, db: Pool) -> None:
    code, out = await shell("send", "template", SILENT, "news", "--language", "en", "--at", "2h", "--yes")
    assert (code, "it goes out at" in out) == (0, True)
    later = str(await db.fetchval("SELECT id FROM messages"))
    assert (await shell("pause", "meta"))[0] == 0
    code, out = await shell("send", "template", SILENT, "news", "--language", "en", "--yes")
    assert (code, "is queued" in out) == (0, True)
    held = str(await db.fetchval("SELECT id FROM messages WHERE not_before IS NULL"))
    code, out = await shell("messages", "list", "--status", "queued", "--json")
    assert {one["id"]: one["phone"] for one in json.loads(out)} == {later: "+…02", held: "+…02"}
    code, out = await shell("messages", "show", held[:8], "--json")
    assert (code, json.loads(out)["waits"]) == (0, "meta is paused by an operator: `ferryman resume meta`")
    code, out = await shell("messages", "cancel", later[:8], "--dry-run")
    assert (code, out) == (0, f"the message {later} would be canceled\n")
    assert (await shell("messages", "cancel", later))[0] == 0
    for verb in (("cancel", later), ("cancel", later, "--dry-run")):
        code, out = await shell("messages", *verb)
        assert (code, "only one that is queued" in out) == (1, True)
    assert "status               canceled" in (await shell("messages", "show", later))[1]


async def test_choices_reach_a_person_who_wrote_and_a_look_tells_who_would_be_skipped(
    shell: Shell, meta: MetaSandbox
) -> None:
    await meta.write(WROTE[1:], "hello")
    which = ("Which day?", "--choice", "Monday", "--choice", "Friday=5")
    code, out = await shell("send", "choices", WROTE, *which, "--wait", "--yes")
    assert (code, "is delivered" in out) == (0, True)
    (sent,) = meta.sent
    buttons = sent.body["interactive"]["action"]["buttons"]
    assert [(one["reply"]["title"], one["reply"]["id"]) for one in buttons] == [("Monday", "Monday"), ("Friday", "5")]
    assert "skipped" not in (await shell("send", "choices", WROTE, *which, "--dry-run"))[1]
    code, out = await shell("send", "choices", SILENT, *which, "--dry-run")
    assert (code, "but skipped as things are now: outside the customer-service window" in out) == (0, True)
    assert len(meta.sent) == 1


async def test_a_message_in_doubt_says_what_to_do(shell: Shell, meta: MetaSandbox, db: Pool) -> None:
    meta.switches.fates = {WROTE[1:]: []}
    meta.faults.add("cut", times=1, contact=WROTE[1:])
    code, out = await shell("send", "template", WROTE, "news", "--language", "en", "--wait", "--yes")
    assert (code, "`ferryman uncertain list`" in out) == (1, True)
    id = str(await db.fetchval("SELECT id FROM messages"))
    code, out = await shell("messages", "show", id)
    assert (code, f"`ferryman uncertain settle {id[:8]}`" in out, "not looked for" in out) == (0, True, True)
    code, out = await shell("uncertain", "settle", id[:8], "--sent")
    assert (code, out) == (0, f"the message {id} is sent\n")


async def test_what_is_wrong_is_told_by_the_name_that_was_typed(shell: Shell) -> None:
    code, out = await shell("send", "media", WROTE, "visa.pdf", "--type", "pdf", "--yes")
    assert code == 2
    assert "URL must be an address that begins with https:// or http://" in out
    assert "--type must be one of image, video, audio, document" in out
    assert "Input should" not in out
    code, out = await shell("messages", "show", "abc")
    assert (code, "6 or more characters" in out) == (1, True)
    code, out = await shell("messages", "show", "6f1d1b56")
    assert (code, "there is no message with this id" in out) == (1, True)
