"""Where a message of Chatwoot's sender goes: the contact and the conversation are found, or made once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import ClientSession

from adapters.chatwoot.client import ChatwootCalls
from adapters.chatwoot.recipients import Recipients
from adapters.http import open_session
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, INBOX_ID, Contact, Conversation
from schemas.errors import OutsideWindow, Transient
from schemas.messages import Content
from schemas.phone import Phone
from tests.support.chatwoot_sending import CONFIRMATION, TEMPLATES, TEXT, actions, is_safe, sender_on, to, unclaimed
from tests.support.gates import gate_on
from tests.support.sending import PHONE
from tests.support.until import until

OTHER = Phone("+46701740605")


@pytest.fixture
async def sandbox() -> AsyncIterator[ChatwootSandbox]:
    async with ChatwootSandbox() as running:
        running.switches.templates = TEMPLATES
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


async def address(sandbox: ChatwootSandbox, phone: Phone, **given: Any) -> Contact:
    """A contact of *phone* that somebody else has made in the inbox."""
    return await sandbox.account.make_contact({"phone_number": phone.e164, "inbox_id": INBOX_ID, **given})


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (None, "Contact0142"),
        ("  ", "Contact0142"),
        ("Noa Levi", "Noa Levi"),
        ("Noa\u202e\x07Levi", "NoaLevi"),
        ("x" * 300, "x" * 100),
    ],
)
async def test_a_person_who_is_not_there_is_made_once_and_the_template_goes_to_them(
    sandbox: ChatwootSandbox, session: ClientSession, name: str | None, shown: str
) -> None:
    sender = sender_on(sandbox, session)
    await sender.send(to(PHONE, CONFIRMATION, name=name), unclaimed)
    (contact,) = sandbox.account.contacts.values()
    assert (contact.name, contact.phone_number, contact.identifier) == (shown, PHONE.e164, f"wa:{PHONE.digits}")
    (talk,) = sandbox.account.conversations.values()
    assert (talk.address, talk.inbox_id) == (PHONE.digits, INBOX_ID)
    assert actions(sandbox) == ["inbox", "filter", "create", "list", "begin", "send"]
    assert next(body for path, body in sandbox.bodies if path.endswith("/contacts"))["inbox_id"] == INBOX_ID


def talks(sandbox: ChatwootSandbox, phone: Phone = PHONE) -> tuple[Conversation, Conversation]:
    """Two open conversations of one person, who has written in both: the second one later."""
    account = sandbox.account
    older = account.receive(phone.e164, "hello", ago_s=60)
    newer = account.begin(older.contact, phone.digits, INBOX_ID)
    account.add(newer, content="hello", message_type=0, created_at=time.time(), sender=older.contact)
    return older, newer


def ours(talk: Conversation) -> int:
    """How many messages of ours are in *talk*."""
    return sum(one.message_type == 1 for one in talk.messages)


@pytest.mark.parametrize("content", [TEXT, CONFIRMATION])
async def test_a_message_goes_to_the_conversation_that_it_belongs_to(
    sandbox: ChatwootSandbox, session: ClientSession, content: Content
) -> None:
    older, newer = talks(sandbox)
    sender = sender_on(sandbox, session)
    for _ in range(2):
        await sender.send(to(PHONE, content, conversation=older.id), unclaimed)
    await sender.send(to(PHONE, content, conversation=newer.id), unclaimed)
    assert (ours(older), ours(newer)) == (2, 1)
    message = to(PHONE, content, conversation=older.id)
    taken = await sender.send(message, unclaimed)
    assert await sender.look_for(message, datetime.now(UTC)) == taken


async def test_a_conversation_that_is_none_of_the_person_s_is_not_written_in(
    sandbox: ChatwootSandbox, session: ClientSession
) -> None:
    _, newer = talks(sandbox)
    elsewhere = sandbox.account.begin(newer.contact, PHONE.digits, INBOX_ID + 1)
    other, _ = talks(sandbox, OTHER)
    closed = sandbox.account.begin(newer.contact, PHONE.digits, INBOX_ID)
    sender = sender_on(sandbox, session)
    for named in (elsewhere.id, other.id, closed.id, 999_999):
        await sender.send(to(PHONE, TEXT, conversation=named), unclaimed)
    assert (ours(newer), ours(elsewhere), ours(other), ours(closed)) == (4, 0, 0, 0)


async def test_what_was_found_is_remembered_and_looked_at_again_where_a_window_matters(
    sandbox: ChatwootSandbox, session: ClientSession
) -> None:
    sandbox.account.receive(PHONE.e164, "hello")
    sender = sender_on(sandbox, session)
    for _ in range(2):
        await sender.send(to(PHONE, CONFIRMATION), unclaimed)
    assert actions(sandbox) == ["inbox", "filter", "list", "send", "send"]
    await sender.send(to(PHONE, TEXT), unclaimed)
    assert actions(sandbox)[5:] == ["list", "send"]


async def test_what_is_remembered_is_looked_for_anew_after_its_time(
    sandbox: ChatwootSandbox, session: ClientSession
) -> None:
    clock = [100.0]
    account = {
        "url": sandbox.url,
        "api_access_token": sandbox.token,
        "account_id": str(ACCOUNT_ID),
        "inbox_id": str(INBOX_ID),
    }
    recipients = Recipients(ChatwootCalls(gate_on(session), lambda: account), cache_s=60.0, clock=lambda: clock[0])
    sandbox.account.receive(PHONE.e164, "hello")
    first = await recipients.place(PHONE, None, free=False)
    clock[0] += 59.0
    assert (await recipients.place(PHONE, None, free=False)).conversation_id == first.conversation_id
    assert actions(sandbox) == ["filter", "list"]
    clock[0] += 2.0
    await recipients.place(PHONE, None, free=False)
    assert actions(sandbox) == ["filter", "list"] * 2


async def test_that_somebody_is_not_there_is_never_remembered(sandbox: ChatwootSandbox, session: ClientSession) -> None:
    sandbox.faults.add("error", path=r"/contacts$", method="POST", status=422, message="no", times=1)
    sender = sender_on(sandbox, session)
    with pytest.raises(Exception, match="HTTP 422"):
        await sender.send(to(PHONE, CONFIRMATION), unclaimed)
    sandbox.account.receive(PHONE.e164, "hello")
    await sender.send(to(PHONE, CONFIRMATION), unclaimed)
    assert actions(sandbox).count("create") == 1


@pytest.mark.parametrize("content", [CONFIRMATION, TEXT], ids=["template", "text"])
async def test_a_contact_that_was_merged_away_is_looked_for_anew(
    sandbox: ChatwootSandbox, session: ClientSession, content: Any
) -> None:
    talk = sandbox.account.receive(PHONE.e164, "hello")
    sender = sender_on(sandbox, session)
    await sender.send(to(PHONE, content), unclaimed)
    del sandbox.account.contacts[talk.contact.id], sandbox.account.conversations[talk.id]
    new = sandbox.account.receive(PHONE.e164, "hello again")
    message = to(PHONE, content)
    if content is CONFIRMATION:  # its conversation was remembered, so only the message itself tells
        with pytest.raises(Transient) as caught:
            await sender.send(message, unclaimed)
        assert is_safe(caught.value)
    await sender.send(message, unclaimed)
    assert new.messages[-1].content_attributes == {"ferryman_message_id": str(message.id)}
    assert sandbox.sends() == {str(message.id): 1}


async def test_of_two_creations_at_once_one_contact_comes(sandbox: ChatwootSandbox, session: ClientSession) -> None:
    """Promise: the loser of the race finds what the winner has made, whether the check or the index refuses it."""
    sandbox.account.insert_delay_s = 0.05
    first, second = sender_on(sandbox, session), sender_on(sandbox, session)
    await asyncio.gather(*(one.send(to(PHONE, CONFIRMATION), unclaimed) for one in (first, second)))
    (contact,) = sandbox.account.contacts.values()
    assert actions(sandbox).count("create") == 2
    assert {talk.contact.id for talk in sandbox.account.conversations.values()} == {contact.id}
    assert sum(sandbox.sends().values()) == 2


@pytest.mark.parametrize("attribute", ["phone_number", "identifier", "source_id"])
@pytest.mark.parametrize("shape", ["attributes", "500"])
async def test_a_creation_that_is_refused_as_there_is_one_finds_it(
    sandbox: ChatwootSandbox, session: ClientSession, attribute: str, shape: str
) -> None:
    """Between our look and our creation somebody else makes the contact. The words are in the language of the token's
    owner."""
    body = json.dumps({"message": "ist bereits vergeben", "attributes": [attribute]})
    status = 422 if shape == "attributes" else 500
    sandbox.faults.add("raw", path=r"/contacts$", method="POST", status=status, body=body, times=1)
    sending = asyncio.create_task(sender_on(sandbox, session).send(to(PHONE, CONFIRMATION), unclaimed))
    await until(lambda: "create" in actions(sandbox), every_s=0)
    made = await address(sandbox, PHONE)
    await sending
    assert [talk.contact for talk in sandbox.account.conversations.values()] == [made]


async def test_a_creation_whose_answer_is_lost_sends_nothing_twice_and_makes_no_twin(
    sandbox: ChatwootSandbox, session: ClientSession
) -> None:
    sandbox.faults.add("reset", path=r"/contacts$", method="POST", performed=True, times=1)
    sandbox.faults.add("reset", path=r"/conversations$", method="POST", performed=True, times=1)
    sender, message = sender_on(sandbox, session), to(PHONE, CONFIRMATION)
    with pytest.raises(Transient, match="the message was not sent") as caught:
        await sender.send(message, unclaimed)
    assert is_safe(caught.value)
    await sender.send(message, unclaimed)
    assert (len(sandbox.account.contacts), len(sandbox.account.conversations)) == (1, 1)
    assert sandbox.sends() == {str(message.id): 1}


async def test_a_contact_that_no_search_shows_is_transient(sandbox: ChatwootSandbox, session: ClientSession) -> None:
    body = '{"message": "taken", "attributes": ["phone_number"]}'
    sandbox.faults.add("raw", path=r"/contacts$", method="POST", status=422, body=body)
    with pytest.raises(Transient) as caught:
        await sender_on(sandbox, session).send(to(PHONE, CONFIRMATION), unclaimed)
    assert caught.value.code == "contact-hidden"


async def test_of_twins_the_older_one_is_taken(sandbox: ChatwootSandbox, session: ClientSession) -> None:
    older = await address(sandbox, PHONE)
    sandbox.account.contacts[9999] = Contact(id=9999, phone_number=PHONE.e164)
    await sender_on(sandbox, session).send(to(PHONE, CONFIRMATION), unclaimed)
    assert [talk.contact for talk in sandbox.account.conversations.values()] == [older]


async def test_a_contact_of_another_inbox_gets_an_address_in_this_one(
    sandbox: ChatwootSandbox, session: ClientSession
) -> None:
    contact = await sandbox.account.make_contact({"phone_number": PHONE.e164})
    await sender_on(sandbox, session).send(to(PHONE, CONFIRMATION), unclaimed)
    assert contact.addresses == [(INBOX_ID, PHONE.digits)]
    assert actions(sandbox) == ["inbox", "filter", "list", "list", "begin", "send"]


async def test_a_number_in_its_other_notation_is_the_same_person(
    sandbox: ChatwootSandbox, session: ClientSession
) -> None:
    """WhatsApp knows older Brazilian numbers without their 9."""
    talk = sandbox.account.receive("+551187654321", "oi")
    await sender_on(sandbox, session).send(to(Phone("+5511987654321")), unclaimed)
    assert (len(talk.messages), len(sandbox.account.contacts)) == (2, 1)


# which conversation


async def test_the_conversation_is_the_open_one_else_the_last_one(
    sandbox: ChatwootSandbox, session: ClientSession
) -> None:
    old = sandbox.account.receive(PHONE.e164, "hello", ago_s=50 * 3600)
    old.status = "resolved"
    await sender_on(sandbox, session).send(to(PHONE, CONFIRMATION), unclaimed)
    assert len(old.messages) == 2
    opened = sandbox.account.begin(old.contact, PHONE.digits)
    opened.created_at = time.time() - 3600
    await sender_on(sandbox, session).send(to(PHONE, CONFIRMATION), unclaimed)
    assert len(opened.messages) == 1


async def test_free_text_goes_where_the_person_has_written(sandbox: ChatwootSandbox, session: ClientSession) -> None:
    """Chatwoot's window looks at one conversation alone: the open one may be closed while a resolved one is not."""
    written = sandbox.account.receive(PHONE.e164, "hello")
    written.status = "resolved"
    sandbox.account.begin(written.contact, PHONE.digits)
    await sender_on(sandbox, session).send(to(PHONE, TEXT), unclaimed)
    assert [one.status for one in written.messages] == ["sent", "sent"]


async def test_free_text_to_a_stranger_is_outside_the_window(sandbox: ChatwootSandbox, session: ClientSession) -> None:
    with pytest.raises(OutsideWindow):
        await sender_on(sandbox, session).send(to(PHONE, TEXT), unclaimed)
    assert sandbox.sent() == []


async def test_an_inbox_of_another_kind_has_no_window(sandbox: ChatwootSandbox, session: ClientSession) -> None:
    sandbox.account.channel_type = "Channel::Api"
    await sender_on(sandbox, session).send(to(PHONE, TEXT), unclaimed)
    assert [one.status for one in sandbox.sent()] == ["sent"]


async def test_conversations_of_another_inbox_are_left_alone(sandbox: ChatwootSandbox, session: ClientSession) -> None:
    other = sandbox.account.receive(PHONE.e164, "hello")
    other.inbox_id = INBOX_ID + 1
    await sender_on(sandbox, session).send(to(PHONE, CONFIRMATION), unclaimed)
    assert len(other.messages) == 1


async def test_a_merged_contact_gets_the_message_at_the_number_that_was_meant(
    sandbox: ChatwootSandbox, session: ClientSession
) -> None:
    """A conversation writes to its own address, not to the phone of its contact."""
    talk = sandbox.account.receive(PHONE.e164, "hello")
    elsewhere = sandbox.account.receive(OTHER.e164, "hello")
    elsewhere.contact = talk.contact  # merged: its conversations and addresses go over, its phone is gone
    sandbox.account.contacts.pop(max(sandbox.account.contacts))
    talk.contact.addresses.append((INBOX_ID, OTHER.digits))
    await sender_on(sandbox, session).send(to(PHONE), unclaimed)
    await sender_on(sandbox, session).send(to(OTHER), unclaimed)
    assert (len(talk.messages), len(elsewhere.messages)) == (2, 2)


async def test_a_contact_whose_phone_was_changed_is_not_written_to_at_the_old_number(
    sandbox: ChatwootSandbox, session: ClientSession
) -> None:
    talk = sandbox.account.receive(OTHER.e164, "hello")
    talk.contact.phone_number = PHONE.e164
    await sender_on(sandbox, session).send(to(PHONE, CONFIRMATION), unclaimed)
    assert len(talk.messages) == 1
    assert [one.address for one in sandbox.account.conversations.values() if one is not talk] == [PHONE.digits]


async def test_an_inbox_that_keeps_one_conversation_gives_that_one(
    sandbox: ChatwootSandbox, session: ClientSession
) -> None:
    sandbox.account.locked = True
    for _ in range(2):
        await sender_on(sandbox, session).send(to(PHONE, CONFIRMATION), unclaimed)
    assert len(sandbox.account.conversations) == 1
