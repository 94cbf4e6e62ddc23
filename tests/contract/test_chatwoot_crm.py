"""Chatwoot as a CRM, against the simulator: labels replace, attributes merge or replace, a missing role is 401."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from aiohttp import ClientSession

from adapters.channel import Channel
from adapters.chatwoot.client import NotThere
from adapters.chatwoot.crm import NOTE_MARKER
from adapters.conversation_ports import CrmPlace
from adapters.http import open_session
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, Contact, Conversation
from schemas.errors import ChannelDown, Exists, Refused, Uncertain
from schemas.phone import Phone
from tests.support.crm import crm_on
from tests.support.sending import PHONE

NOW = datetime.now(UTC)


@pytest.fixture
async def sandbox() -> AsyncIterator[ChatwootSandbox]:
    async with ChatwootSandbox() as running:
        running.switches.role = "administrator"
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


@pytest.fixture
def talk(sandbox: ChatwootSandbox) -> Conversation:
    """A conversation in which the person has written."""
    return sandbox.account.receive(PHONE.e164, "hello")


async def test_labels_are_written_as_the_whole_list(
    sandbox: ChatwootSandbox, session: ClientSession, talk: Conversation
) -> None:
    crm = crm_on(sandbox, session)
    assert await crm.labels(talk.id) == []
    assert await crm.put_labels(talk.id, ["vip", "hot-lead"]) == ["vip", "hot-lead"]
    assert await crm.put_labels(talk.id, ["cold-lead"]) == await crm.labels(talk.id) == ["cold-lead"]


async def test_a_label_with_a_comma_stays_one(
    sandbox: ChatwootSandbox, session: ClientSession, talk: Conversation
) -> None:
    crm = crm_on(sandbox, session)
    sandbox.set_labels(talk.id, ["Smith, John", "vip"])
    kept = await crm.labels(talk.id)
    assert await crm.put_labels(talk.id, [*kept, "hot-lead"]) == ["Smith, John", "vip", "hot-lead"]


async def test_a_place_is_made_once_and_its_contact_told(sandbox: ChatwootSandbox, session: ClientSession) -> None:
    first = await crm_on(sandbox, session).place(PHONE, "Noa")
    again = await crm_on(sandbox, session).place(PHONE, None)
    assert first == again == CrmPlace(*sandbox.account.conversations, *sandbox.account.contacts)
    [made] = sandbox.account.contacts.values()
    assert (made.phone_number, made.identifier) == (PHONE.e164, f"wa:{PHONE.digits}")


async def test_parallel_first_messages_of_one_phone_make_one_contact(
    sandbox: ChatwootSandbox, session: ClientSession
) -> None:
    sandbox.account.insert_delay_s = 0.05
    found = await asyncio.gather(*(crm_on(sandbox, session).place(PHONE, None) for _ in range(8)))
    assert len(sandbox.account.contacts) == 1, "the identifier is unique, whatever the phone is"
    assert {one.contact_id for one in found} == set(sandbox.account.contacts)


async def test_a_resolved_conversation_is_taken_where_there_is_no_other(
    sandbox: ChatwootSandbox, session: ClientSession, talk: Conversation
) -> None:
    talk.status = "resolved"
    assert (await crm_on(sandbox, session).place(PHONE, None)).conversation_id == talk.id
    newer = sandbox.account.begin(talk.contact, talk.address)
    assert (await crm_on(sandbox, session).place(PHONE, None)).conversation_id == newer.id


async def test_attributes_of_a_contact_are_merged(
    sandbox: ChatwootSandbox, session: ClientSession, talk: Conversation
) -> None:
    crm = crm_on(sandbox, session)
    await crm.put_contact_attributes(talk.contact.id, {"lead_score": 72, "city": "Umeå"})
    await crm.put_contact_attributes(talk.contact.id, {"lead_score": 80})
    assert sandbox.crm.contact_attributes[talk.contact.id] == {"lead_score": 80, "city": "Umeå"}


async def test_a_contact_with_a_twin_takes_no_change(
    sandbox: ChatwootSandbox, session: ClientSession, talk: Conversation
) -> None:
    sandbox.account.contacts[5] = Contact(id=5, phone_number=PHONE.e164)
    with pytest.raises(Exists):
        await crm_on(sandbox, session).put_contact_attributes(talk.contact.id, {"lead_score": 72})


@pytest.mark.parametrize(("merges", "kept"), [(False, {"b": 2}), (True, {"a": 1, "b": 2})])
async def test_attributes_of_a_conversation_are_replaced_but_where_the_release_merges(
    sandbox: ChatwootSandbox, session: ClientSession, talk: Conversation, merges: bool, kept: dict[str, int]
) -> None:
    crm = crm_on(sandbox, session)
    sandbox.crm.merges = merges
    await crm.put_conversation_attributes(talk.id, {"a": 1})
    await crm.put_conversation_attributes(talk.id, {"b": 2})
    found = await crm.talk(talk.id)
    assert (found.attributes, found.contact_id, found.status) == (kept, talk.contact.id, "open")


async def test_a_conversation_is_opened_and_stays_open(
    sandbox: ChatwootSandbox, session: ClientSession, talk: Conversation
) -> None:
    crm = crm_on(sandbox, session)
    talk.status = "pending"
    await crm.open(talk.id)
    await crm.open(talk.id)
    assert talk.status == "open"


async def test_a_note_is_private_and_written_once(
    sandbox: ChatwootSandbox, session: ClientSession, talk: Conversation
) -> None:
    crm = crm_on(sandbox, session)
    sandbox.faults.add("error", times=1, method="POST", path="/messages", status=502, performed=True)
    with pytest.raises(Uncertain):
        await crm.note(talk.id, "asks for {{contact.name}}", "event-1", NOW)
    await crm.note(talk.id, "asks for {{contact.name}}", "event-1", NOW)
    await crm.note(talk.id, "another", "event-2", NOW)
    notes = [one for one in talk.messages if one.private]
    assert [(one.content, one.content_attributes[NOTE_MARKER]) for one in notes] == [
        ("asks for {{contact.name}}", "event-1"),
        ("another", "event-2"),
    ]


async def test_account_labels_are_made_once(sandbox: ChatwootSandbox, session: ClientSession) -> None:
    crm = crm_on(sandbox, session)
    assert await crm.make_label("hot-lead", "#E5484D", "hot") is True
    assert await crm.make_label("hot-lead", "#000000", "hot") is False
    assert await crm.account_labels() == {"hot-lead": "#E5484D"}


async def test_labels_of_an_account_that_is_not_there_say_which_settings_to_check(
    sandbox: ChatwootSandbox, session: ClientSession
) -> None:
    with pytest.raises(ChannelDown, match="check the address, the account and the inbox"):
        await crm_on(sandbox, session, account_id=ACCOUNT_ID + 1).account_labels()


async def test_a_role_that_is_missing_stops_no_messages(
    sandbox: ChatwootSandbox, session: ClientSession, talk: Conversation
) -> None:
    channel = Channel("chatwoot")
    crm = crm_on(sandbox, session, channel=channel)
    sandbox.switches.role = "agent"
    assert await crm.account_labels() == {}
    with pytest.raises(Refused, match="may not make account labels"):
        await crm.make_label("hot-lead", "#E5484D", "hot")
    assert channel.closed, "the account itself is sound"


async def test_a_conversation_that_is_not_there_is_said(sandbox: ChatwootSandbox, session: ClientSession) -> None:
    crm = crm_on(sandbox, session)
    with pytest.raises(NotThere):
        await crm.labels(99)
    place = await crm.place(PHONE, None)
    del sandbox.account.conversations[place.conversation_id]
    crm.forget(PHONE)
    assert (await crm.place(PHONE, None)).conversation_id != place.conversation_id


async def test_a_brazilian_number_is_found_in_its_other_notation(
    sandbox: ChatwootSandbox, session: ClientSession
) -> None:
    known = sandbox.account.receive("+551187654321", "oi")
    assert (await crm_on(sandbox, session).place(Phone("+5511987654321"), None)).conversation_id == known.id


async def test_twins_are_told_once_and_the_oldest_is_taken(
    sandbox: ChatwootSandbox, session: ClientSession, talk: Conversation, capfd: pytest.CaptureFixture[str]
) -> None:
    sandbox.account.contacts[999] = Contact(id=999, phone_number=PHONE.e164)
    crm = crm_on(sandbox, session)
    for _ in range(3):
        assert (await crm.place(PHONE, None)).contact_id == talk.contact.id
        crm.forget(PHONE)
    out, err = capfd.readouterr()
    assert (out + err).count("chatwoot.contact_twins") == 1
