"""The orders of one phone line, whose phones have two notations: one newest order, and one contact in the directory."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from adapters.postgres import contacts
from adapters.postgres.contacts import Buyer
from adapters.postgres.person_orders import Asked, PersonOrders, of_persons
from adapters.postgres.pool import Pool
from schemas.phone import Phone
from tests.support.people import met
from tests.support.toy import NOON

NOW, OLD, ALONE = "+525555550142", "+5215555550142", "+972505550142"
HOUR = timedelta(hours=1)
DIGEST = b"\x01" * 16

_ORDER = """
INSERT INTO orders (
  order_id, client_phone_e164, cgb_sync_status, order_status, ordered_at, webhook_received_at, raw_body)
VALUES ($1, $2, 'synced', $4, $3, $3, '{"id": 1}')
"""


async def ordered(db: Pool, order_id: str, phone: str, at: datetime = NOON, status: str = "active") -> None:
    await db.execute(_ORDER, order_id, phone, at, status)


async def synced(db: Pool, phone: str, cgb_id: str, digest: bytes = DIGEST) -> None:
    buyer = Buyer(phone=Phone(phone), age=(NOON, NOON, "IL0"), synced_at=NOON, cgb_id=cgb_id, written=digest)
    async with db.acquire() as conn, conn.transaction():
        await contacts.remember(conn, [buyer])


async def asked(db: Pool, phone: str, order_id: str = "") -> PersonOrders:
    (answer,) = await of_persons(db, [Asked(phone, order_id)])
    return answer


@pytest.mark.parametrize(("first", "second"), [(NOW, OLD), (OLD, NOW)])
async def test_the_newest_order_counts_over_the_notations_of_a_line(db: Pool, first: str, second: str) -> None:
    await ordered(db, "IL1", first)
    await ordered(db, "IL2", second, NOON + HOUR)
    await ordered(db, "IL3", ALONE, NOON + 2 * HOUR)
    for phone in (first, second):
        assert (await asked(db, phone, "IL1")).newest_id == "IL2"
    await ordered(db, "IL4", first, NOON + 3 * HOUR, status="Canceled")
    assert (await asked(db, second)).newest_id == "IL2"
    assert (await asked(db, ALONE)).newest_id == "IL3"


@pytest.mark.parametrize(("phone", "other"), [(NOW, OLD), (OLD, NOW)])
async def test_the_directory_is_asked_by_the_notations_that_the_person_is_known_by(
    db: Pool, phone: str, other: str
) -> None:
    async def notations(of: str) -> tuple[str, ...]:
        return (await asked(db, of)).notations

    assert await notations(phone) == (phone,)
    await met(db, [f"phone:{phone}"])
    assert (await notations(phone), await notations(other)) == ((phone,), (other, phone))
    await met(db, [f"phone:{phone}", f"wa_id:{other[1:]}"])
    assert await notations(phone) == (phone, other)
    await synced(db, phone, other[1:])
    assert await notations(phone) == (other, phone), "first the number that the contact has there"
    assert await notations(ALONE) == (ALONE,)


async def test_every_notation_of_a_line_is_ensured_the_one_contact(db: Pool) -> None:
    async with db.acquire() as conn, conn.transaction():
        made = await contacts.ensure(conn, [NOW, ALONE, OLD])
    assert made[NOW] == made[OLD] != made[ALONE]
    assert await met(db, [f"phone:{OLD}"], [f"phone:{ALONE}"]) == [made[OLD], made[ALONE]]


@pytest.mark.parametrize(("phone", "other"), [(NOW, OLD), (OLD, NOW)])
async def test_what_was_written_by_one_notation_is_known_by_the_other(db: Pool, phone: str, other: str) -> None:
    def known(answer: PersonOrders) -> tuple[Any, ...]:
        return answer.contact_id, answer.written

    await synced(db, phone, phone[1:])
    assert known(await asked(db, other)) == (phone[1:], DIGEST)
    await synced(db, other, phone[1:], b"\x02" * 16)
    assert known(await asked(db, phone)) == (phone[1:], b"\x02" * 16)
    async with db.acquire() as conn, conn.transaction():
        await contacts.forget_written(conn, [other])
    assert known(await asked(db, phone)) == (phone[1:], None)
