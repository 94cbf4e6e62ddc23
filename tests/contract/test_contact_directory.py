"""What every `ContactDirectory` promises, each style against its simulator over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientSession
from structlog.testing import capture_logs

from adapters.alone import LONE_FAILURES
from adapters.channel import DOWN_PROBE_S, FAILURES_TO_OPEN, PROBE_S, Channel
from adapters.http import MAX_BODY_BYTES, open_session
from adapters.ports import ContactDirectory
from adapters.redis.limits import RateLimiter
from adapters.registry import DIRECTORIES
from daemon.sandbox.cgb import CgbSandbox, Style
from schemas.cleaned import cleaned_fields
from schemas.contacts import ContactDraft, FieldValue
from schemas.errors import ChannelDown, Exists, FerrymanError, Foreign, Refused, TooLong, Transient, Uncertain
from schemas.phone import Phone
from tests.support.gates import gate_on

PHONE = Phone("+972505550142")
DRAFT = ContactDraft(
    phone=PHONE,
    name="Noa Example",
    email="noa@example.com",
    fields={"OrderNumber": "IL310214GB7", "visa_quantity": 2, "order_urgent": False},
)


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.at = 100.0

    def time(self) -> float:
        return self.at


PRIVATE = ("972505550142", "5550142", "Noa", "Example", "noa@", "IL310214GB7", "sandbox")


@pytest.fixture(params=list(DIRECTORIES))
def style(request: pytest.FixtureRequest) -> Style:
    chosen: Style = request.param
    return chosen


@pytest.fixture
async def sandbox(style: Style) -> AsyncIterator[CgbSandbox]:
    async with CgbSandbox(style) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


def directory(
    sandbox: CgbSandbox,
    session: ClientSession,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    limiter: RateLimiter | None = None,
    channel: Channel | None = None,
) -> ContactDirectory:
    return DIRECTORIES[sandbox.style]()(
        gate_on(
            session,
            limiter=limiter or RateLimiter(None, per_minute=None, max_wait_s=0.05),
            channel=channel,
            timeout_s=0.5,
        ),
        base_url=base_url or sandbox.url,
        api_key=lambda: api_key or sandbox.token,
        cache_s=60.0,
    )


@pytest.fixture
def contacts(sandbox: CgbSandbox, session: ClientSession) -> ContactDirectory:
    return directory(sandbox, session)


async def failing(contacts: ContactDirectory, verb: str) -> FerrymanError:
    """The error of one call; its text must hold nothing personal."""
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "find": lambda: contacts.find(PHONE),
        "create": lambda: contacts.create(DRAFT),
        "update": lambda: contacts.update(PHONE.digits, {"OrderNumber": "IL310214GB7"}),
    }
    with pytest.raises(FerrymanError) as caught:
        await calls[verb]()
    error = caught.value
    shown = f"{error.full_text} {error!r} {error.__cause__!r}"
    assert error.__suppress_context__ or error.__context__ is None
    assert not any(part in shown for part in PRIVATE), shown
    return error


async def test_a_missing_contact_is_none(contacts: ContactDirectory) -> None:
    assert await contacts.find(PHONE) is None


async def test_a_created_contact_is_found_with_its_fields(contacts: ContactDirectory, sandbox: CgbSandbox) -> None:
    contact_id = await contacts.create(DRAFT)
    found = await contacts.find(PHONE)
    assert found is not None
    assert contact_id == found.id == PHONE.digits
    assert found.fields == {"OrderNumber": "IL310214GB7", "visa_quantity": "2", "order_urgent": "0"}
    kept = sandbox.account.contacts[PHONE.digits]
    assert (kept.first_name, kept.last_name, kept.email) == ("Noa Example", "", "noa@example.com")


async def test_a_create_is_one_request(contacts: ContactDirectory, sandbox: CgbSandbox) -> None:
    await contacts.create(DRAFT)
    assert [e.action for e in sandbox.ledger.entries] == ["create"]


async def test_a_contact_needs_neither_name_nor_email(contacts: ContactDirectory) -> None:
    await contacts.create(replace(DRAFT, name=None, email=None, fields={}))
    assert await contacts.find(PHONE) is not None


async def test_an_update_changes_only_the_named_fields_in_one_request(
    contacts: ContactDirectory, sandbox: CgbSandbox
) -> None:
    contact_id = await contacts.create(DRAFT)
    await contacts.update(contact_id, {"visa_quantity": 3, "visa_country": "india"})
    found = await contacts.find(PHONE)
    assert found is not None
    assert found.fields == {
        "OrderNumber": "IL310214GB7",
        "visa_quantity": "3",
        "order_urgent": "0",
        "visa_country": "india",
    }
    assert len(sandbox.ledger.of("update")) == 1


async def test_an_update_of_nothing_asks_nothing(contacts: ContactDirectory, sandbox: CgbSandbox) -> None:
    await contacts.update(PHONE.digits, {})
    assert sandbox.ledger.entries == []


async def test_creating_a_contact_that_exists_says_so_and_writes_nothing(
    contacts: ContactDirectory, sandbox: CgbSandbox
) -> None:
    sandbox.switches.second_post = "refuse"
    first = await contacts.create(DRAFT)
    with pytest.raises(Exists):
        await contacts.create(replace(DRAFT, fields={"OrderNumber": "IL310214GB8"}))
    found = await contacts.find(PHONE)
    assert found is not None
    assert first == found.id
    assert found.fields["OrderNumber"] == "IL310214GB7"
    assert [e.action for e in sandbox.ledger.entries if e.performed] == ["create", "find"]


@pytest.mark.parametrize("form", [429, 200])
@pytest.mark.parametrize("retry_after", [None, "7"])
@pytest.mark.parametrize("verb", ["find", "create", "update"])
async def test_a_rate_refusal_is_transient_and_names_its_wait(
    contacts: ContactDirectory, sandbox: CgbSandbox, form: int, retry_after: str | None, verb: str
) -> None:
    sandbox.faults.add("limited", status=form, retry_after=retry_after)
    error = await failing(contacts, verb)
    assert isinstance(error, Transient)
    assert error.limited
    assert error.retry_after_s == (7.0 if retry_after else None)


async def test_after_a_rate_refusal_nothing_is_asked_until_the_pause_is_over(
    contacts: ContactDirectory, sandbox: CgbSandbox
) -> None:
    sandbox.faults.add("limited", times=1, retry_after="30")
    for _ in range(3):
        error = await failing(contacts, "find")
        assert isinstance(error, Transient)
        assert error.limited
    assert len(sandbox.ledger.entries) == 1


@pytest.mark.parametrize(("verb", "error"), [("find", Transient), ("create", Uncertain), ("update", Uncertain)])
@pytest.mark.parametrize("fault", ["html", "reset", "hang", "cut", "short"])
async def test_an_answer_that_is_lost_or_broken_may_be_repeated_only_for_a_read(
    contacts: ContactDirectory, sandbox: CgbSandbox, fault: Any, verb: str, error: type[FerrymanError]
) -> None:
    sandbox.account.make(PHONE.digits, first_name="Noa Example")
    sandbox.faults.add(fault)
    assert type(await failing(contacts, verb)) is error
    assert len(sandbox.ledger.entries) == 1


@pytest.mark.parametrize(("verb", "error"), [("find", Transient), ("create", Uncertain), ("update", Uncertain)])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 200),
        (" ", 200),
        ("<html><body>Sign in</body></html>", 200),
        ('"ok"', 200),
        ("true", 200),
        ("null", 200),
        ("17", 200),
        ("NaN", 200),
        ("[1, 2]", 200),
        ('[{"id": 1}', 200),
        ('{"id": 1} {"id": 2}', 200),
        ("[" * 100_000, 200),
        ('{"phone": "\\ud800"}', 200),
        ("\ud800", 200),
        ("", 500),
        ("<html></html>", 503),
        ('{"success": true}', 500),
    ],
)
async def test_an_answer_that_is_no_answer_is_as_good_as_none(
    contacts: ContactDirectory, sandbox: CgbSandbox, body: str, status: int, verb: str, error: type[FerrymanError]
) -> None:
    sandbox.faults.add("raw", body=body, status=status)
    assert type(await failing(contacts, verb)) is error


@pytest.mark.parametrize(
    "body", ['{"status": "ok"}', '{"success": true}', '{"phone": {"x": 1}}', '{"data": [{"a": 1}]}']
)
async def test_a_look_up_that_is_answered_with_no_contact_of_any_shape_is_asked_again(
    contacts: ContactDirectory, sandbox: CgbSandbox, body: str
) -> None:
    """Promise: an answer that is not understood does not count as "no such contact"."""
    sandbox.faults.add("raw", body=body)
    error = await failing(contacts, "find")
    assert (type(error), error.code) == (Transient, "other-shape")


async def test_a_list_of_fields_of_another_shape_is_asked_again_through_the_breaker(
    sandbox: CgbSandbox, session: ClientSession
) -> None:
    """Promise: a wrong CGB_API_URL that answers with some JSON makes no order fail for good."""
    channel = Channel("cgb")
    contacts = directory(sandbox, session, channel=channel)
    for body in ("{}", '{"data": {}}', '[{"x": 1}]', '["a"]', "<html></html>"):
        sandbox.faults.clear()
        sandbox.faults.add("raw", body=body)
        if sandbox.style == "documented":
            assert await contacts.field_names() is None
        else:
            with pytest.raises(Transient) as caught:
                await contacts.field_names()
            assert caught.value.channel == "cgb"
    assert channel.closed == (sandbox.style == "documented")


@pytest.mark.parametrize("other", ["972505550143", "+447700900123"])
async def test_another_person_s_contact_is_refused_and_never_written_to(
    contacts: ContactDirectory, sandbox: CgbSandbox, other: str
) -> None:
    body = f'{{"id": 972505550143, "phone": "{other}", "first_name": "Dana"}}'
    for verb in ("find", "create"):
        sandbox.faults.clear()
        sandbox.faults.add("raw", body=body)
        assert isinstance(await failing(contacts, verb), Foreign)
    assert sandbox.account.contacts == {}


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("+972505550142", "+972 50-555-0142"),
        ("+972505550142", "00972505550142"),
        ("+5511987654321", "551187654321"),
        ("+525512345678", "5215512345678"),
        ("+541123456789", "5491123456789"),
    ],
)
async def test_a_contact_is_the_person_s_in_every_notation_of_the_phone(
    contacts: ContactDirectory, sandbox: CgbSandbox, asked: str, answered: str
) -> None:
    sandbox.faults.add("raw", body=f'{{"id": "7", "phone": "{answered}"}}')
    found = await contacts.find(Phone(asked))
    assert found is not None
    assert found.id == "7"


async def test_a_contact_that_is_too_long_to_read_is_that_event_s_fault_after_one_retry(
    sandbox: CgbSandbox, session: ClientSession
) -> None:
    channel = Channel("cgb")
    contacts = directory(sandbox, session, channel=channel)
    sandbox.account.make(PHONE.digits, first_name="Noa").write({"visa_url": "x" * MAX_BODY_BYTES})
    for count in range(1, FAILURES_TO_OPEN + 2):
        assert isinstance(await failing(contacts, "find"), TooLong)
        assert len(sandbox.ledger.entries) == 2 * count
    assert channel.closed
    assert await contacts.find(Phone("+447700900123")) is None


async def test_an_answer_that_is_too_long_once_is_read_at_the_second_try(
    contacts: ContactDirectory, sandbox: CgbSandbox
) -> None:
    sandbox.faults.add("long", times=1)
    assert await contacts.find(PHONE) is None
    assert len(sandbox.ledger.entries) == 2


async def test_our_own_limit_before_the_second_try_asks_nobody_else_to_wait(
    sandbox: CgbSandbox, session: ClientSession
) -> None:
    limiter = RateLimiter(None, per_minute=1, window_s=0.5, max_wait_s=0.05)
    contacts = directory(sandbox, session, limiter=limiter)
    sandbox.faults.add("long")
    error = await failing(contacts, "find")
    assert isinstance(error, Transient)
    assert error.limited
    ticket = await limiter.take("cgb:account")
    assert ticket is not None
    assert not ticket.paused


@pytest.mark.parametrize("verb", ["create", "update"])
async def test_a_write_that_is_answered_too_long_is_in_doubt_and_no_outage(
    sandbox: CgbSandbox, session: ClientSession, verb: str
) -> None:
    channel = Channel("cgb")
    contacts = directory(sandbox, session, channel=channel)
    sandbox.faults.add("long", method="POST")
    sandbox.faults.add("long", method="PUT")
    sandbox.account.make(PHONE.digits)
    for count in range(1, FAILURES_TO_OPEN + 2):
        error = await failing(contacts, verb)
        assert (type(error), error.code) == (Uncertain, "too-long")
        assert channel.answered_since(float("-inf"), error)
        assert len(sandbox.ledger.entries) == count
    assert channel.closed


async def test_an_account_that_is_answered_too_long_is_the_channel_s_fault(
    sandbox: CgbSandbox, session: ClientSession
) -> None:
    if sandbox.style == "documented":
        pytest.skip("the documents know no list of fields")
    sandbox.faults.add("long")
    with pytest.raises(ChannelDown):
        await directory(sandbox, session).field_names()


@pytest.mark.parametrize("fault", ["html", "reset", "cut", "bad_token"])
@pytest.mark.parametrize("verb", ["find", "create", "update"])
async def test_on_a_quiet_system_one_customer_s_failures_become_the_event_s_own(
    sandbox: CgbSandbox, session: ClientSession, fault: Any, verb: str
) -> None:
    """Promise: an event that CGB cannot digest costs its own attempts, although no other call shows it is no outage."""
    channel = Channel("cgb")
    contacts = directory(sandbox, session, channel=channel)
    sandbox.faults.add(fault, contact=PHONE.digits)
    for count in range(1, LONE_FAILURES + 3):
        error = await failing(contacts, verb)
        own = count >= LONE_FAILURES
        assert channel.answered_since(float("-inf"), error) == error.answered == own
    assert channel.closed


@pytest.mark.parametrize("path", [None, "/contacts"])
@pytest.mark.parametrize("verb", ["find", "create", "update"])
async def test_an_outage_is_none_of_the_only_event_s_faults(
    sandbox: CgbSandbox, session: ClientSession, verb: str, path: str | None
) -> None:
    """Promise: also where the account answers while no contact can be read."""
    channel = Channel("cgb", clock=(now := Clock()).time)
    contacts = directory(sandbox, session, channel=channel)
    sandbox.faults.add("html", path=path)
    for _ in range(LONE_FAILURES + 3):
        error = await failing(contacts, verb)
        assert not channel.answered_since(float("-inf"), error)
        now.at += PROBE_S
    assert not channel.closed


@pytest.mark.parametrize("verb", ["find", "update"])
async def test_failures_of_several_customers_are_an_outage(
    sandbox: CgbSandbox, session: ClientSession, verb: str
) -> None:
    channel = Channel("cgb", clock=(now := Clock()).time)
    contacts = directory(sandbox, session, channel=channel)
    sandbox.faults.add("html", contact=PHONE.digits)
    sandbox.faults.add("html", contact="447700900123")
    with pytest.raises(FerrymanError):
        await contacts.find(Phone("+447700900123"))
    with pytest.raises(FerrymanError):
        await contacts.update("447700900123", {"OrderNumber": "IL1"})
    for _ in range(LONE_FAILURES + 3):
        error = await failing(contacts, verb)
        assert not channel.answered_since(float("-inf"), error)
        now.at += PROBE_S


@pytest.mark.parametrize("verb", ["create", "update"])
async def test_what_is_written_is_cut_and_cleaned_and_then_no_longer_differs(
    contacts: ContactDirectory, sandbox: CgbSandbox, verb: str
) -> None:
    fields: dict[str, FieldValue] = {"customer_name": "Noa\u202e\x07" * 500, "visa_type": "e\u0301" * 2000 + "\ud800"}
    with capture_logs() as lines:
        if verb == "create":
            await contacts.create(replace(DRAFT, name="Noa\n" * 500, fields=fields))
            assert sandbox.account.contacts[PHONE.digits].first_name == "Noa " * 25
        else:
            sandbox.account.make(PHONE.digits, first_name="Noa")
            await contacts.update(PHONE.digits, fields)
    found = await contacts.find(PHONE)
    assert found is not None
    assert found.fields == cleaned_fields(fields) == {"customer_name": ("Noa" * 34)[:100], "visa_type": "e\u0301" * 500}
    cuts = {line["field"]: (line["length"], line["kept"]) for line in lines if line["event"] == "cgb.value_cut"}
    assert cuts.pop("name", (2000, 100)) == (2000, 100)
    assert cuts == {"customer_name": (1500, 100), "visa_type": (4001, 1000)}
    assert "Noa" not in str(lines)


async def test_a_timeout_after_performing_leaves_a_contact_that_a_look_finds(
    contacts: ContactDirectory, sandbox: CgbSandbox
) -> None:
    sandbox.faults.add("hang", times=1, method="POST")
    assert isinstance(await failing(contacts, "create"), Uncertain)
    assert await contacts.find(PHONE) is not None
    assert len(sandbox.ledger.writes(PHONE.digits)) == 1


async def test_a_service_that_is_not_there_is_transient_for_writes_too(
    sandbox: CgbSandbox, session: ClientSession
) -> None:
    contacts = directory(sandbox, session, base_url="http://127.0.0.1:1/api")
    for verb in ("find", "create", "update"):
        assert isinstance(await failing(contacts, verb), Transient)


@pytest.mark.parametrize("status", [401, 403, 402, 200])
@pytest.mark.parametrize("shape", ["flat", "nested"])
@pytest.mark.parametrize("verb", ["find", "create", "update"])
async def test_a_bad_token_stops_the_channel(
    contacts: ContactDirectory, sandbox: CgbSandbox, status: int, shape: Any, verb: str
) -> None:
    sandbox.faults.add("bad_token", status=status, shape=shape)
    error = await failing(contacts, verb)
    assert isinstance(error, ChannelDown)
    assert error.channel == "cgb"


@pytest.mark.parametrize("verb", ["find", "create", "update"])
async def test_one_contact_that_is_forbidden_stops_nobody_else(
    contacts: ContactDirectory, sandbox: CgbSandbox, verb: str
) -> None:
    """Promise: the account is looked at before a refusal of access counts as the account's."""
    sandbox.faults.add("bad_token", status=403, contact=PHONE.digits)
    assert type(await failing(contacts, verb)) is Transient
    assert await contacts.find(Phone("+447700900123")) is None


async def test_a_wrong_address_makes_no_order_fail_for_good(sandbox: CgbSandbox, session: ClientSession) -> None:
    channel = Channel("cgb", clock=(now := Clock()).time)
    contacts = directory(sandbox, session, base_url=f"{sandbox.root}/elsewhere", channel=channel)
    for _ in range(LONE_FAILURES + 2):
        error = await failing(contacts, "create")
        assert isinstance(error, ChannelDown if sandbox.style == "live" else Transient)
        assert not channel.answered_since(float("-inf"), error)
        now.at += DOWN_PROBE_S


async def test_the_real_token_check_of_the_service_stops_the_channel(
    sandbox: CgbSandbox, session: ClientSession
) -> None:
    assert isinstance(await failing(directory(sandbox, session, api_key="wrong"), "find"), ChannelDown)


@pytest.mark.parametrize("status", [200, 400, 422])
@pytest.mark.parametrize("shape", ["flat", "nested"])
@pytest.mark.parametrize("verb", ["find", "create", "update"])
async def test_a_refusal_in_either_shape_is_refused_and_says_why(
    contacts: ContactDirectory, sandbox: CgbSandbox, status: int, shape: Any, verb: str
) -> None:
    name = DRAFT.name if verb == "create" else "?"  # the services echo what they were sent, and no more is known
    message = f"Contact {name} 972505550142 noa@example.com is blocked"
    sandbox.faults.add("error", status=status, shape=shape, message=message)
    error = await failing(contacts, verb)
    assert isinstance(error, Refused)
    assert "is blocked" in error.full_text


async def test_a_slow_answer_within_the_deadline_is_an_answer(contacts: ContactDirectory, sandbox: CgbSandbox) -> None:
    sandbox.faults.add("slow", seconds=0.05)
    assert await contacts.find(PHONE) is None


async def test_one_connection_is_kept_for_calls_one_after_another(
    contacts: ContactDirectory, sandbox: CgbSandbox
) -> None:
    await contacts.create(DRAFT)
    for _ in range(5):
        await contacts.find(PHONE)
        await contacts.update(PHONE.digits, {"visa_quantity": 1})
    assert sandbox.connections == 1


async def test_concurrent_callers_cost_one_request_for_the_field_names(
    contacts: ContactDirectory, sandbox: CgbSandbox
) -> None:
    answers = await asyncio.gather(*(contacts.field_names() for _ in range(20)))
    again = await contacts.field_names()
    assert all(a == again for a in answers)
    assert again is None or {"OrderNumber", "customer_name"} <= again
    assert len(sandbox.ledger.entries) == (0 if again is None else 1)


async def test_the_process_wide_limit_keeps_the_service_from_refusing(
    sandbox: CgbSandbox, session: ClientSession
) -> None:
    sandbox.switches.limit = 5
    limiter = RateLimiter(None, per_minute=5, max_wait_s=0.05)
    contacts = directory(sandbox, session, limiter=limiter)
    for _ in range(5):
        await contacts.find(PHONE)
    error = await failing(contacts, "find")
    assert isinstance(error, Transient)
    assert error.limited
    assert [e.status for e in sandbox.ledger.entries if e.status == 429] == []
