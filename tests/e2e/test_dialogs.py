"""A content order by Chatwoot, through real processes: asked for by taps, kept once, whatever is killed meanwhile."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from adapters.postgres.pool import Pool
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, INBOX_ID, Message
from tests.support.daemons import environment, ferryman, running
from tests.support.talking import SECRET, Person
from tests.support.until import until

ANSWERS: Final = ("LinkedIn", "Short", "Casual", "Tips")
PHONE: Final = "+972505550142"


@pytest.fixture
async def chatwoot() -> AsyncIterator[ChatwootSandbox]:
    async with ChatwootSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def talking(stores: dict[str, str], chatwoot: ChatwootSandbox, tmp_path: Path) -> dict[str, Any]:
    """Settings of a process that hears of people by `chatwoot`, understands them at once, and has no rules of labels: a
    label is looked at once more two seconds later, before the person's next message."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "labels.toml").write_text("groups = {}\n")
    return stores | {
        "FERRYMAN_RULES_DIR": tmp_path / "rules",
        "CHATWOOT_BASE_URL": chatwoot.url,
        "CHATWOOT_API_ACCESS_TOKEN": chatwoot.token,
        "CHATWOOT_ACCOUNT_ID": ACCOUNT_ID,
        "CHATWOOT_WHATSAPP_INBOX_ID": INBOX_ID,
        "CHATWOOT_WEBHOOK_SECRET": SECRET,
        "MESSAGES_DEFAULT_PROVIDER": "chatwoot",
        "FERRYMAN_UNDERSTAND_AFTER_SECONDS": 0,
        "FERRYMAN_LEASE_SECONDS": 2,
    }


async def asked(person: Person, count: int) -> Message:
    """The last message to *person*, once there are so many."""
    await until(lambda: len(person.hears()) >= count, f"message {count}")
    assert len(person.hears()) == count
    return person.hears()[-1]


async def context(db: Pool) -> dict[str, Any]:
    return dict(json.loads(await db.fetchval("SELECT context_json::text FROM conversations")))


async def recorded(db: Pool, count: int) -> None:
    """So many messages are known to be sent: then a reply to one of them is known to be its answer."""
    query = "SELECT count(*) = $1 FROM messages WHERE direction = 'out' AND status = 'sent'"
    await until(lambda: db.fetchval(query, count), f"{count} messages that are sent")


async def test_an_order_is_asked_for_by_taps_and_kept(
    tmp_path: Path, talking: dict[str, Any], chatwoot: ChatwootSandbox, db: Pool
) -> None:
    async with running(tmp_path, **talking) as here:
        person = Person(chatwoot, PHONE, here)
        begun = await person.write("Write a post for me", times=3)
        for n, answer in enumerate(ANSWERS, 1):
            question = await asked(person, n)
            marks = question.content_attributes
            assert answer in [one["title"] for one in marks["items"]]
            assert marks["quick_reply"] == {"type": "quick_reply", "values": marks["items"]}
            await recorded(db, n)
            await person.write(answer, answers=question, times=2)
        confirmation = await asked(person, 5)
        assert "LinkedIn" in (confirmation.content or "")
        await person.write("Bought flour for the week")
        understood = "SELECT count(*) = 6 FROM buffered_messages WHERE understood_at IS NOT NULL"
        await until(lambda: db.fetchval(understood), "the last message")
        await balanced(tmp_path, talking)
    (row,) = await db.fetch("SELECT params_json::text, chatwoot_conversation_id FROM content_orders")
    params = json.loads(row[0])
    assert [params[name] for name in ("platform", "length", "tone", "topic")] == ["linkedin", "short", "casual", "tips"]
    assert params["original_content"] == "Write a post for me"
    assert params["context"]["chatwoot_message_id"] == str(begun)
    (talk,) = chatwoot.account.conversations.values()
    assert row[1] == talk.id
    assert "clarifyingField" not in await context(db)
    assert len(person.hears()) == 5
    assert set(chatwoot.sends().values()) == {1}


async def balanced(cwd: Path, settings: dict[str, Any]) -> None:
    async def audit() -> bool:
        code, out, _ = await ferryman("audit", "--json", cwd=cwd, env=environment(**settings))
        return code == 0 and not any(one["open"] for one in json.loads(out)["workers"].values())

    await until(audit, "an audit that balances with nothing open")


async def test_a_dialog_whose_process_is_killed_after_its_question_was_sent_asks_it_once(
    tmp_path: Path, talking: dict[str, Any], chatwoot: ChatwootSandbox, db: Pool
) -> None:
    people = [f"+97250555{n:04d}" for n in range(6)]
    chatwoot.faults.add("hang", path="/messages", method="POST", performed=True)
    async with running(tmp_path, **talking) as here:
        await asyncio.gather(*(Person(chatwoot, phone, here).write("Create a post for LinkedIn") for phone in people))
        await until(chatwoot.sends, "a question that Chatwoot has taken")
        await here.stop(signal.SIGKILL)
    chatwoot.faults.clear()
    async with running(tmp_path, **talking) as here:
        query = "SELECT count(*) = $1 FROM messages WHERE status NOT IN ('queued', 'sending') AND direction = 'out'"
        await until(lambda: db.fetchval(query, len(people)), "the end of every question", within_s=60)
        assert max(chatwoot.sends().values()) == 1
        told = [phone for phone in people if Person(chatwoot, phone, here).hears()]
        assert told
        for phone in told:
            await Person(chatwoot, phone, here).write("Short")
        for phone in told:
            await asked(Person(chatwoot, phone, here), 2)
    assert max(chatwoot.sends().values()) == 1


async def test_what_waits_to_be_understood_is_archived_at_once(
    tmp_path: Path, talking: dict[str, Any], chatwoot: ChatwootSandbox, db: Pool
) -> None:
    async with running(tmp_path, **talking | {"FERRYMAN_UNDERSTAND_AFTER_SECONDS": 3600}) as here:
        person = Person(chatwoot, PHONE, here)
        ids = [await person.write(text) for text in ("Write a post for me", "about the new bakery")]
        stored = "SELECT count(*) = 2 FROM meeting_notes WHERE processing_status = 'stored'"
        await until(lambda: db.fetchval(stored), "both notes")
        waiting = "SELECT count(*) = 2 FROM buffered_messages WHERE understood_at IS NULL"
        await until(lambda: db.fetchval(waiting), "both messages")
        await db.execute("UPDATE conversations SET settles_at = now()")
        question = await asked(person, 1)
        noted = (
            "SELECT count(*) = 2 FROM meeting_notes WHERE intent = 'ORDER' AND chatwoot_message_id = ANY ($1::text[])"
        )
        await until(lambda: db.fetchval(noted, [str(id) for id in ids]), "the intent of both notes")
    assert "platform" in (question.content or "")
