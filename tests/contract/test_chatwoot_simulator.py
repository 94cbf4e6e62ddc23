"""The simulator of Chatwoot tells what Chatwoot tells, in its shapes, by its rules of delivery."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from multidict import CIMultiDict

from adapters.chatwoot.source import SECRET as SETTING
from adapters.chatwoot.source import SOURCE
from adapters.ports import Webhook
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import Message
from daemon.sandbox.chatwoot_hooks import Trouble
from daemon.sandbox.chatwoot_staff import INES
from tests.support.sending import PHONE

VOICE: Final = ("voice.ogg", "audio/ogg", b"OggS-voice")
BSUID: Final = "NL.8Kd02x"


class Listening:
    """What came in, and how it is answered."""

    def __init__(self) -> None:
        self.came: list[Webhook] = []
        self.status = 202
        self.after_s = 0.0
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.came.append(Webhook(CIMultiDict(request.headers), await request.read(), ""))
        await asyncio.sleep(self.after_s)
        return web.Response(status=self.status)

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(one.body) for one in self.came]

    def events(self) -> Counter[str]:
        return Counter(one["event"] for one in self.told)


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    there, app = Listening(), web.Application()
    app.add_routes([web.post("/webhooks/chatwoot", there.take)])
    server = TestServer(app)
    await server.start_server()
    there.url = str(server.make_url("/webhooks/chatwoot"))
    yield there
    await server.close()


@pytest.fixture
async def sandbox(listening: Listening) -> AsyncIterator[ChatwootSandbox]:
    async with ChatwootSandbox() as running:
        running.hooks.subscribe(listening.url)
        yield running


async def test_a_webhook_is_signed_so_that_the_source_takes_it(sandbox: ChatwootSandbox, listening: Listening) -> None:
    sandbox.receive(PHONE.e164, "café <3")
    await sandbox.hooks.settled()
    secret = sandbox.hooks.rows[0].secret
    for one in listening.came:
        assert SOURCE.verify(one, {SETTING: ["old", secret]})
        assert not SOURCE.verify(one, {SETTING: ["old"]})
    assert any(b"caf\xc3\xa9 \\u003c3" in one.body for one in listening.came)
    assert len({one.headers["X-Chatwoot-Delivery"] for one in listening.came}) == len(listening.came)


async def test_a_first_message_makes_contact_and_conversation_and_is_told_in_full(
    sandbox: ChatwootSandbox, listening: Listening
) -> None:
    made = sandbox.receive(PHONE.e164, "hello", name="Noor Baak")
    await sandbox.hooks.settled()
    assert listening.events() == {"contact_created": 1, "conversation_created": 1, "message_created": 1}
    (told,) = (one for one in listening.told if one["event"] == "message_created")
    assert told["message_type"] == "incoming"
    assert told["conversation"]["messages"][0]["message_type"] == 0
    assert told["conversation"]["messages"][0]["created_at"] == int(made.created_at)
    assert datetime.fromisoformat(told["created_at"]).tzinfo == UTC
    assert "type" not in told["sender"]
    assert told["conversation"]["meta"]["sender"]["type"] == "contact"
    assert told["conversation"]["contact_inbox"]["source_id"] == PHONE.digits
    assert "attachments" not in told
    (event,) = SOURCE.parse(Webhook(CIMultiDict(), b"", ""), told, datetime.now(UTC))
    assert (event.type, event.subject) == ("message.received", PHONE.e164)


async def test_a_storm_tells_everything_that_a_message_and_its_answer_cause(
    sandbox: ChatwootSandbox, listening: Listening
) -> None:
    sandbox.switches.storm = True
    sandbox.receive(PHONE.e164, "hello")
    (talk,) = sandbox.account.conversations.values()
    sandbox.reply(talk, "good morning")
    await sandbox.hooks.settled()
    assert listening.events() == {
        "contact_created": 1,
        "conversation_created": 1,
        "message_created": 2,
        "message_updated": 3,  # the channel's id, delivered, read
        "conversation_updated": 2,
        "contact_updated": 1,
    }
    assert talk.waiting_since == 0


async def test_a_message_into_a_resolved_conversation_opens_it(sandbox: ChatwootSandbox, listening: Listening) -> None:
    sandbox.account.locked = True
    sandbox.receive(PHONE.e164, "hello")
    (talk,) = sandbox.account.conversations.values()
    sandbox.set_status(talk, "resolved")
    sandbox.receive(PHONE.e164, "one more thing")
    await sandbox.hooks.settled()
    changed = [one for one in listening.told if one["event"] == "conversation_status_changed"]
    assert sorted(one["status"] for one in changed) == ["open", "resolved"]
    assert all(one["changed_attributes"] is None for one in changed)
    assert all(one.get("message_type") != "activity" for one in listening.told)
    assert [one.message_type for one in talk.messages] == [0, 2, 0, 2]


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda s, t: s.reply(t, "hi"), {"private": False, "content_attributes": {}, "sender": "user"}),
        (lambda s, t: s.reply(t, "call him", private=True), {"private": True, "sender": "user"}),
        (lambda s, t: s.reply(t, "away", by=None), {"private": False, "sender": None}),
        (lambda s, t: s.echo(t, "hi"), {"content_attributes": {"external_echo": True}, "sender": None}),
    ],
    ids=["agent", "note", "automation", "echo"],
)
async def test_what_staff_writes_is_outgoing_and_tells_who_wrote(
    sandbox: ChatwootSandbox, listening: Listening, act: Callable[..., Message], told: dict[str, Any]
) -> None:
    sandbox.receive(PHONE.e164, "hello")
    (talk,) = sandbox.account.conversations.values()
    made = act(sandbox, talk)
    await sandbox.hooks.settled()
    (found,) = (one for one in listening.told if one["event"] == "message_created" and one["id"] == made.id)
    assert found["message_type"] == "outgoing"
    found["sender"] = found["sender"] and found["sender"]["type"]
    assert {name: found[name] for name in told} == told


async def test_a_tap_is_a_text_with_the_title_that_names_its_question(
    sandbox: ChatwootSandbox, listening: Listening
) -> None:
    talk = sandbox.account.receive(PHONE.e164, "hello")
    items = [{"title": "LinkedIn", "value": "linkedin"}]
    given = {"content": "Where?", "content_type": "input_select", "content_attributes": {"items": items}}
    question = sandbox.account.post(talk, given)
    sandbox.tap(PHONE.e164, "LinkedIn")
    sandbox.switches.quotes = False
    sandbox.tap(PHONE.e164, "LinkedIn")
    await sandbox.hooks.settled()
    quoting, bare = sorted((one for one in listening.told if one["event"] == "message_created"), key=lambda o: o["id"])
    assert quoting["content_attributes"] == {"in_reply_to": question.id, "in_reply_to_external_id": None}
    assert (quoting["content"], quoting["content_type"], bare["content_attributes"]) == ("LinkedIn", "text", {})


async def test_what_staff_changes_is_told_as_lists_of_changes(sandbox: ChatwootSandbox, listening: Listening) -> None:
    talk = sandbox.account.receive(PHONE.e164, "hello")
    sandbox.relabel(talk, ["vip"])
    sandbox.assign(talk, INES)
    await sandbox.hooks.settled()
    changes = [change for one in listening.told for change in one["changed_attributes"]]
    assert {"label_list": {"previous_value": [], "current_value": ["vip"]}} in changes
    assert {"assignee_id": {"previous_value": None, "current_value": INES.id}} in changes


async def test_an_update_that_changes_nothing_is_not_told(sandbox: ChatwootSandbox, listening: Listening) -> None:
    talk = sandbox.account.receive(PHONE.e164, "hello")
    sandbox.relabel(talk, [])
    sandbox.assign(talk, None)
    sandbox.set_status(talk, "open")
    await sandbox.hooks.settled()
    assert listening.told == []


async def test_a_failed_sending_is_told_afterwards(sandbox: ChatwootSandbox, listening: Listening) -> None:
    talk = sandbox.account.receive(PHONE.e164, "hello")
    sandbox.switches.unreached[PHONE.digits] = "131026: Message undeliverable"
    made = sandbox.reply(talk, "hello?")
    await sandbox.hooks.settled()
    assert made.status == "failed"
    updated = [one for one in listening.told if one["event"] == "message_updated"]
    assert [one["content_attributes"] for one in updated] == [{"external_error": "131026: Message undeliverable"}]


async def test_a_delivery_is_made_once_whatever_is_answered(sandbox: ChatwootSandbox, listening: Listening) -> None:
    listening.status = 500
    sandbox.receive(PHONE.e164, "hello")
    await sandbox.hooks.settled()
    assert len(listening.came) == 3
    assert {one.status for one in sandbox.hooks.deliveries} == {500}


async def test_a_delivery_without_an_answer_is_given_up(
    sandbox: ChatwootSandbox, listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.sandbox.chatwoot_hooks.TIMEOUT_S", 0.05)
    listening.after_s = 0.3
    sandbox.receive(PHONE.e164, "hello")
    await sandbox.hooks.settled()
    assert [one.status for one in sandbox.hooks.deliveries] == [None] * 3


async def test_deliveries_are_lost_shuffled_and_made_twice_as_told(
    sandbox: ChatwootSandbox, listening: Listening
) -> None:
    sandbox.hooks.trouble = Trouble(anew=0.3, again=0.3, lost=0.2, shuffled_s=0.05)
    made = [sandbox.receive(PHONE.e164, f"text {n}").id for n in range(60)]
    await sandbox.hooks.settled()
    told = [one["id"] for one in listening.told if one["event"] == "message_created"]
    ids = Counter(one.headers["X-Chatwoot-Delivery"] for one in listening.came)
    assert told != sorted(told)
    assert len(set(told)) < len(made) < len(told)
    assert max(ids.values()) == 2
    assert len(ids) > len(set(told))


async def test_the_next_deliveries_can_be_lost(sandbox: ChatwootSandbox, listening: Listening) -> None:
    sandbox.receive(PHONE.e164, "hello")
    sandbox.hooks.trouble.lose = 2
    for text in ("lost", "lost too", "here"):
        sandbox.receive(PHONE.e164, text)
    await sandbox.hooks.settled()
    assert {one["content"] for one in listening.told if one["event"] == "message_created"} == {"hello", "here"}


async def test_bodies_of_other_versions_differ_as_they_did(sandbox: ChatwootSandbox, listening: Listening) -> None:
    variants = sandbox.switches.variants
    variants.no_account = variants.utc_times = variants.text_ids = variants.foreign_last = variants.rootless = True
    first = sandbox.receive(PHONE.e164, "hello")
    made = sandbox.receive(PHONE.e164, files=[VOICE])
    await sandbox.hooks.settled()
    (told,) = (one for one in listening.told if one["id"] == str(made.id))
    assert "account" not in told
    assert "account" not in told["conversation"]
    assert told["created_at"].endswith(" UTC")
    assert told["conversation"]["messages"][0]["id"] == first.id
    assert told["attachments"][0]["data_url"].startswith("http:///rails/")
    (event,) = SOURCE.parse(Webhook(CIMultiDict(), b"", ""), told, datetime.now(UTC))
    assert event.type == "message.received"


async def test_a_contact_without_a_phone_has_whatsapps_user_id(sandbox: ChatwootSandbox, listening: Listening) -> None:
    sandbox.receive(BSUID, "hello", name="Wave")
    await sandbox.hooks.settled()
    (told,) = (one for one in listening.told if one["event"] == "message_created")
    assert told["sender"]["phone_number"] is None
    assert told["conversation"]["contact_inbox"]["source_id"] == BSUID


async def test_a_file_is_behind_a_redirect_and_may_come_late(sandbox: ChatwootSandbox, listening: Listening) -> None:
    sandbox.files.switches.late = 1
    sandbox.receive(PHONE.e164, files=[VOICE])
    await sandbox.hooks.settled()
    (told,) = (one for one in listening.told if one["event"] == "message_created")
    (file,) = told["attachments"]
    assert (told["content"], told["content_type"], file["file_type"]) == (None, "text", "audio")
    async with ClientSession() as session:
        statuses = []
        for _ in range(2):
            async with session.get(file["data_url"]) as answer:
                statuses.append(answer.status)
                body = await answer.read()
        assert statuses == [404, 200]
        assert (body, len(answer.history), file["file_size"]) == (VOICE[2], 1, len(VOICE[2]))
        sandbox.files.switches.target = "http://169.254.169.254/latest"
        async with session.get(file["data_url"], allow_redirects=False) as answer:
            assert answer.headers["Location"] == "http://169.254.169.254/latest"
