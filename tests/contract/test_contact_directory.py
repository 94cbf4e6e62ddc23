"""What every `ContactDirectory` promises, each style against its simulator over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientSession

from adapters.channel import Channel
from adapters.http import open_session
from adapters.ports import ContactDirectory
from adapters.redis.limits import RateLimiter
from adapters.registry import DIRECTORIES
from daemon.sandbox.cgb import CgbSandbox, Style
from schemas.contacts import ContactDraft
from schemas.errors import ChannelDown, FerrymanError, Refused, Transient, Uncertain
from schemas.phone import Phone
from tests.support.gates import gate_on

PHONE = Phone("+972505550142")
DRAFT = ContactDraft(
    phone=PHONE,
    name="Noa Example",
    email="noa@example.com",
    fields={"OrderNumber": "IL310214GB7", "visa_quantity": 2, "order_urgent": False},
)
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


async def test_creating_a_contact_that_exists_updates_it_and_returns_its_id(
    contacts: ContactDirectory, sandbox: CgbSandbox
) -> None:
    sandbox.switches.second_post = "refuse"
    first = await contacts.create(DRAFT)
    second = await contacts.create(replace(DRAFT, fields={"OrderNumber": "IL310214GB8"}))
    found = await contacts.find(PHONE)
    assert found is not None
    assert first == second == found.id
    assert found.fields["OrderNumber"] == "IL310214GB8"
    assert sandbox.ledger.contacts_made() == [PHONE.digits]


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
@pytest.mark.parametrize("fault", ["html", "reset", "hang", "cut"])
async def test_an_answer_that_is_lost_or_broken_may_be_repeated_only_for_a_read(
    contacts: ContactDirectory, sandbox: CgbSandbox, fault: Any, verb: str, error: type[FerrymanError]
) -> None:
    sandbox.account.make(PHONE.digits, first_name="Noa Example")
    sandbox.faults.add(fault)
    assert type(await failing(contacts, verb)) is error
    assert len(sandbox.ledger.entries) == 1


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
    contacts = directory(sandbox, session, base_url=f"{sandbox.root}/elsewhere")
    error = await failing(contacts, "create")
    assert isinstance(error, ChannelDown if sandbox.style == "live" else Transient)


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
