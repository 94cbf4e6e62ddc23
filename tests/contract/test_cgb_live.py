"""What the live style of CGB does beyond the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters import permit
from adapters.cgb.live_directory import LiveCgb
from adapters.channel import FAILURES_TO_OPEN, PROBE_S, Channel
from adapters.http import open_session
from daemon.sandbox.cgb import CgbSandbox
from schemas.contacts import ContactDraft
from schemas.errors import ChannelClosed, Exists, Refused, Transient, Uncertain
from schemas.phone import Phone
from tests.support.gates import gate_on
from tests.support.until import until

PHONE = Phone("+972505550142")
DRAFT = ContactDraft(phone=PHONE, name="Noa Example", email=None, fields={"OrderNumber": "IL1"})


@pytest.fixture
async def sandbox() -> AsyncIterator[CgbSandbox]:
    async with CgbSandbox("live") as running:
        yield running


@pytest.fixture
async def cgb(sandbox: CgbSandbox) -> AsyncIterator[LiveCgb]:
    async with open_session() as session:
        yield LiveCgb(gate_on(session), base_url=sandbox.url, api_key=lambda: sandbox.token, cache_s=60)


async def test_a_404_is_no_contact_as_a_ghost_is(cgb: LiveCgb, sandbox: CgbSandbox) -> None:
    sandbox.switches.ghost = "404"
    assert await cgb.find(PHONE) is None


@pytest.mark.parametrize("kept", ["972505550142", "+972505550142"])
async def test_a_contact_said_to_exist_is_found_by_its_exact_phone(
    cgb: LiveCgb, sandbox: CgbSandbox, kept: str
) -> None:
    contact = sandbox.account.make(PHONE.digits)
    contact.phone = kept
    sandbox.switches.second_post = "refuse"
    sandbox.faults.add("raw", body="{}", method="GET", path="/contacts/9")  # the look-up by id shows nothing
    assert await cgb.find(PHONE) is None
    with pytest.raises(Exists):
        await cgb.create(DRAFT)
    found = await cgb.find(PHONE)
    assert found is not None
    assert found.id == PHONE.digits
    assert await cgb.find(PHONE) is None  # found once, it needs no search any more


async def test_a_contact_said_to_exist_that_no_search_shows_is_refused_as_existing(
    cgb: LiveCgb, sandbox: CgbSandbox
) -> None:
    sandbox.account.make(PHONE.digits).phone = "97250555014"
    sandbox.switches.second_post = "refuse"
    with pytest.raises(Refused, match="exists already"):
        await cgb.create(DRAFT)
    sandbox.faults.add("raw", body="{}", method="GET", path="/contacts/9")
    assert await cgb.find(PHONE) is None


@pytest.mark.parametrize("shape", ["flat", "nested"])
async def test_a_service_that_wants_messages_is_written_field_by_field(
    cgb: LiveCgb, sandbox: CgbSandbox, shape: str
) -> None:
    sandbox.switches.empty_messages = "refuse"
    sandbox.switches.error_shape = "nested" if shape == "nested" else "flat"
    contact = sandbox.account.make(PHONE.digits)
    await cgb.update(contact.id, {"OrderNumber": "IL 1&2", "visa_quantity": 2})
    await cgb.update(contact.id, {"OrderNumber": "IL2"})
    await cgb.update(contact.id, {"OrderNumber": "IL3"})
    assert contact.values == {"OrderNumber": "IL3", "visa_quantity": "2"}
    paths = [e.path.removeprefix("/api") for e in sandbox.ledger.entries]
    assert paths == [
        f"/contacts/{contact.id}/send_content",
        "/accounts/custom_fields",
        f"/contacts/{contact.id}/custom_fields/459752",
        f"/contacts/{contact.id}/custom_fields/949873",
        f"/contacts/{contact.id}/send_content",
        f"/contacts/{contact.id}/custom_fields/459752",
        f"/contacts/{contact.id}/custom_fields/459752",
    ]


@pytest.mark.parametrize("message", ["Something went wrong", "The message is empty", "Invalid content", "Bad request"])
async def test_a_refusal_that_is_not_about_the_messages_is_the_update_s_own(
    cgb: LiveCgb, sandbox: CgbSandbox, message: str
) -> None:
    """Promise: one odd refusal does not make every later update cost a request a field."""
    contact = sandbox.account.make(PHONE.digits)
    sandbox.faults.add("error", message=message, times=3)
    for _ in range(3):
        with pytest.raises(Refused):
            await cgb.update(contact.id, {"OrderNumber": "IL1"})
    await cgb.update(contact.id, {"OrderNumber": "IL2"})
    assert {e.path.rpartition("/")[2] for e in sandbox.ledger.entries} == {"send_content"}


async def test_the_account_s_lack_of_fields_is_told_once(sandbox: CgbSandbox) -> None:
    del sandbox.account.fields["visa_type"]
    async with open_session() as session:
        gate = gate_on(session)
        cgb = LiveCgb(
            gate,
            base_url=sandbox.url,
            api_key=lambda: sandbox.token,
            cache_s=0,
            wanted=("OrderNumber", "visa_type", "shoe_size"),
        )
        with capture_logs() as lines:
            for _ in range(3):
                await cgb.field_names()
        assert gate.channel.lacks == ("shoe_size", "visa_type")
        told = {"event": "cgb.fields_missing", "log_level": "warning", "fields": ["shoe_size", "visa_type"]}
        assert lines == [told]
        sandbox.account.fields |= {"visa_type": (1, 0), "shoe_size": (2, 1)}
        await cgb.field_names()
        assert not gate.channel.lacks


ODD = ({"body": ""}, {"body": "<html></html>"}, {"body": "[1"}, {"body": "17"}, {"body": "[1]"}, {"status": 500})


@pytest.mark.parametrize("odd", ODD)
async def test_a_search_with_an_odd_answer_is_asked_again(cgb: LiveCgb, sandbox: CgbSandbox, odd: Any) -> None:
    sandbox.account.make(PHONE.digits)
    sandbox.switches.second_post = "refuse"
    with pytest.raises(Exists):
        await cgb.create(DRAFT)
    sandbox.faults.add("raw", path="find_by", **odd)
    sandbox.faults.add("raw", body="{}", path="/contacts/9")
    with pytest.raises(Transient):
        await cgb.find(PHONE)


@pytest.mark.parametrize("odd", ODD)
async def test_a_field_written_with_an_odd_answer_is_in_doubt(cgb: LiveCgb, sandbox: CgbSandbox, odd: Any) -> None:
    sandbox.switches.empty_messages = "refuse"
    sandbox.faults.add("raw", path="custom_fields/", **odd)
    with pytest.raises(Uncertain):
        await cgb.update(sandbox.account.make(PHONE.digits).id, {"OrderNumber": "IL1"})


async def test_field_by_field_refuses_an_unknown_name_before_it_writes(cgb: LiveCgb, sandbox: CgbSandbox) -> None:
    sandbox.switches.empty_messages = "refuse"
    contact = sandbox.account.make(PHONE.digits)
    with pytest.raises(Refused, match="no custom field shoe_size"):
        await cgb.update(contact.id, {"OrderNumber": "IL1", "shoe_size": 44})
    assert contact.values == {}


async def test_an_unknown_field_that_the_service_minds_is_refused_at_once(cgb: LiveCgb, sandbox: CgbSandbox) -> None:
    sandbox.switches.unknown_field = "error"
    contact = sandbox.account.make(PHONE.digits)
    with pytest.raises(Refused) as caught:
        await cgb.update(contact.id, {"shoe_size": 44})
    assert caught.value.said == "Custom field shoe_size does not exist"
    assert len(sandbox.ledger.entries) == 1


async def test_the_field_names_are_fetched_for_every_caller_whichever_asked_first(cgb: LiveCgb) -> None:
    """Promise: a caller that has lost its lease meanwhile does not take the field names from the others."""

    class Over(Exception):
        pass

    def over() -> None:
        raise Over

    async def ask(*, lost: bool) -> frozenset[str] | None:
        if lost:
            permit.current.set(permit.Permit(over))
        return await cgb.field_names()

    tasks = [asyncio.create_task(ask(lost=lost)) for lost in (True, False)]
    for names in await asyncio.gather(*tasks):
        assert names is not None
        assert "OrderNumber" in names


async def test_names_at_hand_neither_hide_an_outage_nor_end_it(sandbox: CgbSandbox) -> None:
    """Promise: what is answered from memory is no sign of life of the service."""
    now = 100.0
    channel = Channel("cgb", clock=lambda: now)
    async with open_session() as session:
        cgb = LiveCgb(
            gate_on(session, channel=channel), base_url=sandbox.url, api_key=lambda: sandbox.token, cache_s=60
        )
        await cgb.field_names()
        began = now
        sandbox.faults.add("html", status=502)
        for _ in range(FAILURES_TO_OPEN):
            now += 0.01
            assert "OrderNumber" in await cgb.field_names()
            with pytest.raises(Transient) as caught:
                await cgb.find(PHONE)
            assert not channel.answered_since(began, caught.value)
        assert not channel.closed
        asked = len(sandbox.ledger.entries)
        assert "OrderNumber" in await cgb.field_names()
        with pytest.raises(ChannelClosed):
            await cgb.find(PHONE)
        assert len(sandbox.ledger.entries) == asked
        assert not channel.closed
        sandbox.faults.clear()
        now += PROBE_S
        await cgb.find(PHONE)
        assert channel.closed


async def test_names_that_must_be_asked_for_are_asked_through_the_gate(sandbox: CgbSandbox) -> None:
    channel = Channel("cgb", clock=lambda: 100.0)
    async with open_session() as session:
        cgb = LiveCgb(
            gate_on(session, channel=channel), base_url=sandbox.url, api_key=lambda: sandbox.token, cache_s=60
        )
        sandbox.faults.add("html", status=502)
        for _ in range(FAILURES_TO_OPEN):
            with pytest.raises(Transient):
                await cgb.field_names()
        with pytest.raises(ChannelClosed):
            await cgb.field_names()
    assert len(sandbox.ledger.entries) == FAILURES_TO_OPEN


async def test_one_caller_giving_up_does_not_take_the_field_names_from_the_others(
    cgb: LiveCgb, sandbox: CgbSandbox
) -> None:
    sandbox.faults.add("slow", seconds=0.1)
    first, second = (asyncio.create_task(cgb.field_names()) for _ in range(2))
    await until(lambda: sandbox.ledger.entries, every_s=0)
    first.cancel()
    assert "OrderNumber" in await second
    assert len(sandbox.ledger.entries) == 1


async def test_a_failed_list_of_fields_is_asked_again(cgb: LiveCgb, sandbox: CgbSandbox) -> None:
    sandbox.faults.add("html", times=1)
    results = await asyncio.gather(*(cgb.field_names() for _ in range(3)), return_exceptions=True)
    assert all(isinstance(r, Transient) for r in results)
    assert len(sandbox.ledger.entries) == 1
    assert "OrderNumber" in await cgb.field_names()


async def test_an_old_list_of_fields_is_asked_for_anew(sandbox: CgbSandbox) -> None:
    async with open_session() as session:
        cgb = LiveCgb(gate_on(session), base_url=sandbox.url, api_key=lambda: sandbox.token, cache_s=0)
        await cgb.field_names()
        sandbox.account.fields["new_field"] = (1, 0)
        assert "new_field" in await cgb.field_names()


async def test_of_fields_written_one_by_one_a_refused_one_is_named_and_the_others_are_written(
    cgb: LiveCgb, sandbox: CgbSandbox
) -> None:
    """Promise: a field that is refused inside HTTP 200 is no success, and keeps no other field from its value."""
    contact = sandbox.account.make(PHONE.digits)
    sandbox.faults.add("error", path="send_content", message="messages is required")
    sandbox.faults.add("error", method="POST", path="custom_fields", times=1, message="value not allowed")
    with pytest.raises(Refused, match=r"refused 1 of 3 fields \((OrderNumber|visa_type|visa_country)\)") as caught:
        await cgb.update(contact.id, {"OrderNumber": "IL1", "visa_type": "eta", "visa_country": "uk"})
    assert caught.value.code == "fields-refused"
    assert len([name for name in ("OrderNumber", "visa_type", "visa_country") if contact.values.get(name)]) == 2
