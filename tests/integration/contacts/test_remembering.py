"""What it takes to keep what orders say about their buyers."""

from __future__ import annotations

from datetime import timedelta

import pytest
from asyncpg.connection import LoggedQuery

from adapters.postgres import contacts, people
from adapters.postgres.contacts import Buyer, remember
from adapters.postgres.pool import Pool
from schemas.phone import Phone
from tests.support.toy import NOON

MANY = 40


def buyers(count: int, hour: int, first: str = "+97250555{:04d}") -> list[Buyer]:
    """*count* people, who have ordered at that *hour*."""
    at = NOON + timedelta(hours=hour)
    return [
        Buyer(
            phone=Phone(phone),
            age=(at, at, f"IL{n}"),
            synced_at=at,
            name=f"Name {n}",
            email=f"{n}@example.com",
            cgb_id=phone[1:],
            written=b"\x01" * 16,
        )
        for n in range(count)
        for phone in [first.format(n)]
    ]


async def statements(db: Pool, given: list[Buyer]) -> list[str]:
    """The statements that remember *given*, within a transaction."""
    logged: list[str] = []

    def keep(one: LoggedQuery) -> None:
        logged.append(one.query)

    async with db.acquire() as conn, conn.transaction():
        with conn.query_logger(keep):
            await remember(conn, given)
    return [query.split()[0] if "SAVEPOINT" in query else query for query in logged]


@pytest.mark.parametrize("first", ["+97250555{:04d}", "+55119855{:04d}0"])
async def test_known_buyers_take_as_many_statements_as_one_and_none_for_what_is_not_new(db: Pool, first: str) -> None:
    await statements(db, buyers(MANY, 0, first))
    expecting = [
        "SAVEPOINT",
        people._LOCK_CONTACTS,
        people._ADD_MAILS,
        "RELEASE",
        contacts._REMEMBER,
        contacts._WRITTEN,
    ]
    assert await statements(db, buyers(1, 1, first)) == [people._FIND, *expecting]
    assert await statements(db, buyers(MANY, 2, first)) == [people._FIND, *expecting]


async def test_one_new_buyer_among_many_known_ones_adds_only_what_is_new(db: Pool) -> None:
    await statements(db, buyers(MANY, 0))
    asked = await statements(db, buyers(MANY + 1, 1))
    assert people._LOCKED not in asked
    assert asked.count(people._MAKE) == asked.count(people._ADD) == 1
    assert await db.fetchval("SELECT count(*) FROM contact_identities") == 2 * (MANY + 1)
