"""The history of Chatwoot against its simulator: what it lists, page by page, and that a message makes the same event
as its webhook does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from aiohttp import ClientSession
from hypothesis import given
from hypothesis import strategies as st

from adapters.channel import Channel
from adapters.chatwoot.events import events_of
from adapters.chatwoot.history import ChatwootHistory, as_webhook
from adapters.conversation_ports import Talk, TalkPage
from adapters.http import open_session
from adapters.redis.limits import RateLimiter
from adapters.registry import HISTORIES
from daemon.sandbox import chatwoot_webhooks as webhooks
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, INBOX_ID, Contact, Conversation, Message
from schemas.envelope import Event
from schemas.errors import ChannelDown, FerrymanError, Transient
from tests.support.chatwoot_told import asked, told
from tests.support.gates import gate_on

NOW: Final = datetime(2031, 2, 14, 9, 20, tzinfo=UTC)
HOUR: Final = 3600

words: Final = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)


def phone(n: int) -> str:
    return f"+97250555{n:04d}"


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


@pytest.fixture
async def sandbox() -> AsyncIterator[ChatwootSandbox]:
    async with ChatwootSandbox() as made:
        yield made


@pytest.fixture
def history(sandbox: ChatwootSandbox, session: ClientSession) -> ChatwootHistory:
    limiter = RateLimiter(None, per_minute=None, max_wait_s=0.05)
    gate = gate_on(session, limiter=limiter, channel=Channel("chatwoot-history"), timeout_s=2.0)
    values = {
        "url": sandbox.url,
        "api_access_token": sandbox.token,
        "account_id": str(ACCOUNT_ID),
        "inbox_id": str(INBOX_ID),
    }
    made = HISTORIES["chatwoot"]()(gate, account=lambda: values)
    assert isinstance(made, ChatwootHistory)
    return made


async def every(pages: AsyncIterator[TalkPage]) -> list[Event]:
    return [event async for page in pages for event in page.events]


async def talk_of(history: ChatwootHistory, talk: Conversation) -> Talk:
    (found,) = [one for one in await history.changed(HOUR, 0) if one.id == talk.id]
    return found


def webhook(talk: Conversation, message: Message) -> Event:
    (event,) = events_of(told(talk, message), NOW)
    return event


async def test_a_message_is_the_same_event_by_its_webhook_and_by_the_history(
    sandbox: ChatwootSandbox, history: ChatwootHistory
) -> None:
    talk = sandbox.account.receive(phone(1), "hello")
    sandbox.account.receive(phone(1), "<b> & two\nlines")
    talk.messages[1].content_attributes = {"in_reply_to": 7301, "in_reply_to_external_id": None}
    talk.messages[1].source_id = "wamid.1"
    nobody = Contact(id=950, name="NL.8Kd02x")
    sandbox.account.contacts[950] = nobody
    hidden = Conversation(id=77, contact=nobody, inbox_id=INBOX_ID, address="NL.8Kd02x")
    hidden.messages = [Message(id=9001, content="no phone", message_type=0, content_type="text", content_attributes={})]
    sandbox.account.conversations[77] = hidden
    for one in (talk, hidden):
        found = await every(history.messages(await talk_of(history, one), 0, NOW))
        assert found == [webhook(one, message) for message in one.messages]
    assert found[0].subject == "bsuid:NL.8Kd02x"
    assert found[0].json()["conversation"] == {"account": "3", "id": "77", "inbox": "12"}


def test_files_and_every_other_member_come_through_the_api_s_form() -> None:
    files = [{"id": 88, "message_id": 7301, "account_id": 3, "file_type": "audio", "extension": None, "file_size": 9,
              "data_url": "http:///rails/v.ogg", "content_type": "audio/ogg", "transcribed_text": ""}]  # fmt: skip
    talk = Conversation(id=481, contact=Contact(id=905, name="Noor Baak", phone_number=phone(1)), inbox_id=12,
                        address=phone(1)[1:])  # fmt: skip
    message = Message(id=7301, content=None, message_type=0, content_type="text", content_attributes={})
    by_webhook = told(talk, message) | {"attachments": files}
    nested = {"id": 7301, "conversation": {"contact_inbox": {"source_id": talk.address}}}
    sender = {"id": 905, "name": "Noor Baak", "phone_number": phone(1), "email": None, "identifier": None}
    shown = {
        "id": 481,
        "inbox_id": 12,
        "messages": [nested],
        "meta": {"sender": sender, "channel": "Channel::Whatsapp"},
    }
    by_api = {"id": 7301, "content": None, "content_type": "text", "content_attributes": {}, "message_type": 0,
              "created_at": int(message.created_at), "private": False, "source_id": None, "inbox_id": 12,
              "conversation_id": 481, "status": "sent", "attachments": [files[0] | {"transcribed_text": "hi"}],
              "sender": sender | {"type": "contact", "thumbnail": ""}}  # fmt: skip
    assert events_of(as_webhook(by_api, shown, "3"), NOW) == events_of(by_webhook, NOW)
    without_sender = {name: value for name, value in by_api.items() if name != "sender"}
    assert events_of(as_webhook(without_sender, shown, "3"), NOW) == events_of(by_webhook, NOW)


people = st.fixed_dictionaries(
    {
        "id": st.integers(1, 2**31),
        "name": st.none() | words,
        "phone_number": st.sampled_from([None, "+12025550143", "+972505550001", "12"]),
        "email": st.sampled_from([None, "noor@example.test"]),
        "identifier": st.sampled_from([None, "wa:12025550143", "260728-TEST"]),
    }
)
attached = st.fixed_dictionaries(
    {"id": st.integers(1, 99), "file_type": st.sampled_from(["audio", "image", "location", "contact", "ig_reel"])},
    optional={
        "data_url": st.sampled_from(["https://chat.example.test/v.ogg", "http:///rails/v.ogg", ""]),
        "content_type": st.sampled_from(["audio/ogg", None]),
        "coordinates_lat": st.floats(-90, 90),
        "fallback_title": words,
    },
)


@given(
    people,
    st.sampled_from(["12025550143", "NL.8Kd02x", "whatsapp:+12025550143", "b7f2c0de-0000"]),
    st.sampled_from(["Channel::Whatsapp", "Channel::TwilioSms", "Channel::Api", "Channel::Telegram"]),
    st.none() | words,
    st.dictionaries(st.sampled_from(["in_reply_to", "deleted", "referral"]), st.sampled_from([None, 7302, True])),
    st.lists(attached, max_size=3),
    st.integers(1_600_000_000_000, 1_900_000_000_000),
)
def test_whatever_a_message_holds_both_ways_make_the_same_event(
    who: dict[str, Any], place: str, channel: str, content: str | None, marks: dict[str, Any], files: Any, at_ms: int
) -> None:
    short = webhooks.contact(who["id"], who["phone_number"]) | who
    made = datetime.fromtimestamp(at_ms // 1000, UTC) + timedelta(milliseconds=at_ms % 1000)
    shared = {"id": 7301, "content": content, "content_type": "text", "content_attributes": marks, "private": False,
              "source_id": "wamid.1", **({"attachments": files} if files else {})}  # fmt: skip
    by_webhook = webhooks.message(7301, content, webhooks.conversation(481, short, place, channel=channel)) | shared
    by_webhook["created_at"] = made.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    by_api = shared | {
        "message_type": 0,
        "created_at": at_ms // 1000,
        "conversation_id": 481,
        "inbox_id": 12,
        "sender": short,
    }
    nested = {"id": 7301, "conversation": {"contact_inbox": {"source_id": place}}}
    shown = {
        "id": 481,
        "inbox_id": 12,
        "meta": {"sender": short, "channel": channel},
        "last_non_activity_message": nested,
    }
    assert events_of(as_webhook(by_api, shown, "3"), NOW) == events_of(by_webhook, NOW)


async def test_of_what_goes_out_only_a_human_s_word_is_told(sandbox: ChatwootSandbox, history: ChatwootHistory) -> None:
    talk = sandbox.account.receive(phone(1), "hello")
    sandbox.account.post(talk, {"content": "a machine's", "content_attributes": {"automation_rule_id": 4}})
    sandbox.account.post(talk, {"content": "ours", "content_attributes": {"ferryman_message_id": "x"}})
    sandbox.account.post(talk, {"content": "a note", "private": True, "content_attributes": {"external_echo": True}})
    by_phone = sandbox.account.post(talk, {"content": "on it", "content_attributes": {"external_echo": True}})
    found = await every(history.messages(await talk_of(history, talk), 0, NOW))
    assert [event.type for event in found] == ["message.received", "conversation.changed"]
    assert found[1].json()["what"] == "agent_replied"
    (by_webhook,) = events_of(told(talk, by_phone) | {"message_type": "outgoing", "sender": None}, NOW)
    assert found[1] == by_webhook


async def test_a_long_conversation_comes_in_pages_and_in_its_order(
    sandbox: ChatwootSandbox, history: ChatwootHistory
) -> None:
    for n in range(250):
        talk = sandbox.account.receive(phone(1), f"{n}")
    found = await every(history.messages(await talk_of(history, talk), talk.messages[9].id, NOW))
    assert [event.json()["text"] for event in found] == [f"{n}" for n in range(10, 250)]
    assert asked(sandbox).count("messages") == 3


async def test_the_latest_are_read_back_to_a_moment_and_no_further(
    sandbox: ChatwootSandbox, history: ChatwootHistory
) -> None:
    for n in range(90):
        talk = sandbox.account.receive(phone(1), f"{n}", ago_s=HOUR * (90 - n))
    since = datetime.now(UTC) - timedelta(hours=30.5)
    found = await every(
        history.latest(Talk(talk.id, None, {"id": talk.id, "meta": {"sender": {"id": 901}}}), since, NOW)
    )
    assert sorted(int(event.json()["text"]) for event in found) == list(range(60, 90))
    assert asked(sandbox).count("messages") == 2


async def test_conversations_of_every_inbox_and_state_are_listed_by_chatwoot_s_clock(
    sandbox: ChatwootSandbox, history: ChatwootHistory
) -> None:
    for n in range(60):
        sandbox.account.receive(phone(n), "hello", ago_s=60).status = ("open", "resolved", "pending")[n % 3]
    sandbox.account.receive(phone(99), "hello", ago_s=2 * HOUR)
    found = await history.changed(HOUR, 0)
    assert len(found) == 60
    assert asked(sandbox) == ["conversations"]
    assert await history.newest() == max(talk.newest or 0 for talk in found)


@pytest.mark.parametrize("kind", ["error", "hang", "html"])
async def test_a_list_that_cannot_come_whole_comes_in_pages(
    sandbox: ChatwootSandbox, history: ChatwootHistory, kind: Any
) -> None:
    old = [sandbox.account.receive(phone(n), "hello", ago_s=10 + n) for n in range(160, 0, -1)]
    floor = old[99].messages[0].id
    sandbox.faults.add(kind, path="/conversations", method="GET", times=1)
    found = await history.changed(HOUR, floor)
    assert {talk.id for talk in found} == {one.id for one in old[100:]}
    assert asked(sandbox) == ["conversations"] * 5


async def test_long_texts_of_customers_stop_no_sweep(sandbox: ChatwootSandbox, history: ChatwootHistory) -> None:
    for n in range(8):
        sandbox.account.receive(phone(n), "א" * 150_000)
    last = sandbox.account.receive(phone(8), "the last one").messages[-1]
    assert await history.newest() == last.id
    sandbox.faults.add("error", status=504, times=1)
    assert len(await history.changed(HOUR, 0)) == 9


async def test_a_message_with_what_no_text_in_postgres_holds_comes_without_it(
    sandbox: ChatwootSandbox, history: ChatwootHistory
) -> None:
    talk = sandbox.account.receive(phone(1), "a\0\0b \\u0000 c\\\0")
    talk.messages[-1].content_attributes["\0key"] = ["\0"]
    (event,) = await every(history.messages(await talk_of(history, talk), 0, NOW))
    assert b"\\u0000" not in event.data.replace(b"\\\\u0000", b"")
    assert event.json()["text"] == "ab \\u0000 c\\"


async def test_a_conversation_that_is_gone_has_nothing(sandbox: ChatwootSandbox, history: ChatwootHistory) -> None:
    talk = await talk_of(history, sandbox.account.receive(phone(1), "hello"))
    sandbox.account.conversations.clear()
    assert await every(history.messages(talk, 0, NOW)) == []


@pytest.mark.parametrize(("kind", "error"), [("bad_token", ChannelDown), ("limited", Transient), ("reset", Transient)])
async def test_what_is_refused_or_lost_is_told(
    sandbox: ChatwootSandbox, history: ChatwootHistory, kind: Any, error: type[FerrymanError]
) -> None:
    sandbox.faults.add(kind, path="/conversations", method="GET")
    with pytest.raises(error):
        await history.changed(HOUR, 0)
