"""Whether a message that may have been sent by Chatwoot is there: by our id, and without changing anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientSession

from adapters.http import open_session
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import INBOX_ID, Conversation
from schemas.errors import ChannelDown, Transient, Uncertain
from schemas.messages import Taken
from schemas.phone import Phone
from tests.support.chatwoot_sending import CONFIRMATION, TEMPLATES, TEXT, actions, is_safe, sender_on, to, unclaimed
from tests.support.sending import PHONE

BEFORE = timedelta(seconds=30)


@pytest.fixture
async def sandbox() -> AsyncIterator[ChatwootSandbox]:
    async with ChatwootSandbox() as running:
        running.switches.templates = TEMPLATES
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


def since() -> datetime:
    """When the call went out, about."""
    return datetime.now(UTC) - BEFORE


def chat(sandbox: ChatwootSandbox, talk: Conversation, count: int) -> None:
    """What others write meanwhile."""
    for n in range(count):
        sandbox.account.post(talk, {"content": f"note {n}", "private": True})


@pytest.mark.parametrize("fault", ["reset", "cut", "error"])
@pytest.mark.parametrize("meanwhile", [0, 19, 45])
@pytest.mark.parametrize("content", [TEXT, CONFIRMATION], ids=["text", "template"])
async def test_a_message_in_doubt_is_found_by_another_process_however_much_was_written_since(
    sandbox: ChatwootSandbox, session: ClientSession, fault: Any, meanwhile: int, content: Any
) -> None:
    talk = sandbox.account.receive(PHONE.e164, "hello")
    sandbox.faults.add(fault, path="/messages", method="POST", performed=True, times=1)
    message = to(PHONE, content)
    with pytest.raises(Uncertain):
        await sender_on(sandbox, session).send(message, unclaimed)
    chat(sandbox, talk, meanwhile)
    posted = len(sandbox.bodies)
    (made,) = [one for one in sandbox.sent() if not one.private]
    assert await sender_on(sandbox, session).look_for(message, since()) == Taken(str(made.id))
    assert {path.rpartition("/")[2] for path, _ in sandbox.bodies[posted:]} == {"filter"}


async def test_a_message_that_never_came_is_not_there(sandbox: ChatwootSandbox, session: ClientSession) -> None:
    talk = sandbox.account.receive(PHONE.e164, "hello")
    sandbox.faults.add("reset", path="/messages", method="POST", performed=False, times=1)
    sender, message = sender_on(sandbox, session), to(PHONE)
    with pytest.raises(Uncertain):
        await sender.send(message, unclaimed)
    await sender.send(to(PHONE), unclaimed)
    chat(sandbox, talk, 45)
    assert await sender.look_for(message, since()) is None


async def test_nobody_is_made_by_a_look(sandbox: ChatwootSandbox, session: ClientSession) -> None:
    assert await sender_on(sandbox, session).look_for(to(PHONE), since()) is None
    assert (sandbox.account.contacts, sandbox.account.conversations) == ({}, {})
    assert set(actions(sandbox)) == {"filter", "list"}


async def test_old_messages_are_not_looked_through(sandbox: ChatwootSandbox, session: ClientSession) -> None:
    talk = sandbox.account.receive(PHONE.e164, "hello")
    chat(sandbox, talk, 100)
    for one in talk.messages:
        one.created_at -= 7200
    sandbox.account.post(talk, {"content": "today"})
    assert await sender_on(sandbox, session).look_for(to(PHONE), since()) is None
    assert actions(sandbox).count("read") == 1
    talk.messages.pop()
    assert await sender_on(sandbox, session).look_for(to(PHONE), since()) is None
    assert actions(sandbox).count("read") == 1, "nothing has happened there since"


async def test_it_is_found_in_whichever_conversation_it_went_to(
    sandbox: ChatwootSandbox, session: ClientSession
) -> None:
    talk, message = sandbox.account.receive(PHONE.e164, "hello"), to(PHONE)
    taken = await sender_on(sandbox, session).send(message, unclaimed)
    talk.status = "resolved"
    newer = sandbox.account.begin(talk.contact, PHONE.digits)
    chat(sandbox, newer, 3)
    assert await sender_on(sandbox, session).look_for(message, since()) == taken


async def test_it_is_found_although_its_contact_was_merged_into_another(
    sandbox: ChatwootSandbox, session: ClientSession
) -> None:
    talk, message = sandbox.account.receive(PHONE.e164, "hello"), to(PHONE)
    taken = await sender_on(sandbox, session).send(message, unclaimed)
    base = sandbox.account.receive("+46701740605", "hello").contact
    base.addresses.append((INBOX_ID, PHONE.digits))
    talk.contact = base
    del sandbox.account.contacts[min(sandbox.account.contacts)]
    assert await sender_on(sandbox, session).look_for(message, since()) == taken


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "error", "status": 500},
        {"kind": "reset"},
        {"kind": "limited"},
        {"kind": "raw", "body": "[]"},
        {"kind": "error", "status": 404, "message": "Resource could not be found"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/contacts/filter", "/messages"])
async def test_where_chatwoot_does_not_tell_it_is_never_taken_for_absent(
    sandbox: ChatwootSandbox, session: ClientSession, path: str, fault: dict[str, Any]
) -> None:
    sandbox.account.receive(PHONE.e164, "hello")
    sender, message = sender_on(sandbox, session), to(PHONE)
    await sender.send(message, unclaimed)
    sandbox.faults.add(**fault, path=path)
    with pytest.raises((Transient, ChannelDown)) as caught:
        await sender.look_for(message, since())
    assert is_safe(caught.value)


async def test_a_conversation_without_end_is_not_looked_through_to_its_end(
    sandbox: ChatwootSandbox, session: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.chatwoot.marks.MOST_PAGES", 2)
    talk = sandbox.account.receive(Phone("+46701740605").e164, "hello")
    chat(sandbox, talk, 60)
    with pytest.raises(Transient, match="too many"):
        await sender_on(sandbox, session).look_for(to(Phone("+46701740605")), since())
