"""Two contacts become one and two again: what moves, what stays, and what an operator's word counts."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from adapters.postgres import merges
from adapters.postgres.contacts import Buyer, remember
from adapters.postgres.merges import NotMerged
from adapters.postgres.pool import Pool
from schemas.phone import Phone
from tests.support.people import DAY, bought, counts, met, partition, reported
from tests.support.toy import NOON

ONE, OTHER, THIRD = "+972505550001", "+972505550002", "+972505550003"


async def merged(db: Pool, stays: UUID, other: UUID) -> None:
    async with db.acquire() as conn, conn.transaction():
        await merges.lock(conn, [stays, other])
        await merges.merge(conn, stays=stays, merged=other, actor="dana", why="the same person")


async def unmerged(db: Pool, other: UUID) -> Any:
    async with db.acquire() as conn, conn.transaction():
        return await merges.unmerge(conn, merged=other, actor="dana")


async def everything(db: Pool) -> list[Any]:
    """All that the tables say of people."""
    queries = (
        "SELECT to_jsonb(c) - 'updated_at' - 'apart_from' FROM contacts c ORDER BY id",
        "SELECT to_jsonb(i) FROM contact_identities i ORDER BY id",
        "SELECT to_jsonb(e) FROM contact_emails e ORDER BY id",
        "SELECT order_id || cbb_contact_uuid FROM orders ORDER BY order_id",
        "SELECT applicant_id || contact_id FROM applicant_issues ORDER BY applicant_id",
    )
    return [[row[0] for row in await db.fetch(query)] for query in queries]


async def test_every_table_that_points_at_contacts_moves_with_them(db: Pool) -> None:
    pointing = await db.fetch(
        "SELECT conrelid::regclass::text AS table, a.attname AS column FROM pg_constraint c"
        " JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]"
        " WHERE confrelid = 'contacts'::regclass AND conrelid <> confrelid"
    )
    assert {tuple(row) for row in pointing} == {(one.table, one.column) for one in merges.POINTING}


@pytest.mark.parametrize("backwards", [True, False])
async def test_what_the_newest_order_says_counts_and_all_rows_move(db: Pool, backwards: bool) -> None:
    days = (2, 1) if backwards else (1, 2)
    stays, other = await bought(db, ONE, days[0]), await bought(db, OTHER, days[1])
    await merged(db, stays, other)
    row = await db.fetchrow("SELECT * FROM contacts WHERE id = $1", stays)
    assert row is not None
    assert (row["name"], row["email"], row["newest_order_id"]) == ("Name 2", "2@example.com", "IL2")
    assert row["words"] == "'2' 'name'"
    assert row["cgb_synced_at"] == NOON + DAY * 2
    assert {len(person) for person in await partition(db)} == {6}
    assert await db.fetchval("SELECT count(*) FROM orders WHERE cbb_contact_uuid = $1", stays) == 2
    assert await bought(db, OTHER, 3) == stays


async def test_what_the_newer_order_does_not_say_is_not_lost(db: Pool) -> None:
    stays, other = await bought(db, ONE, 1, language="he"), await bought(db, OTHER, 2, name=None, email=None)
    await merged(db, stays, other)
    row = await db.fetchrow("SELECT name, words, email, language, newest_order_id FROM contacts WHERE id = $1", stays)
    assert row is not None
    assert tuple(row) == ("Name 1", "'1' 'name'", "1@example.com", "he", "IL2")


async def test_undoing_a_merge_leaves_all_as_it_was(db: Pool) -> None:
    stays, other = await bought(db, ONE, 1, email="a@b.example"), await bought(db, OTHER, 2, email="a@b.example")
    await reported(db, stays, "apl_1")
    await reported(db, other, "apl_2")
    before = await everything(db)
    await merged(db, stays, other)
    assert await everything(db) != before
    assert await db.fetchval("SELECT count(*) FROM applicant_issues WHERE contact_id = $1", stays) == 2
    back = await unmerged(db, other)
    assert back == {"contact_identities": 2, "contact_emails": 0, "orders": 1, "applicant_issues": 1}
    assert await everything(db) == before


async def test_what_came_after_a_merge_stays_when_it_is_undone(db: Pool) -> None:
    stays, other = await bought(db, ONE, 1), await bought(db, OTHER, 2)
    await merged(db, stays, other)
    await bought(db, OTHER, 3)
    await met(db, [f"phone:{OTHER}", "chatwoot:1:7"])
    await unmerged(db, other)
    rows = {row["id"]: row for row in await db.fetch("SELECT * FROM contacts")}
    assert (rows[stays]["name"], rows[stays]["newest_order_id"]) == ("Name 3", "IL3")
    assert (rows[other]["name"], rows[other]["newest_order_id"]) == ("Name 2", "IL2")
    assert await met(db, [f"phone:{OTHER}"], ["chatwoot:1:7"]) == [other, stays]
    assert await db.fetchval("SELECT cbb_contact_uuid FROM orders WHERE order_id = 'IL3'") == stays


async def test_what_an_order_of_before_the_merge_has_said_since_stays_too(db: Pool) -> None:
    stays, other = await bought(db, ONE, 1), await bought(db, OTHER, 2)
    await merged(db, stays, other)
    later = NOON + DAY * 4
    buyer = Buyer(phone=Phone(OTHER), age=(later, later, "IL2"), synced_at=later, name="Dana")
    async with db.acquire() as conn, conn.transaction():
        await remember(conn, [buyer])
    await unmerged(db, other)
    rows = await db.fetch("SELECT name FROM contacts ORDER BY created_at")
    assert [row["name"] for row in rows] == ["Dana", "Name 2"]


async def test_merges_are_undone_from_the_last_one_on(db: Pool) -> None:
    first, second, third = [await bought(db, phone, n) for n, phone in enumerate((ONE, OTHER, THIRD))]
    before = await everything(db)
    await merged(db, second, third)
    await merged(db, first, second)
    with pytest.raises(NotMerged, match=str(second)):
        await unmerged(db, third)
    await unmerged(db, second)
    await unmerged(db, third)
    assert await everything(db) == before
    await merged(db, first, second)
    await merged(db, first, third)
    with pytest.raises(NotMerged, match=str(third)):
        await unmerged(db, second)
    await unmerged(db, third)
    await unmerged(db, second)
    assert await everything(db) == before
    with pytest.raises(NotMerged, match="is not merged"):
        await unmerged(db, second)


async def test_people_whom_an_operator_took_apart_stay_two_until_an_operator_says_otherwise(db: Pool) -> None:
    (stays,), (other,) = await met(db, [f"phone:{ONE}"]), await met(db, ["chatwoot:1:7"])
    assert stays is not None
    assert other is not None
    assert await met(db, [f"phone:{ONE}", "chatwoot:1:7"]) == [stays]
    await unmerged(db, other)
    assert len(set(await met(db, [f"phone:{ONE}", "chatwoot:1:7", "cgb:1"], ["chatwoot:1:7"]))) == 2
    assert await counts(db) == (2, 0)
    await merged(db, stays, other)
    assert await counts(db) == (1, 1)
    assert await partition(db) == {frozenset({f"phone:{ONE}", "chatwoot:1:7", "cgb:1"})}


async def test_the_audit_log_says_who_merged_and_holds_nothing_of_the_person(db: Pool) -> None:
    stays, other = await bought(db, ONE, 1), await bought(db, OTHER, 2)
    await merged(db, stays, other)
    await unmerged(db, other)
    rows = await db.fetch("SELECT actor, action, subject, detail::text AS detail FROM audit_log ORDER BY id")
    assert [(row["actor"], row["action"]) for row in rows] == [
        ("dana", "contact.merged"),
        ("dana", "contact.unmerged"),
    ]
    assert {row["subject"] for row in rows} == {f"contact:{stays}"}
    assert json.loads(rows[0]["detail"])["merged"] == str(other)
    for private in (ONE[1:], OTHER[1:], "Name", "example.com"):
        assert not any(private in row["detail"] for row in rows)


async def test_a_merge_that_the_audit_log_has_forgotten_cannot_be_undone(db: Pool) -> None:
    stays, other = await bought(db, ONE, 1), await bought(db, OTHER, 2)
    await merged(db, stays, other)
    await db.execute("DELETE FROM audit_log")
    with pytest.raises(NotMerged, match="no longer says"):
        await unmerged(db, other)
    assert await counts(db) == (1, 1)


async def test_a_chosen_order_of_one_line_does_not_hide_a_newer_one_of_another_line(db: Pool) -> None:
    stays, other = await bought(db, ONE, 1), await bought(db, OTHER, 5)
    await merged(db, stays, other)
    await bought(db, ONE, 2, chosen=True)
    assert await db.fetchval("SELECT newest_order_id FROM contacts WHERE id = $1", stays) == "IL5"
    await db.execute("UPDATE orders SET order_status = 'Canceled' WHERE order_id = 'IL5'")
    await bought(db, ONE, 3, chosen=True)
    assert await db.fetchval("SELECT newest_order_id FROM contacts WHERE id = $1", stays) == "IL3"
