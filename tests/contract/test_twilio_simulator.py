"""The simulator of Twilio tells how a message stands as Twilio does; its own package is the judge of the signatures."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final
from urllib.parse import parse_qsl
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from multidict import MultiDict
from twilio.request_validator import RequestValidator

from adapters.http import open_session
from adapters.ports import Webhook
from adapters.registry import SENDERS
from adapters.twilio.source import SOURCE
from daemon.sandbox.twilio import WINDOW_S, TwilioSandbox
from schemas.envelope import Event
from schemas.messages import Content, OutboundMessage, Template, Text
from schemas.phone import Phone
from tests.support.gates import gate_on
from tests.support.made_up_files import NO_FILES
from tests.support.until import until

PERSON: Final = Phone("+972505550142")
NOW: Final = datetime(2031, 2, 14, 9, 30, tzinfo=UTC)
SID: Final = "HX" + "0a" * 16


@dataclass
class Ears:
    """What listens where the statuses go, and the events that they make."""

    sandbox: TwilioSandbox
    public_url: str = ""
    events: list[Event] = field(default_factory=list)

    async def hear(self, request: web.Request) -> web.Response:
        url, body = f"{self.public_url}{request.path_qs}", await request.read()
        seen = Webhook(request.headers, body, url)
        secrets = {"twilio_auth_token": (self.sandbox.token,)}
        assert SOURCE.verify(seen, secrets)
        params = body.decode() if "bodySHA256" in request.query else MultiDict(parse_qsl(body.decode()))
        judge = RequestValidator(self.sandbox.token)
        assert judge.validate(url, params, request.headers["X-Twilio-Signature"])
        self.events += SOURCE.parse(seen, SOURCE.decode(body), NOW)
        return web.Response(status=204)

    async def send(self, content: Content) -> OutboundMessage:
        message = OutboundMessage(id=uuid4(), to=PERSON, content=content)

        async def claim() -> None:
            return None

        async with open_session() as session:
            sender = SENDERS["twilio"]()(
                gate_on(session),
                account=lambda: self.sandbox.account,
                public_url=self.public_url,
                files=NO_FILES,
            )
            await sender.send(message, claim)
        return message

    def told(self, end: tuple[str, str | None]) -> bool:
        return end in self.statuses

    @property
    def statuses(self) -> list[tuple[str, str | None]]:
        told = [event.json() for event in self.events]
        return [(one["status"], one["error_code"]) for one in told]


@pytest.fixture
async def ears() -> AsyncIterator[Ears]:
    async with TwilioSandbox() as sandbox:
        made = Ears(sandbox)
        app = web.Application()
        app.router.add_post(SOURCE.path, made.hear)
        async with TestServer(app) as server:
            made.public_url = str(server.make_url("")).rstrip("/")
            yield made


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        ("delivered", [("sent", None), ("delivered", None)]),
        ("read", [("sent", None), ("delivered", None), ("read", None)]),
        ("skipped", [("sent", None), ("read", None)]),
        ("out_of_order", [("delivered", None), ("sent", None)]),
        ("duplicate", [("sent", None), ("sent", None), ("delivered", None), ("delivered", None)]),
        ("63024", [("failed", "63024")]),
    ],
)
@pytest.mark.parametrize("json", [False, True], ids=["form", "json"])
async def test_statuses_come_signed_with_our_id_in_the_order_of_the_outcome(
    ears: Ears, outcome: str, told: list[tuple[str, str | None]], json: bool
) -> None:
    ears.sandbox.switches.outcomes[PERSON.e164] = outcome
    ears.sandbox.switches.json = json
    message = await ears.send(Text("hello"))
    await until(lambda: len(ears.events) >= len(told))
    assert ears.statuses == told
    assert {event.json()["our_id"] for event in ears.events} == {str(message.id)}
    assert {event.json()["message_id"] for event in ears.events} == {ears.sandbox.made[0].sid}
    assert {event.subject for event in ears.events} == {PERSON.e164}


async def test_of_a_dropped_message_nothing_more_is_heard(ears: Ears) -> None:
    ears.sandbox.switches.outcomes[PERSON.e164] = "drop"
    dropped = await ears.send(Text("hello"))
    ears.sandbox.switches.outcomes.clear()
    heard = await ears.send(Text("hello"))
    await until(lambda: len(ears.events) == 2)
    assert {event.json()["our_id"] for event in ears.events} == {str(heard.id)}
    assert ears.sandbox.sends(str(dropped.id)) == 1


async def test_free_text_outside_the_window_is_taken_and_then_undelivered(ears: Ears) -> None:
    switches = ears.sandbox.switches
    switches.window = True
    for inbound_at, content, end in (
        (None, Text("hello"), ("failed", "63016")),
        (time.time() - WINDOW_S - 1, Text("hello"), ("failed", "63016")),
        (time.time() - WINDOW_S + 60, Text("hello"), ("delivered", None)),
        (None, Template(SID), ("delivered", None)),
    ):
        ears.events.clear()
        switches.inbound_at = {} if inbound_at is None else {PERSON.e164: inbound_at}
        await ears.send(content)
        await until(partial(ears.told, end))
    assert len(ears.sandbox.made) == 4
