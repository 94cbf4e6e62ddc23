"""What the documented style of CGB does beyond the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime

import pytest

from adapters.cgb.documented_directory import DocumentedCgb
from adapters.http import open_session
from daemon.sandbox.cgb import CgbSandbox
from schemas.contacts import ContactDraft
from schemas.errors import Refused
from schemas.phone import Phone
from tests.support.gates import gate_on

PHONE = Phone("+447700900123")


@pytest.fixture
async def sandbox() -> AsyncIterator[CgbSandbox]:
    async with CgbSandbox("documented") as running:
        yield running


@pytest.fixture
async def cgb(sandbox: CgbSandbox) -> AsyncIterator[DocumentedCgb]:
    async with open_session() as session:
        yield DocumentedCgb(gate_on(session), base_url=sandbox.url, api_key=lambda: sandbox.token, cache_s=60)


async def test_values_keep_their_json_types(cgb: DocumentedCgb, sandbox: CgbSandbox) -> None:
    await cgb.create(
        ContactDraft(
            phone=PHONE,
            name="John Doe",
            email="john@example.com",
            fields={
                "order_urgent": False,
                "visa_quantity": 2,
                "order_date": date(2025, 8, 20),
                "order_date_time": datetime(2025, 8, 20, 10, 30, tzinfo=UTC),
            },
        )
    )
    assert sandbox.account.contacts[PHONE.digits].values == {
        "order_urgent": False,
        "visa_quantity": 2,
        "order_date": "2025-08-20",
        "order_date_time": "2025-08-20T10:30:00+00:00",
    }


async def test_an_update_of_a_missing_contact_is_refused(cgb: DocumentedCgb) -> None:
    with pytest.raises(Refused, match="404"):
        await cgb.update(PHONE.digits, {"OrderNumber": "IL1"})


async def test_a_put_under_a_dropped_connection_is_not_repeated_silently(
    cgb: DocumentedCgb, sandbox: CgbSandbox
) -> None:
    sandbox.account.make(PHONE.digits)
    await cgb.find(PHONE)  # the connection is a kept one, which aiohttp would try again by itself
    sandbox.faults.add("reset", performed=True)
    with pytest.raises(Exception, match="CGB"):
        await cgb.update(PHONE.digits, {"OrderNumber": "IL1"})
    assert len(sandbox.ledger.writes(PHONE.digits)) == 1


async def test_any_field_name_is_taken(cgb: DocumentedCgb) -> None:
    assert await cgb.field_names() is None
