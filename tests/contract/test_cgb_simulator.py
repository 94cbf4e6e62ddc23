"""The CGB simulator answers as the running service was seen to answer, and goes wrong as it is told to."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientSession, web
from aiohttp.test_utils import TestServer

from daemon.sandbox.cgb import CgbSandbox
from tests.support.until import until

DIGITS = "972505550142"
NEW = {"phone": DIGITS, "first_name": "Noa Example", "last_name": ""}


@pytest.fixture
async def sandbox() -> AsyncIterator[CgbSandbox]:
    async with CgbSandbox("live") as running:
        running.switches.status_delay_s = 0.0
        yield running


@pytest.fixture
async def http(sandbox: CgbSandbox) -> AsyncIterator[ClientSession]:
    async with ClientSession(headers={"X-ACCESS-TOKEN": sandbox.token}) as session:
        yield session


async def ask(http: ClientSession, sandbox: CgbSandbox, method: str, path: str, **how: Any) -> tuple[int, Any]:
    async with http.request(method, sandbox.url + path, **how) as answer:
        return answer.status, await answer.json()


async def test_bearer_is_refused(sandbox: CgbSandbox) -> None:
    async with ClientSession(headers={"Authorization": f"Bearer {sandbox.token}"}) as http:
        status, _ = await ask(http, sandbox, "GET", "/accounts/me")
    assert status == 401


async def test_an_unknown_contact_is_a_ghost(http: ClientSession, sandbox: CgbSandbox) -> None:
    status, ghost = await ask(http, sandbox, "GET", f"/contacts/{DIGITS}")
    assert (status, ghost["phone"], ghost["first_name"]) == (200, "", "")
    sandbox.switches.ghost = "404"
    assert (await ask(http, sandbox, "GET", f"/contacts/{DIGITS}"))[0] == 404


async def test_the_id_is_the_digits_and_other_digits_are_another_contact(
    http: ClientSession, sandbox: CgbSandbox
) -> None:
    for phone in (f"+{DIGITS}", DIGITS, "9720505550142"):
        await ask(http, sandbox, "POST", "/contacts", json={**NEW, "phone": phone})
    assert sandbox.ledger.contacts_made() == [DIGITS, "9720505550142"]
    assert sandbox.ledger.creates_by_contact() == {DIGITS: 2, "9720505550142": 1}


async def test_a_second_creation_runs_its_actions_or_is_refused(http: ClientSession, sandbox: CgbSandbox) -> None:
    actions = [{"action": "set_field_value", "field_name": "OrderNumber", "value": "IL2"}]
    again = {**NEW, "first_name": "Other", "actions": actions}
    assert await ask(http, sandbox, "POST", "/contacts", json=NEW) == (200, {"success": True, "data": {"id": DIGITS}})
    await ask(http, sandbox, "POST", "/contacts", json=again)
    contact = sandbox.account.contacts[DIGITS]
    assert (contact.first_name, contact.values) == ("Noa Example", {"OrderNumber": "IL2"})
    sandbox.switches.second_post = "refuse"
    status, refusal = await ask(http, sandbox, "POST", "/contacts", json=again)
    assert (status, refusal["success"]) == (200, False)
    assert not sandbox.ledger.entries[-1].performed


async def test_the_search_is_exact(http: ClientSession, sandbox: CgbSandbox) -> None:
    await ask(http, sandbox, "POST", "/contacts", json={**NEW, "email": "noa@example.com"})
    found = []
    for field_id, value in (
        ("phone", DIGITS),
        ("phone", f"+{DIGITS}"),
        ("email", "noa@example.com"),
        ("459752", "IL1"),
    ):
        query = {"field_id": field_id, "value": value}
        _, answer = await ask(http, sandbox, "GET", "/contacts/find_by_custom_field", params=query)
        found.append(len(answer["data"]))
    assert found == [1, 0, 1, 0]


async def test_a_field_is_written_by_id_as_a_form_only(http: ClientSession, sandbox: CgbSandbox) -> None:
    await ask(http, sandbox, "POST", "/contacts", json=NEW)
    path = f"/contacts/{DIGITS}/custom_fields/949873"
    assert "error" in (await ask(http, sandbox, "POST", path, json={"value": "2"}))[1]
    assert (await ask(http, sandbox, "POST", path, data={"value": "2"})) == (200, {"success": True})
    _, values = await ask(http, sandbox, "GET", f"/contacts/{DIGITS}/custom_fields")
    assert values == [{"id": 949873, "name": "visa_quantity", "type": 1, "value": 2}]


async def test_an_unknown_field_name_is_ignored_or_refused(http: ClientSession, sandbox: CgbSandbox) -> None:
    actions = [{"action": "set_field_value", "field_name": "nope", "value": "1"}]
    await ask(http, sandbox, "POST", "/contacts", json=NEW)
    content = {"messages": [], "actions": actions}
    answers = [(await ask(http, sandbox, "POST", f"/contacts/{DIGITS}/send_content", json=content))[1]]
    sandbox.switches.unknown_field = "error"
    answers.append((await ask(http, sandbox, "POST", f"/contacts/{DIGITS}/send_content", json=content))[1])
    assert [a["success"] for a in answers] == [True, False]
    assert sandbox.account.contacts[DIGITS].values == {}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", f"/contacts/{DIGITS}"),
        ("PATCH", f"/contacts/{DIGITS}"),
        ("GET", "/health"),
        ("GET", f"/whatsapp/validate/{DIGITS}"),
    ],
)
async def test_what_the_service_has_not_is_404(
    http: ClientSession, sandbox: CgbSandbox, method: str, path: str
) -> None:
    assert (await ask(http, sandbox, method, path, json={}))[0] == 404


@pytest.mark.parametrize("form", ["429", "200"])
async def test_the_rolling_limit_refuses_in_either_form_and_forgets(
    http: ClientSession, sandbox: CgbSandbox, form: Any
) -> None:
    sandbox.switches.limit, sandbox.switches.limit_window_s = 3, 0.3
    sandbox.switches.limit_form, sandbox.switches.limit_retry_after = form, "1"
    answers = [await ask(http, sandbox, "GET", "/accounts/me") for _ in range(4)]
    assert [status for status, _ in answers] == [200, 200, 200, int(form)]
    assert answers[-1][1]["error"]["code"] == 429

    async def answered() -> bool:
        return "error" not in (await ask(http, sandbox, "GET", "/accounts/me"))[1]

    await until(answered, every_s=0.05)


async def test_a_flow_right_after_a_write_reads_the_old_values(http: ClientSession, sandbox: CgbSandbox) -> None:
    value = {"action": "set_field_value", "field_name": "OrderNumber", "value": "IL1"}
    flow = {"action": "send_flow", "flow_id": 500123}
    await ask(http, sandbox, "POST", "/contacts", json={**NEW, "actions": [value, flow]})
    sandbox.switches.lag_s = 0.0
    await ask(http, sandbox, "POST", f"/contacts/{DIGITS}/send/500123")
    assert [run["values"] for run in sandbox.account.flow_runs] == [{}, {"OrderNumber": "IL1"}]


async def test_faults_are_limited_by_count_method_path_contact_and_window(
    http: ClientSession, sandbox: CgbSandbox
) -> None:
    sandbox.faults.add("error", times=1, method="GET", path="/contacts/", contact=DIGITS, status=418)
    sandbox.faults.add("error", after_s=3600, status=419)
    sandbox.faults.add("error", for_s=0.0, status=420)
    asked = [f"/contacts/{DIGITS[:-1]}", "/accounts/me", f"/contacts/{DIGITS}", f"/contacts/{DIGITS}"]
    assert [(await ask(http, sandbox, "GET", path))[0] for path in asked] == [200, 200, 418, 200]


class Callback:
    """Where Meta's webhooks would go."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.signatures: list[str] = []

    async def take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        self.signatures.append(request.headers.get("X-Hub-Signature-256", ""))
        return web.Response()

    @property
    def statuses(self) -> list[dict[str, Any]]:
        changes = [json.loads(body)["entry"][0]["changes"][0] for body in self.bodies]
        return [status for change in changes for status in change["value"]["statuses"]]


@pytest.fixture
async def callback(sandbox: CgbSandbox) -> AsyncIterator[Callback]:
    made = Callback()
    app = web.Application()
    app.router.add_post("/webhooks/meta", made.take)
    async with TestServer(app) as server:
        sandbox.statuses.url = str(server.make_url("/webhooks/meta"))
        sandbox.statuses.secret = "app-secret"
        yield made


TEMPLATE = {
    "messages": [{"messaging_product": "whatsapp", "type": "template", "template": {"name": "hello"}}],
}


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        ("delivered", ["sent", "delivered"]),
        ("read", ["sent", "delivered", "read"]),
        ("duplicate", ["sent", "sent", "delivered", "delivered"]),
        ("out_of_order", ["delivered", "sent"]),
        ("131026", ["failed"]),
        ("131047", ["failed"]),
        ("132000", ["failed"]),
    ],
)
async def test_a_template_gets_the_statuses_of_its_outcome_signed_as_meta_signs(
    http: ClientSession, sandbox: CgbSandbox, callback: Callback, outcome: str, statuses: list[str]
) -> None:
    sandbox.switches.outcome = outcome
    sandbox.account.make(DIGITS)
    answer = await ask(http, sandbox, "POST", f"/contacts/{DIGITS}/send_content", json=TEMPLATE)
    assert answer == (200, {"success": True})
    await until(lambda: len(callback.statuses) >= len(statuses))
    assert [s["status"] for s in callback.statuses] == statuses
    assert {s["biz_opaque_callback_data"] for s in callback.statuses} == {f'{{"c":"{DIGITS}"}}'}
    if outcome.isdigit():
        assert callback.statuses[0]["errors"][0]["code"] == int(outcome)
    digest = hmac.new(b"app-secret", callback.bodies[0], hashlib.sha256).hexdigest()
    assert callback.signatures[0] == f"sha256={digest}"


async def test_content_without_messages_key_is_refused(http: ClientSession, sandbox: CgbSandbox) -> None:
    sandbox.account.make(DIGITS)
    status, answer = await ask(http, sandbox, "POST", f"/contacts/{DIGITS}/send_content", json={"actions": []})
    assert (status, answer["success"]) == (200, False)


async def test_free_text_is_delivered_only_inside_the_window(
    http: ClientSession, sandbox: CgbSandbox, callback: Callback
) -> None:
    sandbox.account.make(DIGITS)
    text = {"text": "hello", "channel": "whatsapp"}
    path = f"/contacts/{DIGITS}/send/text"
    assert (await ask(http, sandbox, "POST", path, json=text))[1] == {"success": True}
    async with http.post(f"{sandbox.root}/_sandbox/inbound", json={"phone": f"+{DIGITS}"}) as answer:
        assert answer.status == 200
    assert (await ask(http, sandbox, "POST", path, json=text))[1] == {"success": True}
    assert [m["outcome"] for m in sandbox.statuses.accepted] == ["drop", "delivered"]
    await until(lambda: len(callback.statuses) == 2)
    assert {s["id"] for s in callback.statuses} == {sandbox.statuses.accepted[1]["wamid"]}


async def test_a_dropped_outcome_sends_nothing(http: ClientSession, sandbox: CgbSandbox, callback: Callback) -> None:
    sandbox.account.make(DIGITS)
    sandbox.switches.outcomes = {DIGITS: "drop"}
    await ask(http, sandbox, "POST", f"/contacts/{DIGITS}/send_content", json=TEMPLATE)
    sandbox.switches.outcomes = {}
    await ask(http, sandbox, "POST", f"/contacts/{DIGITS}/send_content", json=TEMPLATE)
    await until(lambda: len(callback.statuses) == 2)
    assert {s["id"] for s in callback.statuses} == {sandbox.statuses.accepted[1]["wamid"]}


async def test_an_answer_is_short_or_long_or_whatever_it_is_told_to_be(
    http: ClientSession, sandbox: CgbSandbox
) -> None:
    sandbox.faults.add("short", times=1)
    with pytest.raises(ClientPayloadError):
        await ask(http, sandbox, "GET", "/accounts/me")
    sandbox.faults.add("long", times=1, size=100_000)
    async with http.get(f"{sandbox.url}/accounts/me") as answer:
        assert len(await answer.read()) == answer.content_length == 100_000
        assert (await answer.json())["page_id"] == 100001
    sandbox.faults.add("raw", times=1, body="[1", status=201)
    async with http.get(f"{sandbox.url}/accounts/me") as answer:
        assert (answer.status, await answer.read()) == (201, b"[1")
    sandbox.faults.add("long", times=1)
    await ask(http, sandbox, "POST", "/contacts", json=NEW)
    assert sandbox.ledger.contacts_made() == [DIGITS]


async def test_an_unknown_fault_or_switch_is_refused_with_nothing_changed(
    http: ClientSession, sandbox: CgbSandbox
) -> None:
    for asked in (
        {"faults": [{"kind": "nonsense"}]},
        {"faults": [{"kind": "html", "often": 1}]},
        {"switches": {"ghosts": 1}},
    ):
        async with http.post(f"{sandbox.root}/_sandbox/faults", json=asked) as answer:
            assert answer.status == 400
    assert sandbox.faults.active == []
