"""Messages by Chatwoot through real processes and its simulator: in the person's conversation, each stored once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from adapters.postgres.pool import Pool
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, INBOX_ID
from daemon.sandbox.meta import MetaSandbox
from tests.support.chatwoot_sending import TEMPLATES
from tests.support.daemons import Running, environment, ferryman, running
from tests.support.until import PATIENCE_S, until

SECRET: Final = "meta-app-secret-0123456789"
TOKEN: Final = "e2e-admin-token-0123456789"
TEMPLATE: Final = {"name": "order_confirmation", "language": "en_US", "variables": {"1": "Noa"}}


def phone(n: int) -> str:
    return f"+97250555{n:04d}"


@pytest.fixture
async def chatwoot() -> AsyncIterator[ChatwootSandbox]:
    async with ChatwootSandbox() as sandbox:
        sandbox.switches.templates = TEMPLATES
        yield sandbox


@pytest.fixture
def sending(stores: dict[str, str], chatwoot: ChatwootSandbox) -> dict[str, Any]:
    """Settings of a process that sends by `chatwoot`, and hears of what people write by Meta."""
    return stores | {
        "CHATWOOT_BASE_URL": chatwoot.url,
        "CHATWOOT_API_ACCESS_TOKEN": chatwoot.token,
        "CHATWOOT_ACCOUNT_ID": ACCOUNT_ID,
        "CHATWOOT_WHATSAPP_INBOX_ID": INBOX_ID,
        "META_APP_SECRET": SECRET,
        "MESSAGES_DEFAULT_PROVIDER": "chatwoot",
        "FERRYMAN_LEASE_SECONDS": 2,
    }


async def send(here: Running, to: str, **content: Any) -> str:
    """Ask for a message; returns its id."""
    headers, body = {"Authorization": f"Bearer {TOKEN}"}, {"to": to, **(content or {"template": TEMPLATE})}
    async with here.session.post(f"{here.url}/api/v1/messages", json=body, headers=headers) as answer:
        assert answer.status == 202, await answer.text()
        id: str = (await answer.json())["message_id"]
        return id


async def ended(db: Pool, id: str, within_s: float = PATIENCE_S) -> dict[str, Any]:
    """The message *id*, once it has an end."""

    async def row() -> Any:
        found = await db.fetchrow("SELECT status, error, provider_message_id FROM messages WHERE id = $1", id)
        return found if found is not None and found["status"] not in ("queued", "sending") else None

    return dict(await until(row, "the end of a message", within_s=within_s))


async def _told(here: Running, event: str) -> bool:
    return any(f'"{event}"' in line for line in here.lines)


async def test_a_message_goes_out_in_the_conversation_of_its_person(
    tmp_path: Path, sending: dict[str, Any], chatwoot: ChatwootSandbox, db: Pool
) -> None:
    known = chatwoot.account.receive(phone(1), "hello")
    async with running(tmp_path, **sending) as here:
        ids = [await send(here, phone(1)), await send(here, phone(2))]
        rows = [await ended(db, id) for id in ids]
    made = chatwoot.sent()
    assert [row["status"] for row in rows] == ["sent", "sent"]
    assert {row["provider_message_id"] for row in rows} == {str(one.id) for one in made}
    assert chatwoot.sends() == dict.fromkeys(ids, 1)
    assert len(known.messages) == 2
    assert sorted(one.phone_number or "" for one in chatwoot.account.contacts.values()) == [phone(1), phone(2)]


async def test_free_text_goes_out_where_chatwoot_lets_it_and_is_skipped_elsewhere(
    tmp_path: Path, sending: dict[str, Any], chatwoot: ChatwootSandbox, db: Pool
) -> None:
    """The second person has written to the number, and not so that Chatwoot knows it."""
    chatwoot.account.receive(phone(1), "hello")
    async with MetaSandbox(app_secret=SECRET) as meta, running(tmp_path, **sending) as here:
        meta.callback_url = here.url
        assert "window" in (await ended(db, await send(here, phone(1), text="hello")))["error"]
        for n in (1, 2):
            await meta.write(phone(n)[1:], "good morning")
        await until(lambda: db.fetchval("SELECT count(*) = 2 FROM customer_windows"), "the windows")
        inside = await send(here, phone(1), text="hello")
        assert (await ended(db, inside))["status"] == "sent"
        refused = await ended(db, await send(here, phone(2), text="hello"))
    assert refused["status"] == "skipped"
    assert "window" in refused["error"]
    assert chatwoot.sends() == {inside: 1}


@pytest.mark.parametrize("kind", ["cut", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("reset", "html"))])
async def test_a_call_in_doubt_is_never_repeated(
    tmp_path: Path, sending: dict[str, Any], chatwoot: ChatwootSandbox, db: Pool, kind: Any
) -> None:
    count = 16
    for n in range(0, count, 4):  # so that no breaker opens between them
        chatwoot.faults.add(kind, path="/messages", method="POST", times=1, contact=phone(n)[1:], performed=True)
    async with running(tmp_path, **sending) as here:
        ids = await asyncio.gather(*(send(here, phone(n)) for n in range(count)))
        rows = [await ended(db, id) for id in ids]
    assert {row["status"] for n, row in enumerate(rows) if n % 4} == {"sent"}
    assert {row["status"] for row in rows[::4]} <= {"uncertain", "sent"}
    assert chatwoot.sends() == dict.fromkeys(ids, 1)


async def test_a_refused_token_costs_no_message(
    tmp_path: Path, sending: dict[str, Any], chatwoot: ChatwootSandbox, db: Pool
) -> None:
    given = chatwoot.token
    chatwoot.token = "another"
    async with running(tmp_path, **sending) as here:
        ids = [await send(here, phone(n)) for n in range(6)]
        await until(lambda: _told(here, "provider.down"), "the line that tells of the token")
        chatwoot.token = given
        await ferryman("resume", "chatwoot", cwd=tmp_path, env=environment(**sending))
        rows = [await ended(db, id, within_s=90) for id in ids]  # without it the account is asked every 30 seconds
    assert {row["status"] for row in rows} == {"sent"}
    assert chatwoot.sends() == dict.fromkeys(ids, 1)


async def test_a_process_that_is_killed_while_it_sends_sends_nothing_twice(
    tmp_path: Path, sending: dict[str, Any], chatwoot: ChatwootSandbox, db: Pool
) -> None:
    chatwoot.faults.add("hang", path="/messages", method="POST", performed=True)
    async with running(tmp_path, **sending) as here:
        ids = [await send(here, phone(n)) for n in range(8)]
        await until(chatwoot.sends, "a message that Chatwoot has taken")
        await here.stop(signal.SIGKILL)
    chatwoot.faults.clear()
    async with running(tmp_path, **sending):
        rows = [await ended(db, id) for id in ids]
    assert {row["status"] for row in rows} <= {"sent", "uncertain"}
    assert max(chatwoot.sends().values()) == 1
    never = set(ids) - chatwoot.sends().keys()
    assert all(row["status"] == "uncertain" for id, row in zip(ids, rows, strict=True) if id in never)
