"""What the simulator of Chatwoot answers to calls that go wrong, or that our adapters do not make: as Chatwoot does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple

import pytest
from aiohttp import ClientSession

from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import Conversation
from daemon.sandbox.chatwoot_api import BASE
from daemon.sandbox.chatwoot_contacts import MOST_SEARCHES
from daemon.sandbox.chatwoot_staff import Inbox
from tests.support.sending import PHONE

EVENTS: Final = ["message_created"]
URL: Final = "https://ferry.example.test/webhooks/chatwoot"


class Answer(NamedTuple):
    status: int
    body: Any


class Caller:
    """Calls the simulator, with the header as nginx passes it on, or as Chatwoot's pages spell it."""

    def __init__(self, sandbox: ChatwootSandbox, session: ClientSession) -> None:
        self.sandbox, self.session = sandbox, session
        self.headers = {"api_access_token": sandbox.token}

    async def __call__(self, method: str, path: str, body: Any = None, **params: str) -> Answer:
        url = self.sandbox.url + (path if path.startswith("/api") else BASE + path)
        async with self.session.request(method, url, json=body, params=params, headers=self.headers) as answer:
            is_json = answer.content_type == "application/json"
            return Answer(answer.status, await answer.json() if is_json else await answer.text())


@pytest.fixture
async def sandbox() -> AsyncIterator[ChatwootSandbox]:
    async with ChatwootSandbox() as running:
        running.switches.role = "administrator"
        yield running
        running.requests.clear()  # they are wrong on purpose


@pytest.fixture
async def call(sandbox: ChatwootSandbox) -> AsyncIterator[Caller]:
    async with ClientSession() as session:
        yield Caller(sandbox, session)


@pytest.fixture
def talk(sandbox: ChatwootSandbox) -> Conversation:
    return sandbox.account.receive(PHONE.e164, "hello")


async def test_a_search_finds_parts_and_says_whether_there_is_more(call: Caller) -> None:
    for n in range(20):
        await call.sandbox.account.make_contact({"phone_number": f"+97250555{n:04d}", "name": f"Noa {n}"})
    first, second = (
        await call("GET", "/contacts/search", q="noa"),
        await call("GET", "/contacts/search", q="noa", page="2"),
    )
    assert first.body["meta"] == {"count": 15, "current_page": 1, "has_more": True}
    assert second.body["meta"] == {"count": 5, "current_page": 2, "has_more": False}
    assert len((await call("GET", "/contacts/search", q="+97250555001_")).body["payload"]) == 10
    assert (await call("GET", "/contacts/search", q=" ")).body["payload"] == []


async def test_too_many_searches_are_refused_in_plain_text(call: Caller) -> None:
    found = [await call("GET", "/contacts/search", q="x") for _ in range(2 * MOST_SEARCHES + 1)]
    assert (429, "Retry later\n") in found  # in one of the two minutes that they may fall in


async def test_a_merged_contact_is_gone_and_its_conversations_are_the_other_ones(
    call: Caller, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    base = await sandbox.account.make_contact({"name": "Noor", "email": "noor@example.test"})
    mergee = talk.contact.id
    merged = await call("POST", "/actions/contact_merge", {"base_contact_id": base.id, "mergee_contact_id": mergee})
    assert (merged.body["name"], merged.body["phone_number"]) == ("Noor", PHONE.e164)
    assert talk.contact is base
    assert (await call("GET", f"/contacts/{mergee}/conversations")).status == 404


async def test_what_is_not_valid_is_told_in_the_owners_language_and_by_its_attributes(
    call: Caller, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    given = {"phone_number": PHONE.e164, "inbox_id": 12}
    plain = await call("POST", "/contacts", given)
    sandbox.switches.localised = True
    other = await call("POST", "/contacts", given)
    assert (
        (plain.status, plain.body["attributes"]) == (other.status, other.body["attributes"]) == (422, ["phone_number"])
    )
    assert plain.body["message"] == "Phone number has already been taken" != other.body["message"]


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        ("agent", "/webhooks", 401),
        ("bot", "/webhooks", 401),
        ("bot", "/inboxes", 401),
        ("bot", "/api/v1/profile", 401),
        ("agent", "/inboxes", 200),
        ("administrator", "/webhooks", 200),
    ],
)
async def test_a_role_that_is_missing_is_401(call: Caller, role: str, path: str, status: int) -> None:
    call.sandbox.switches.role = role
    assert (await call("GET", path)).status == status


async def test_an_agent_sees_the_inboxes_that_it_belongs_to(call: Caller, sandbox: ChatwootSandbox) -> None:
    sandbox.account.inboxes[13] = Inbox(id=13, name="Site", channel_type="Channel::WebWidget", members=set())
    seen = {}
    for role in ("administrator", "agent", "outsider"):
        sandbox.switches.role = role
        seen[role] = [one["id"] for one in (await call("GET", "/inboxes")).body["payload"]]
    assert seen == {"administrator": [12, 13], "agent": [12], "outsider": []}


async def test_a_message_that_came_from_the_channel_is_not_sent_to_it(
    call: Caller, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    path = f"/conversations/{talk.id}/messages"
    sandbox.switches.unreached[PHONE.digits] = "131026: Message undeliverable"
    kept = await call("POST", path, {"content": "hi", "source_id": "wamid.OWN", "echo_id": "e1"})
    assert (kept.body["source_id"], kept.body["echo_id"]) == ("wamid.OWN", "e1")
    assert talk.messages[-1].status == "sent"
    assert (await call("POST", path, {"content": "hi", "message_type": "incoming"})).status == 422


@pytest.mark.parametrize(("evaluated", "text"), [(True, "Hi Noor"), (False, "Hi {{contact.name}}")])
async def test_outgoing_text_is_a_template_where_that_is_on(
    call: Caller, sandbox: ChatwootSandbox, talk: Conversation, evaluated: bool, text: str
) -> None:
    talk.contact.name, sandbox.account.liquid = "Noor", evaluated
    posted = await call("POST", f"/conversations/{talk.id}/messages", {"content": "Hi {{contact.name}}"})
    assert posted.body["content"] == text


@pytest.mark.parametrize(
    ("given", "attribute"),
    [
        ({"url": URL, "subscriptions": EVENTS}, "url"),
        ({"url": "ferry", "subscriptions": EVENTS}, "url"),
        ({"url": f"{URL}/2", "subscriptions": []}, "subscriptions"),
        ({"url": f"{URL}/2", "subscriptions": ["message_deleted"]}, "subscriptions"),
    ],
    ids=["taken", "no address", "none", "unknown"],
)
async def test_a_webhook_that_is_not_valid_is_refused(call: Caller, given: dict[str, Any], attribute: str) -> None:
    made = await call("POST", "/webhooks", {"webhook": {"url": URL, "subscriptions": EVENTS}})
    assert len(made.body["payload"]["webhook"]["secret"]) == 24
    refused = await call("POST", "/webhooks", given)
    assert (refused.status, refused.body["attributes"]) == (422, [attribute])


async def test_a_webhook_that_is_deleted_is_called_no_more(call: Caller, sandbox: ChatwootSandbox) -> None:
    made = sandbox.hooks.subscribe(URL, EVENTS)
    assert (await call("DELETE", f"/webhooks/{made.id}")).status == 200
    assert (await call("DELETE", f"/webhooks/{made.id}")).status == 404
    sandbox.receive(PHONE.e164, "hello")
    assert sandbox.hooks.deliveries == []


@pytest.mark.parametrize("key", ["email", "lead score", "lead_score"])
async def test_a_definition_that_cannot_be_is_refused(call: Caller, key: str) -> None:
    given = {"attribute_display_name": "x", "attribute_display_type": 1, "attribute_model": 1}
    assert (await call("POST", "/custom_attribute_definitions", given | {"attribute_key": "lead_score"})).status == 200
    refused = await call("POST", "/custom_attribute_definitions", given | {"attribute_key": key})
    assert (refused.status, refused.body["attributes"]) == (422, ["attribute_key"])


async def test_parallel_creations_make_twins_by_phone_and_lose_a_race_by_identifier(
    sandbox: ChatwootSandbox, call: Caller
) -> None:

    sandbox.account.insert_delay_s = 0.05
    twins = await asyncio.gather(*(call("POST", "/contacts", {"phone_number": PHONE.e164}) for _ in range(2)))
    assert [one.status for one in twins] == [200, 200]
    raced = await asyncio.gather(*(call("POST", "/contacts", {"identifier": "wa:1"}) for _ in range(2)))
    assert sorted(one.status for one in raced) == [200, 500]
