"""Chatwoot's webhooks are lost while no process runs: the next one finds every message there, and takes it once."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from time import time
from typing import Any, Final

import pytest

from adapters.postgres.pool import Pool
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, INBOX_ID
from daemon.sandbox.chatwoot_webhooks import ChatwootWebhooks
from tests.support.chatwoot_told import told
from tests.support.daemons import Running, running
from tests.support.until import until

SECRET: Final = "whs_demo_7Q2m0123456789"
LOST: Final = 200


def phone(n: int) -> str:
    return f"+97250555{n:04d}"


@pytest.fixture
async def chatwoot() -> AsyncIterator[ChatwootSandbox]:
    async with ChatwootSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def settings(stores: dict[str, str], chatwoot: ChatwootSandbox, tmp_path: Path) -> dict[str, Any]:
    """Without rules of labels: a label is looked at once more two seconds later, before the person's next message."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "labels.toml").write_text("groups = {}\n")
    return stores | {
        "FERRYMAN_RULES_DIR": tmp_path / "rules",
        "CHATWOOT_BASE_URL": chatwoot.url,
        "CHATWOOT_API_ACCESS_TOKEN": chatwoot.token,
        "CHATWOOT_ACCOUNT_ID": ACCOUNT_ID,
        "CHATWOOT_WHATSAPP_INBOX_ID": INBOX_ID,
        "CHATWOOT_WEBHOOK_SECRET": SECRET,
        "FERRYMAN_LEASE_SECONDS": 2,
    }


async def swept(db: Pool) -> None:
    await until(lambda: db.fetchval("SELECT ended_at IS NOT NULL AND error IS NULL FROM sweeps"), "a sweep")


async def ended(db: Pool, count: int) -> None:
    """Every message has ended in every worker that handles it, and is journaled."""
    sql = "SELECT count(*) FROM inbox i JOIN event_journal j ON j.id = i.event_id WHERE j.type = 'message.received'"
    workers = "SELECT count(*) FROM workers WHERE 'message.received' = ANY (types)"
    await until(lambda: db.fetchval(f"SELECT ({sql}) = {count} * ({workers})"), f"the end of {count} messages", 90)


async def shows(here: Running, name: str, value: float) -> bool:
    async with here.session.get(f"{here.url}/metrics") as answer:
        found = re.search(rf"^{name} (\S+)$", await answer.text(), re.M)
    return found is not None and float(found[1]) == value


async def test_what_chatwoot_told_in_vain_is_found_and_a_late_webhook_changes_nothing(
    tmp_path: Path, settings: dict[str, Any], chatwoot: ChatwootSandbox, db: Pool
) -> None:
    talks = chatwoot.account.conversations
    async with running(tmp_path, **settings) as here:
        await swept(db)
        before = chatwoot.account.receive(phone(0), "its webhook comes")
        webhooks = ChatwootWebhooks(here.session, here.url, secret=SECRET, clock=time)
        assert (await webhooks.post(told(before, before.messages[0]))).status == 202
        await ended(db, 1)
        await here.stop(signal.SIGKILL)
    # as if it had run for a minute: a sweep that has begun just before a start counts as that start's own
    await db.execute("UPDATE sweeps SET began_at = began_at - interval '1 minute'")
    for n in range(LOST):
        chatwoot.account.receive(phone(n % 40), f"lost {n}")
    async with running(tmp_path, **settings) as here:
        await ended(db, LOST + 1)
        await until(lambda: db.fetchval(f"SELECT found = {LOST} FROM sweeps"), "the end of the sweep")
        for name in ("ferryman_swept_messages_total", "ferryman_sweep_found"):
            await until(lambda name=name: shows(here, name, LOST), name)
        webhooks = ChatwootWebhooks(here.session, here.url, secret=SECRET, clock=time)
        for talk in talks.values():
            assert (await webhooks.post(told(talk, talk.messages[-1]))).status == 202
        last = chatwoot.account.receive(phone(41), "after")
        assert (await webhooks.post(told(last, last.messages[0]))).status == 202
        await ended(db, LOST + 2)
    written = {str(message.id) for talk in talks.values() for message in talk.messages}
    rows = await db.fetch(
        "SELECT data::jsonb ->> 'message_id' AS id FROM event_journal WHERE type = 'message.received'"
    )
    assert len(rows) == LOST + 2
    assert {row["id"] for row in rows} == written
    assert await db.fetchval("SELECT count(*) FROM event_conflicts") == 0
