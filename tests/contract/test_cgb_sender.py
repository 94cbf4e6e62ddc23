"""What the sender of CGB does, against its simulator over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiohttp import ClientSession

from adapters.cgb import sender as cgb_sender
from adapters.cgb.client import CgbCalls
from adapters.cgb.flow_list import AGAIN_S, FlowList
from adapters.cgb.recipients import MOST, Recipients
from adapters.channel import Channel
from adapters.http import open_session
from adapters.ports import Sender
from adapters.redis.limits import RateLimiter
from adapters.registry import SENDERS
from daemon.sandbox.cgb import CgbSandbox
from schemas.contacts import ContactDraft, DirectoryContact, FieldValue
from schemas.errors import (
    ChannelClosed,
    ChannelDown,
    FerrymanError,
    Foreign,
    LeaseLost,
    NotSent,
    Refused,
    Transient,
    Uncertain,
)
from schemas.messages import Choice, Choices, Content, Media, Reaction, Taken, Template, Text
from schemas.phone import Phone
from tests.support.gates import gate_on
from tests.support.made_up_files import NO_FILES
from tests.support.sending import PHONE, Claims, message, sends

TEXT = Text("Your visa is ready")
URL = "https://files.example.test/visa.pdf"
FLOW = Template("order_received")
PRIVATE = (PHONE.digits, "5550142", "visa is ready", "100001.sandbox", "Noa", "canary")


@pytest.fixture(autouse=True)
def no_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flows read at once what was written; one test has the real wait."""
    monkeypatch.setattr(cgb_sender, "SETTLE_S", 0.0)


@pytest.fixture
async def sandbox() -> AsyncIterator[CgbSandbox]:
    async with CgbSandbox("live") as running:
        running.switches.lag_s = 0.0
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


def sender_on(
    sandbox: CgbSandbox, session: ClientSession, *, limiter: RateLimiter | None = None, **account: str
) -> Sender:
    limiter = limiter or RateLimiter(None, per_minute=None, max_wait_s=0.05)
    gate = gate_on(session, limiter=limiter, channel=Channel("cgb"), timeout_s=2.0)
    values = {"url": sandbox.url, "api_key": sandbox.token} | account
    return SENDERS["cgb"]()(gate, account=lambda: values, public_url=None, files=NO_FILES)


@pytest.fixture
def sender(sandbox: CgbSandbox, session: ClientSession) -> Sender:
    return sender_on(sandbox, session)


@pytest.fixture
def claims(sandbox: CgbSandbox) -> Claims:
    return Claims(sandbox.ledger)


def asked(sandbox: CgbSandbox) -> list[str]:
    return [entry.action for entry in sandbox.ledger.entries]


def held(sandbox: CgbSandbox) -> Any:
    (kept,) = sandbox.statuses.accepted
    return kept["body"]


async def failing(
    sender: Sender, claims: Claims, content: Content = TEXT, *, name: str | None = "Noa Example"
) -> FerrymanError:
    """The error of one send; its text must hold nothing personal."""
    with pytest.raises(FerrymanError) as caught:
        await sender.send(message(content, name=name), claims)
    error = caught.value
    assert not any(part in f"{error.full_text} {error!r} {error.__cause__!r}" for part in PRIVATE)
    assert error.__suppress_context__ or error.__context__ is None
    return error


# the contact


@pytest.mark.parametrize(
    ("name", "called"),
    [("Noa Example", "Noa Example"), (" Noa\u202e ", "Noa"), (None, "Contact0142"), (" \u202e", "Contact0142")],
)
async def test_a_contact_that_is_missing_is_made_by_the_best_name(
    sender: Sender, sandbox: CgbSandbox, claims: Claims, name: str | None, called: str
) -> None:
    assert await sender.send(message(TEXT, name=name), claims) == Taken(None)
    assert sandbox.account.contacts[PHONE.digits].first_name.strip() == called
    assert asked(sandbox) == ["find", "create", "send"]
    assert claims.sent_before == [0]


async def test_a_contact_that_is_there_is_found_once_and_remembered(
    sender: Sender, sandbox: CgbSandbox, claims: Claims
) -> None:
    sandbox.account.make(PHONE.digits, first_name="Somebody")
    for _ in range(3):
        await sender.send(message(TEXT, name="Noa"), claims)
    assert asked(sandbox) == ["find", "send", "send", "send"]
    assert sandbox.account.contacts[PHONE.digits].first_name == "Somebody"


async def test_a_remembered_contact_that_is_gone_is_looked_for_anew(
    sender: Sender, sandbox: CgbSandbox, claims: Claims
) -> None:
    await sender.send(message(TEXT), claims)
    sandbox.account.contacts.clear()
    assert type(await failing(sender, claims)) is Transient
    await sender.send(message(TEXT), claims)
    assert asked(sandbox) == ["find", "create", "send", "send", "find", "create", "send"]
    assert len(sandbox.statuses.accepted) == 2


async def test_a_contact_that_cgb_has_just_shown_and_does_not_find_is_refused(
    sender: Sender, sandbox: CgbSandbox, claims: Claims
) -> None:
    sandbox.faults.add("error", path="/send/text", message="Contact not found")
    assert isinstance(await failing(sender, claims), Refused)


async def test_a_contact_that_somebody_else_makes_meanwhile_is_searched_for(
    sender: Sender, sandbox: CgbSandbox, claims: Claims
) -> None:
    sandbox.account.make(PHONE.digits)
    sandbox.switches.second_post = "refuse"
    sandbox.faults.add("raw", body="{}", method="GET", path="/contacts/9")
    await sender.send(message(TEXT), claims)
    assert asked(sandbox) == ["find", "create", "find", "search", "send"]
    assert len(sandbox.statuses.accepted) == 1


async def test_a_contact_that_exists_and_that_nothing_shows_is_looked_for_again(
    sender: Sender, sandbox: CgbSandbox, claims: Claims
) -> None:
    sandbox.account.make(PHONE.digits).phone = "1"
    sandbox.switches.second_post = "refuse"
    sandbox.faults.add("raw", body="{}", method="GET", path="/contacts/9")
    assert type(await failing(sender, claims)) is Transient
    assert (sends(sandbox.ledger), claims.sent_before) == (0, [])


async def test_nothing_is_sent_to_somebody_else(sender: Sender, sandbox: CgbSandbox, claims: Claims) -> None:
    sandbox.faults.add("raw", body='{"id": 46701740606, "phone": "46701740606"}', method="GET", path="/contacts/9")
    assert isinstance(await failing(sender, claims), Foreign)
    assert (sends(sandbox.ledger), claims.sent_before) == (0, [])


@pytest.mark.parametrize("kind", ["reset", "html", "cut", "short"])
async def test_a_creation_of_unknown_end_leaves_no_message_in_doubt(
    sender: Sender, sandbox: CgbSandbox, claims: Claims, kind: Any
) -> None:
    """Promise: only the call that sends may leave a message uncertain."""
    sandbox.faults.add(kind, path="/contacts$", times=1, performed=True)
    assert type(await failing(sender, claims)) is Transient
    assert (sends(sandbox.ledger), claims.sent_before) == (0, [])
    await sender.send(message(TEXT), claims)
    assert list(sandbox.ledger.creates_by_contact().values()) == [1]


class OneContact:
    """A directory with one contact, which counts the look-ups."""

    def __init__(self) -> None:
        self.looks = 0

    async def find(self, phone: Phone) -> DirectoryContact | None:
        self.looks += 1
        return DirectoryContact(id=phone.digits)

    async def create(self, draft: ContactDraft) -> str:
        raise AssertionError("it is there")

    async def update(self, contact_id: str, fields: Mapping[str, FieldValue]) -> None:
        raise AssertionError("no field is written")

    async def field_names(self) -> frozenset[str]:
        return frozenset()


async def test_contacts_are_remembered_for_a_while_and_not_all_of_them() -> None:
    clock, directory = [0.0], OneContact()
    contacts = Recipients(directory, cache_s=60.0, clock=lambda: clock[0])
    assert [(await contacts.of(PHONE, None)).remembered for _ in range(2)] == [False, True]
    clock[0] = 60.0
    assert not (await contacts.of(PHONE, None)).remembered
    contacts.forget(PHONE)
    assert not (await contacts.of(PHONE, None)).remembered
    assert directory.looks == 3
    for n in range(MOST):
        await contacts.of(Phone(f"+1555{n:07d}"), None)
    assert not (await contacts.of(PHONE, None)).remembered


# text and files


async def test_a_text_is_sent_to_the_contact_on_whatsapp(sender: Sender, sandbox: CgbSandbox, claims: Claims) -> None:
    await sender.send(message(TEXT), claims)
    assert held(sandbox) == {"type": "text", "text": "Your visa is ready", "channel": "whatsapp"}


@pytest.mark.parametrize("type", ["image", "video", "audio", "document"])
async def test_a_file_is_sent_by_its_address(sender: Sender, sandbox: CgbSandbox, claims: Claims, type: Any) -> None:
    await sender.send(message(Media(URL, type, filename="visa.pdf")), claims)
    assert held(sandbox) == {"type": type, "url": URL, "channel": "whatsapp"}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (Text("x" * 4096), None),
        (Text("x" * 4097), "4097 characters, and at most 4096"),
        (Text(" "), "empty"),
        (Media(URL, "image", "Front"), "caption"),
        (Media("files/a.jpg", "image"), "https://"),
        (Template(" "), "no name"),
        (Choices("Keep it?", [Choice("Keep", "keep")]), "no call for choices"),
        (Reaction("wamid.IN1", "👍"), "no call for reactions"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_what_cgb_cannot_carry_is_refused_with_a_reason_and_nothing_is_called(
    sender: Sender, sandbox: CgbSandbox, claims: Claims, content: Content, why: str | None
) -> None:
    refusal = sender.refusal(content)
    if why is None:
        assert refusal is None
        return
    assert refusal is not None
    assert why in refusal
    assert isinstance(await failing(sender, claims, content), Refused)
    assert (sandbox.ledger.entries, claims.sent_before) == ([], [])


async def test_the_documented_style_sends_nothing(sandbox: CgbSandbox, session: ClientSession, claims: Claims) -> None:
    sender = sender_on(sandbox, session, style="documented")
    refusal = await failing(sender, claims)
    assert isinstance(refusal, Refused)
    assert "CGB_API_STYLE=live" in str(refusal)
    assert sandbox.ledger.entries == []


# templates


async def test_the_flow_that_is_set_for_a_template_is_sent_without_a_look(
    sandbox: CgbSandbox, session: ClientSession, claims: Claims
) -> None:
    sender = sender_on(sandbox, session, template_visa_ready="500124")
    await sender.send(message(Template("Visa_Ready", "he")), claims)
    assert [run["flow_id"] for run in sandbox.account.flow_runs] == [500124]
    assert asked(sandbox) == ["find", "create", "flow"]
    assert claims.sent_before == [0]


@pytest.mark.parametrize(
    ("flows", "name", "found"),
    [
        ({1: "Visa", 2: "visa", 3: "visa_ready"}, "visa", 2),
        ({1: "VISA", 3: "visa_ready"}, "Visa", 1),
        ({1: "Order", 3: "The VISA is ready"}, "visa", 3),
        ({1: " visa "}, "visa", 1),
        ({1: "ВИЗА готова"}, "виза", 1),
    ],
)
async def test_a_flow_is_found_by_its_name_exactly_then_in_any_case_then_by_a_part(
    sender: Sender, sandbox: CgbSandbox, claims: Claims, flows: dict[int, str], name: str, found: int
) -> None:
    sandbox.account.flows = flows
    for _ in range(2):
        await sender.send(message(Template(name)), claims)
    assert [run["flow_id"] for run in sandbox.account.flow_runs] == [found, found]
    paths = [entry.path for entry in sandbox.ledger.entries]
    assert paths.count("/api/accounts/flows") == 1, "the list is remembered"


@pytest.mark.parametrize(
    "flows",
    [{1: "visa_ready", 2: "visa_paid"}, {1: "VISA", 2: "Visa"}, {1: "visa", 2: "visa"}],
)
@pytest.mark.parametrize("language", [None, "he"])
async def test_a_name_that_means_several_flows_is_refused_and_lists_them(
    sender: Sender, sandbox: CgbSandbox, claims: Claims, flows: dict[int, str], language: str | None
) -> None:
    sandbox.account.flows = flows
    error = await failing(sender, claims, Template("visa", language))
    assert isinstance(error, Refused)
    assert all(f"{name} ({flow})" in error.full_text for flow, name in flows.items())
    assert (sandbox.account.contacts, claims.sent_before) == ({}, [])


async def test_a_template_that_is_no_flow_is_one_of_whatsapp_where_its_language_is_given(
    sender: Sender, sandbox: CgbSandbox, claims: Claims
) -> None:
    variables = {str(n): f"v{n}" for n in (10, 2, 1, 3, 4, 5, 6, 7, 8, 9)}
    await sender.send(message(Template("visa_paid", "he", variables)), claims)
    assert held(sandbox) == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": PHONE.digits,
        "type": "template",
        "template": {
            "name": "visa_paid",
            "language": {"code": "he"},
            "components": [{"type": "body", "parameters": [{"type": "text", "text": f"v{n}"} for n in range(1, 11)]}],
        },
    }
    assert (sends(sandbox.ledger), claims.sent_before) == (1, [0])


async def test_named_variables_of_a_template_keep_their_names(
    sender: Sender, sandbox: CgbSandbox, claims: Claims
) -> None:
    await sender.send(message(Template("visa_paid", "he", {"who": "Noa"})), claims)
    (body,) = held(sandbox)["template"]["components"]
    assert body["parameters"] == [{"type": "text", "parameter_name": "who", "text": "Noa"}]
    sandbox.statuses.accepted.clear()
    await sender.send(message(Template("visa_paid", "he")), claims)
    assert "components" not in held(sandbox)["template"]


@pytest.mark.parametrize("variables", [{"1": "a", "3": "b"}, {"1": "a", "who": "b"}, {"0": "a"}])
async def test_variables_of_no_one_form_are_refused(
    sender: Sender, sandbox: CgbSandbox, claims: Claims, variables: dict[str, str]
) -> None:
    assert isinstance(await failing(sender, claims, Template("visa_paid", "he", variables)), Refused)
    assert (sends(sandbox.ledger), claims.sent_before) == (0, [])


async def test_a_template_that_is_nothing_is_refused_and_makes_no_contact(
    sender: Sender, sandbox: CgbSandbox, claims: Claims
) -> None:
    error = await failing(sender, claims, Template("visa_paid"))
    assert isinstance(error, Refused)
    assert "CGB_TEMPLATE_" in str(error)
    assert (sandbox.account.contacts, claims.sent_before) == ({}, [])


async def test_variables_of_a_flow_are_written_before_into_the_fields_that_the_account_has(
    sender: Sender, sandbox: CgbSandbox, claims: Claims
) -> None:
    variables = {"OrderNumber": "IL1", "visa_type": "evisa", "unknown": "x", "1": "y"}
    await sender.send(message(Template("order_received", variables=variables)), claims)
    (run,) = sandbox.account.flow_runs
    assert run["values"] == {"OrderNumber": "IL1", "visa_type": "evisa"}
    assert asked(sandbox) == ["other", "find", "create", "fields", "update", "flow"]
    assert claims.sent_before == [0]


async def test_a_flow_waits_until_it_reads_what_was_written(
    sandbox: CgbSandbox, sender: Sender, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgb_sender, "SETTLE_S", 0.3)
    sandbox.switches.lag_s = 0.2
    await sender.send(message(Template("order_received", variables={"OrderNumber": "IL1"})), claims)
    assert [run["stale"] for run in sandbox.account.flow_runs] == [False]


@pytest.mark.parametrize("kind", ["reset", "html", "cut"])
async def test_fields_whose_writing_has_an_unknown_end_leave_no_message_in_doubt(
    sender: Sender, sandbox: CgbSandbox, claims: Claims, kind: Any
) -> None:
    sandbox.faults.add(kind, path="/send_content", times=1, performed=True)
    template = Template("order_received", variables={"OrderNumber": "IL1"})
    assert type(await failing(sender, claims, template)) is Transient
    assert (sandbox.account.flow_runs, claims.sent_before) == ([], [])
    await sender.send(message(template), claims)
    assert len(sandbox.account.flow_runs) == 1


async def test_a_field_that_refuses_its_value_refuses_the_message(
    sender: Sender, sandbox: CgbSandbox, claims: Claims
) -> None:
    sandbox.switches.empty_messages = "refuse"
    template = Template("order_received", variables={"visa_quantity": "many"})
    assert isinstance(await failing(sender, claims, template), Refused)
    assert (sandbox.account.flow_runs, claims.sent_before) == ([], [])


async def test_a_remembered_flow_that_is_gone_is_looked_for_anew(
    sender: Sender, sandbox: CgbSandbox, claims: Claims
) -> None:
    await sender.send(message(FLOW), claims)
    sandbox.account.flows = {7: "order_received"}
    assert type(await failing(sender, claims, FLOW)) is Transient
    await sender.send(message(FLOW), claims)
    assert [run["flow_id"] for run in sandbox.account.flow_runs] == [500123, 7]


async def test_a_flow_that_is_set_and_not_there_is_refused(
    sandbox: CgbSandbox, session: ClientSession, claims: Claims
) -> None:
    sender = sender_on(sandbox, session, template_visa="1")
    assert isinstance(await failing(sender, claims, Template("visa")), Refused)


async def test_a_new_flow_is_found_once_the_list_is_a_minute_old(sandbox: CgbSandbox, session: ClientSession) -> None:
    clock = [0.0]
    calls = CgbCalls(gate_on(session), sandbox.url, lambda: {"X-ACCESS-TOKEN": sandbox.token}, account=None)
    flows = FlowList(calls, cache_s=3600.0, clock=lambda: clock[0])
    assert await flows.find("visa_paid") is None
    sandbox.account.flows[9] = "visa_paid"
    clock[0] = AGAIN_S - 1
    assert await flows.find("visa_paid") is None
    clock[0] = AGAIN_S
    assert await asyncio.gather(*(flows.find("visa_paid") for _ in range(3))) == [("9", False)] * 3
    assert await flows.find("visa_paid") == ("9", True)
    assert len(sandbox.ledger.entries) == 2


# what an answer means


@pytest.mark.parametrize("shape", ["flat", "nested"])
@pytest.mark.parametrize(
    ("status", "code", "text", "expected"),
    [
        (200, 100, "Noa is not valid", Refused),
        (400, 400, "Noa is not valid", Refused),
        (422, 422, "Noa is not valid", Refused),
        (401, 401, "Invalid access token", ChannelDown),
        (403, 403, "Forbidden", ChannelDown),
        (200, 190, "Invalid access token", ChannelDown),
        (429, 429, "Too many requests", Transient),
        (200, 429, "You have exceeded the limit of 100 requests per 60 seconds.", Transient),
        (500, 500, "canary", Uncertain),
        (502, 502, "canary", Uncertain),
        (503, 503, "canary", Uncertain),
    ],
)
async def test_each_answer_has_its_class(
    sender: Sender,
    sandbox: CgbSandbox,
    claims: Claims,
    shape: Any,
    status: int,
    code: int,
    text: str,
    expected: type[FerrymanError],
) -> None:
    fault = {"shape": shape, "status": status, "code": code, "message": text}
    sandbox.faults.add("error", path="/send/text", **fault)
    if expected is ChannelDown:  # one refusal is no fault of the account, unless the account itself is refused
        sandbox.faults.add("error", path="/accounts/me", **fault)
    error = await failing(sender, claims)
    assert isinstance(error, expected)
    assert getattr(error, "limited", False) is ("limit" in text or status == 429)
    assert (sends(sandbox.ledger), claims.sent_before) == (1, [0])


@pytest.mark.parametrize("content", [TEXT, Media(URL, "image"), FLOW, Template("visa_paid", "he")], ids=repr)
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "error", "status": 500, "performed": True},
        {"kind": "html", "status": 502, "performed": True},
        {"kind": "reset", "performed": True},
        {"kind": "hang", "seconds": 5},
        {"kind": "cut"},
        {"kind": "short"},
        {"kind": "raw", "performed": True, "body": ""},
        {"kind": "raw", "performed": True, "body": "17"},
        {"kind": "raw", "performed": True, "body": "[1]"},
        {"kind": "raw", "performed": True, "body": "<html>canary</html>"},
        {"kind": "long", "size": 1024 * 1024 + 1},
    ],
    ids=str,
)
async def test_a_message_that_may_have_been_sent_is_uncertain_and_sent_once(
    sender: Sender, sandbox: CgbSandbox, claims: Claims, content: Content, fault: dict[str, Any]
) -> None:
    sandbox.faults.add(path="/contacts/.*/send", **fault)
    assert type(await failing(sender, claims, content)) is Uncertain
    assert len(sandbox.statuses.accepted) == 1
    assert (sends(sandbox.ledger), claims.sent_before) == (1, [0])


async def test_a_service_that_is_not_there_is_transient(
    sandbox: CgbSandbox, session: ClientSession, claims: Claims
) -> None:
    sender = sender_on(sandbox, session, url="http://127.0.0.1:1/api")
    assert type(await failing(sender, claims)) is Transient
    assert claims.sent_before == []


async def test_a_refusal_of_the_rate_pauses_the_account_and_then_nothing_is_claimed(
    sender: Sender, sandbox: CgbSandbox, claims: Claims
) -> None:
    sandbox.faults.add("limited", path="/send/text", times=1, retry_after="7")
    error = await failing(sender, claims)
    assert isinstance(error, Transient)
    assert (error.limited, error.retry_after_s) == (True, 7.0)
    assert isinstance(await failing(sender, claims), Transient)
    assert (sends(sandbox.ledger), claims.sent_before) == (1, [0])


async def test_a_key_that_is_not_known_stops_the_channel(
    sandbox: CgbSandbox, session: ClientSession, claims: Claims
) -> None:
    sender = sender_on(sandbox, session, api_key="wrong")
    assert type(await failing(sender, claims)) is ChannelDown
    assert type(await failing(sender, claims)) is ChannelClosed
    assert (sends(sandbox.ledger), claims.sent_before) == (0, [])


# the claim


@pytest.mark.parametrize("error", [NotSent("canceled"), LeaseLost("lost"), RuntimeError("a fault of ours")])
@pytest.mark.parametrize("content", [TEXT, FLOW, Template("visa_paid", "he")], ids=repr)
async def test_what_the_claim_raises_stops_the_send(
    sender: Sender, sandbox: CgbSandbox, content: Content, error: Exception
) -> None:
    claims = Claims(sandbox.ledger, error)
    with pytest.raises(type(error)) as caught:
        await sender.send(message(content), claims)
    assert caught.value is error
    assert (sends(sandbox.ledger), claims.sent_before) == (0, [0])
