"""One person, one contact, here and in CGB: whatever the notation of the phone, and however many processes."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres.pool import Pool
from daemon.sandbox import orders
from daemon.sandbox.cgb import CgbSandbox
from tests.support.daemons import ended, running, synced

MEXICO = [
    ("52", "5555550142"),
    ("+52", "55 5555 0142"),
    ("52", "15555550142"),
    ("", "+52 1 55 5555 0142"),
    ("52", "525555550142"),
    ("52", "5215555550142"),
    ("0052", "5555550142"),
    ("52", "00525555550142"),
    ("", "+52 (55) 5555-0142"),
    ("52", "045 55 5555 0142"),
    ("", "005215555550142"),
    ("52", "٥٥٥٥٥٥٠١٤٢"),
]
BRAZIL = [
    ("55", "11985550142"),
    ("+55", "(11) 98555-0142"),
    ("55", "(11) 8555-0142"),
    ("", "+55 11 8555 0142"),
    ("55", "011985550142"),
    ("55", "5511985550142"),
    ("55", "551185550142"),
    ("0055", "1185550142"),
    ("55", "00551185550142"),
    ("", "+55 11 98555-0142"),
    ("", "0055 11 98555 0142"),
    ("55", "１１９８５５５０１４２"),
]
FIRST_EVENTS = 50


def an_order(n: int, notation: tuple[str, str], *, hour: int | None = None) -> dict[str, Any]:
    """The *n*-th order; by default a later one is newer."""
    code, number = notation
    body = orders.make_order(
        random.Random(n), n, branch="co", order_id=f"CO{n:03d}", phone={"code": code, "number": number}
    )
    body["form"]["updated_at"] = f"2021-02-14T{n // 60 if hour is None else hour:02d}:{n % 60:02d}:00.000Z"
    return body


@pytest.mark.parametrize("notations", [BRAZIL, pytest.param(MEXICO, marks=pytest.mark.slow)], ids=["Brazil", "Mexico"])
async def test_fifty_first_events_of_one_phone_in_twelve_notations_make_one_contact(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, notations: list[tuple[str, str]]
) -> None:
    assert len(set(notations)) == 12
    sent = [an_order(n, notations[n % 12]) for n in range(FIRST_EVENTS)]
    async with AsyncExitStack() as stack:
        daemons = [await stack.enter_async_context(running(tmp_path, **settings)) for _ in range(2)]
        answers = await asyncio.gather(*(daemons[n % 2].post(order) for n, order in enumerate(sent)))
        assert {status for status, _ in answers} == {202}
        await synced(db, FIRST_EVENTS)
    assert await db.fetchval("SELECT count(*) FROM contacts") == 1
    assert await db.fetchval("SELECT count(DISTINCT cbb_contact_uuid) FROM orders") == 1
    assert await db.fetchval("SELECT count(*) FROM contact_identities WHERE kind = 'phone'") == 2
    assert await db.fetchval("SELECT count(DISTINCT client_phone_e164) FROM orders") == 2, "what came is not rewritten"
    ((digits, contact),) = cgb.account.contacts.items()
    assert cgb.ledger.contacts_made() == [digits]
    assert contact.values["OrderNumber"] == sent[-1]["order"]["id"]
    assert await db.fetchval("SELECT newest_order_id FROM contacts") == sent[-1]["order"]["id"]
    assert {row[0] for row in await db.fetch("SELECT cgb_contact_id FROM orders")} == {digits}


@pytest.mark.parametrize("first", [0, 2], ids=["the present notation first", "the older notation first"])
async def test_the_contact_that_cgb_has_keeps_its_number(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, first: int
) -> None:
    older, newer = an_order(1, MEXICO[first]), an_order(2, MEXICO[2 - first])
    number = ("525555550142", "5215555550142")[first // 2]
    async with running(tmp_path, **settings) as here:
        await here.post(older)
        await ended(db, 1)
        asked = len(cgb.ledger.entries)
        await here.post(newer)
        await ended(db, 2)
        assert [entry.contact for entry in cgb.ledger.entries[asked:]] == [number, number], "a look, and a write"
    assert list(cgb.account.contacts) == [number]
    assert cgb.account.contacts[number].values["OrderNumber"] == "CO002"
    assert await db.fetchval("SELECT count(*) FROM contacts") == 1


async def test_an_order_whose_phone_comes_again_in_another_notation_moves_nowhere(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    async with running(tmp_path, **settings) as here:
        await here.post(an_order(1, MEXICO[0]))
        await ended(db, 1)
        await here.post(an_order(1, MEXICO[2], hour=5))
        await ended(db, 2)
        await synced(db, 1)
        assert await db.fetchval("SELECT count(*) FROM event_journal WHERE type = 'order.moved'") == 0
    assert cgb.ledger.contacts_made() == ["525555550142"]
    assert await db.fetchval("SELECT cbb_contact_uuid FROM orders") == await db.fetchval("SELECT id FROM contacts")
