"""The simulator of Whapi posts what a channel posts, and the source reads it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from adapters.http import open_session
from adapters.ports import Webhook
from adapters.whapi.source import SOURCE as WHAPI
from daemon.sandbox.whapi import WhapiSandbox
from daemon.sandbox.whapi_messages import Outcome
from schemas.envelope import Event
from tests.support.until import until

DIGITS = "972505550142"
CHAT = f"{DIGITS}@s.whatsapp.net"
SECRETS = {"whapi_webhook_secret": ("whisper-0d41-0d41",)}
NOW = datetime(2031, 2, 14, 9, 30, tzinfo=UTC)


class Callback:
    """Where the webhook goes. *refuse*: how many bodies are answered 503 first."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.refuse = 0

    async def take(self, request: web.Request) -> web.Response:
        if self.refuse:
            self.refuse -= 1
            return web.Response(status=503)
        webhook = Webhook(request.headers, await request.read(), "")
        assert WHAPI.verify(webhook, SECRETS)
        self.events += WHAPI.parse(webhook, WHAPI.decode(webhook.body), NOW)
        return web.Response(status=202)

    @property
    def told(self) -> list[Any]:
        return [event.json()["status"] for event in self.events if event.type == "delivery.updated"]


@pytest.fixture
async def callback() -> AsyncIterator[tuple[str, Callback]]:
    made = Callback()
    app = web.Application()
    app.router.add_post("/webhooks/whapi", made.take)
    async with TestServer(app) as server:
        yield str(server.make_url("/webhooks/whapi")), made


@pytest.fixture
async def sandbox(callback: tuple[str, Callback]) -> AsyncIterator[WhapiSandbox]:
    async with WhapiSandbox(callback_url=callback[0], callback_secret="whisper-0d41-0d41") as running:
        running.switches.delay_s = 0.0
        yield running


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


async def ask(
    http: ClientSession, sandbox: WhapiSandbox, method: str, path: str, body: Any = None
) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    async with http.request(method, sandbox.url + path, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        ("delivered", ["sent", "sent", "sent", "delivered"]),
        ("read", ["sent", "sent", "sent", "read"]),
        ("played", ["sent", "sent", "delivered", "read", "played"]),
        ("failed", ["sent", "sent", "sent", "failed"]),
        ("duplicate", ["sent", "sent", "sent", "delivered", "delivered"]),
        ("out_of_order", ["sent", "read", "delivered", "sent"]),
        ("batch", ["sent", "sent", "delivered", "read"]),
    ],
)
async def test_a_message_comes_back_and_then_its_statuses(
    http: ClientSession, sandbox: WhapiSandbox, callback: tuple[str, Callback], outcome: Outcome, told: list[str]
) -> None:
    """The first is the message itself, the second of them Whapi's `pending`."""
    sandbox.switches.outcomes[DIGITS] = outcome
    callback[1].refuse = 1
    status, answer = await ask(http, sandbox, "POST", "/messages/text", {"to": CHAT, "body": "hello"})
    assert (status, answer["sent"], answer["message"]["status"]) == (200, True, "pending")
    await until(lambda: len(callback[1].told) == len(told))
    assert callback[1].told == told
    assert {event.json()["message_id"] for event in callback[1].events} == {answer["message"]["id"]}
    assert {event.subject for event in callback[1].events} == {f"+{DIGITS}"}


async def test_a_message_of_which_nothing_is_told_is_in_the_list_of_its_chat(
    http: ClientSession, sandbox: WhapiSandbox, callback: tuple[str, Callback]
) -> None:
    sandbox.switches.outcome = "drop"
    _, answer = await ask(http, sandbox, "POST", "/messages/text", {"to": DIGITS, "body": "hello"})
    _, listed = await ask(http, sandbox, "GET", f"/messages/list/{CHAT}?from_me=true")
    assert [one["id"] for one in listed["messages"]] == [answer["message"]["id"]]
    assert await sandbox.messages.receive(CHAT, "hi") == 202
    (event,) = callback[1].events
    assert (event.type, event.json()["text"]) == ("message.received", "hi")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("text", {"to": f"+{DIGITS}", "body": "hello"}),
        ("text", {"to": "", "body": "hello"}),
        ("text", {"body": "hello"}),
        ("text", {"to": CHAT, "body": ""}),
        ("text", [CHAT]),
        ("image", {"to": CHAT, "caption": "no file"}),
        ("interactive", {"to": CHAT, "type": "button", "body": {"text": "x"}, "action": {"buttons": []}}),
        (
            "interactive",
            {"to": CHAT, "type": "button", "body": {"text": "x"}, "action": {"buttons": [{"type": "reply"}]}},
        ),
        ("interactive", {"to": CHAT, "type": "list", "body": {"text": "x"}, "action": {"sections": []}}),
    ],
    ids=str,
)
async def test_a_body_that_whapi_would_refuse_is_refused(
    http: ClientSession, sandbox: WhapiSandbox, path: str, body: Any
) -> None:
    status, answer = await ask(http, sandbox, "POST", f"/messages/{path}", body)
    assert (status, answer["error"]["code"]) == (400, 400)
    assert sandbox.messages.taken == []


async def test_a_number_that_is_not_on_whatsapp_has_no_chat(http: ClientSession, sandbox: WhapiSandbox) -> None:
    sandbox.switches.no_whatsapp = [DIGITS]
    status, answer = await ask(http, sandbox, "POST", "/messages/text", {"to": CHAT, "body": "hello"})
    assert (status, answer["error"]["message"]) == (404, "Specified chat not found")
