"""What Ferryman asks of Chatwoot, against the description of its API that Chatwoot publishes, as of v4.16.2: every
method of its adapters is called here (`SCENARIO`), and `conftest.py` holds the requests of all contract tests to it.
Where the description is not at hand (tests/support/chatwoot_openapi.py) the tests are skipped.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, Final

import pytest
from aiohttp import ClientSession

import adapters.chatwoot
from adapters.chatwoot import probe
from adapters.chatwoot.history import ChatwootHistory
from adapters.chatwoot.setup import ChatwootSetup, Definition
from adapters.http import open_session
from adapters.ports import FetchedFile
from daemon.operator.chatwoot_webhook import EVENTS
from daemon.sandbox.chatwoot import ChatwootSandbox, Requested
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, INBOX_ID, Conversation
from schemas.messages import Choice, Choices, Media, Template
from schemas.phone import Phone
from tests.support import chatwoot_openapi
from tests.support.chatwoot_openapi import DEVIATIONS, PREFIX, of_request
from tests.support.chatwoot_sending import CONFIRMATION, TEMPLATES, TEXT, FakeFiles, sender_on, to, unclaimed
from tests.support.crm import crm_on
from tests.support.gates import gate_on
from tests.support.sending import PHONE

EPOCH: Final = datetime(2020, 1, 1, tzinfo=UTC)
FILE: Final = FetchedFile("visa.pdf", "application/pdf", b"%PDF-1.7")
CONTENTS: Final = (
    TEXT,
    Choices("Keep?", (Choice("Yes", "y"),)),
    Media("https://files.example.test/a.pdf", "document"),
    CONFIRMATION,
    Template("filed", "en_US", {"header": "https://files.example.test/a.pdf", "button_1": "x"}),
)
FILED: Final = {
    "name": "filed",
    "language": "en_US",
    "status": "APPROVED",
    "category": "UTILITY",
    "components": [
        {"type": "HEADER", "format": "DOCUMENT"},
        {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY"}, {"type": "URL", "url": "https://a.example/{{1}}"}]},
    ],
}
NOTES: Final = 25
"""More than Chatwoot gives in one answer."""

WITHIN: Final = frozenset(
    {"client.ChatwootCalls", "recipients.Recipients", "template_list.TemplateList", "marks.marked"}
)
"""What the others ask by."""


class World:
    """A Chatwoot in which PHONE has written, and everything that asks it something."""

    def __init__(self, sandbox: ChatwootSandbox, session: ClientSession) -> None:
        self.sandbox, self.session = sandbox, session
        self.talk: Conversation = sandbox.account.receive(PHONE.e164, "hello")
        self.sender = sender_on(sandbox, session, files=FakeFiles(FILE))
        self.crm = crm_on(sandbox, session)
        values = {"url": sandbox.url, "api_access_token": sandbox.token, "account_id": str(ACCOUNT_ID)}
        self.history = ChatwootHistory(gate_on(session), account=lambda: values)
        self.setup = ChatwootSetup(session, url=sandbox.url, token=sandbox.token, account_id=str(ACCOUNT_ID))

    async def send(self) -> None:
        """To people in each state: one with a conversation, one with a contact alone, and one who is not known."""
        for content in CONTENTS:
            await self.sender.send(to(PHONE, content), unclaimed)
        await self.sandbox.account.make_contact({"phone_number": "+46701740606"})
        for phone in ("+46701740605", "+46701740606"):
            await self.sender.send(to(Phone(phone), CONFIRMATION), unclaimed)

    async def look_for(self) -> None:
        for _ in range(NOTES):
            self.sandbox.account.post(self.talk, {"content": "a note", "private": True})
        for phone in (PHONE, Phone("+46701740607")):
            await self.sender.look_for(to(phone), EPOCH)

    async def messages(self) -> None:
        (talk,) = await self.history.changed(600, 0)
        assert [page async for page in self.history.messages(talk, 0, datetime.now(UTC))]

    async def latest(self) -> None:
        (talk,) = await self.history.changed(600, 0)
        assert [page async for page in self.history.latest(talk, EPOCH, datetime.now(UTC))]

    async def change_webhook(self) -> None:
        made = self.sandbox.hooks.subscribe("https://former.example.test/webhooks/chatwoot")
        await self.setup.change_webhook(made.id, "https://ferry.example.test/webhooks/chatwoot", EVENTS)

    async def redefine(self) -> None:
        await self.setup.define(Definition("urgency", "Urgency", "list", ("low",)))
        (there,) = (one for one in await self.setup.definitions() if one.key == "urgency")
        await self.setup.redefine(there)

    async def probe(self) -> None:
        account = {"url": self.sandbox.url, "token": self.sandbox.token}
        await probe.look(self.session, account | {"account_id": str(ACCOUNT_ID), "inbox_id": str(INBOX_ID)})


SCENARIO: Final[Mapping[str, Callable[[World], Awaitable[object]]]] = {
    "sender.ChatwootSender.send": World.send,
    "sender.ChatwootSender.look_for": World.look_for,
    "crm.ChatwootCrm.place": lambda world: world.crm.place(Phone("+46701740608"), "Noa"),
    "crm.ChatwootCrm.labels": lambda world: world.crm.labels(world.talk.id),
    "crm.ChatwootCrm.put_labels": lambda world: world.crm.put_labels(world.talk.id, ["hot-lead", "a, b"]),
    "crm.ChatwootCrm.account_labels": lambda world: world.crm.account_labels(),
    "crm.ChatwootCrm.make_label": lambda world: world.crm.make_label("hot-lead", "#E53E3E", "Buys soon"),
    "crm.ChatwootCrm.put_contact_attributes": lambda world: world.crm.put_contact_attributes(
        world.talk.contact.id, {"lead_score": 80, "has_trade_in": True}
    ),
    "crm.ChatwootCrm.talk": lambda world: world.crm.talk(world.talk.id),
    "crm.ChatwootCrm.put_conversation_attributes": lambda world: world.crm.put_conversation_attributes(
        world.talk.id, {"stage": "new"}
    ),
    "crm.ChatwootCrm.open": lambda world: world.crm.open(world.talk.id),
    "crm.ChatwootCrm.note": lambda world: world.crm.note(world.talk.id, "asks for a person", "mark-1", EPOCH),
    "history.ChatwootHistory.newest": lambda world: world.history.newest(),
    "history.ChatwootHistory.changed": lambda world: world.history.changed(600, 0),
    "history.ChatwootHistory.messages": World.messages,
    "history.ChatwootHistory.latest": World.latest,
    "setup.ChatwootSetup.role": lambda world: world.setup.role(),
    "setup.ChatwootSetup.webhooks": lambda world: world.setup.webhooks(),
    "setup.ChatwootSetup.make_webhook": lambda world: world.setup.make_webhook(
        "https://made.example.test/webhooks/chatwoot", EVENTS, "Ferryman"
    ),
    "setup.ChatwootSetup.change_webhook": World.change_webhook,
    "setup.ChatwootSetup.definitions": lambda world: world.setup.definitions(),
    "setup.ChatwootSetup.define": lambda world: world.setup.define(Definition("lead_score", "Lead score", "number")),
    "setup.ChatwootSetup.redefine": World.redefine,
    "probe.look": World.probe,
}
"""Whatever asks Chatwoot something, by its name, and how it is called."""


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    found = chatwoot_openapi.document()
    if found is None:
        pytest.skip("Chatwoot's description of its API is not here")
    return found


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with ChatwootSandbox() as sandbox, open_session() as session:
        sandbox.switches.templates = [*TEMPLATES, FILED]
        sandbox.switches.role = "administrator"
        yield World(sandbox, session)


def asking() -> Iterator[str]:
    """The public coroutines of Chatwoot's adapters, by their names."""
    for module in pkgutil.iter_modules(adapters.chatwoot.__path__):
        found = import_module(f"adapters.chatwoot.{module.name}")
        for name, one in vars(found).items():
            if name.startswith("_") or getattr(one, "__module__", "") != found.__name__:
                continue
            if _asks(one):
                yield f"{module.name}.{name}"
            elif inspect.isclass(one):
                methods = (method for method, code in vars(one).items() if _asks(code))
                yield from (f"{module.name}.{name}.{method}" for method in methods if not method.startswith("_"))


def _asks(code: object) -> bool:
    return inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code)


def test_everything_that_asks_chatwoot_is_called_here() -> None:
    assert {name for name in asking() if not any(name.startswith(inner) for inner in WITHIN)} == SCENARIO.keys()


@pytest.mark.parametrize("name", SCENARIO)
async def test_every_request_is_as_chatwoot_describes_it(published: dict[str, Any], world: World, name: str) -> None:
    await SCENARIO[name](world)
    assert world.sandbox.requests
    assert chatwoot_openapi.faults(published, world.sandbox.requests) == []


MESSAGES: Final = "/api/v1/accounts/3/conversations/7/messages"


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        (Requested("POST", MESSAGES, {}, {"content": 7}), "content is no string"),
        (Requested("POST", MESSAGES, {}, {"content": "a", "private": "no"}), "private is no boolean"),
        (Requested("POST", MESSAGES, {}, {"content": "a", "marks": {}}), "marks is not described"),
        (Requested("POST", MESSAGES, {}, {"content_type": "text"}), "content is missing"),
        (Requested("POST", MESSAGES, {}, {"content": "a", "content_type": "buttons"}), "content_type is none of"),
        (Requested("POST", MESSAGES, {}, {"content": "a", "template_params": {"name": "x"}}), "is missing"),
        (Requested("POST", MESSAGES, {}, None), "it has no body"),
        (Requested("GET", MESSAGES, {"since": "7"}, None), "the parameter since is not described"),
        (Requested("GET", MESSAGES, {"after": "now"}, None), "after is no integer"),
        (Requested("DELETE", MESSAGES, {}, None), "it is not described"),
        (Requested("GET", "/api/v1/accounts/3/pigeons", {}, None), "it is not described"),
    ],
    ids=str,
)
def test_a_request_that_is_otherwise_is_noticed(published: dict[str, Any], asked: Requested, fault: str) -> None:
    assert any(fault in found for found in chatwoot_openapi.faults(published, [asked]))


@pytest.mark.parametrize("place", DEVIATIONS, ids=str)
def test_what_deviates_is_still_not_described(published: dict[str, Any], place: Any) -> None:
    """Else it is taken out of the table."""
    path = place.pattern.replace(PREFIX, "/api/v1/accounts/3").replace("{conversation_id}", "7")
    if place.method == "GET":
        asked = Requested("GET", path, {place.name: "1"}, None)
    else:
        asked = Requested(place.method, path, {}, {"custom_attributes": {}, place.name: True})
    assert any(place.name in fault for fault in of_request(published, asked, frozenset()))
    assert list(of_request(published, asked, frozenset(DEVIATIONS))) == []
