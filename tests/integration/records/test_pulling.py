"""Pulls of records: nothing is skipped and nothing is shown to strangers, whatever is written meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Final

import pytest

from adapters.postgres.pool import Pool, connect
from adapters.postgres.records.writing import Writes, write
from schemas.principals import Principal
from tests.support.record_feed import (
    ADMIN,
    Reader,
    Row,
    at_random,
    change,
    event_of,
    person,
    pulls_on,
    put,
    told,
    visible,
    write_at_random,
)

ALICE: Final = person("alice")
BOB: Final = person("bob")


def reader_of(db: Pool, principal: Principal = ADMIN) -> Reader:
    return Reader(pulls_on(db), principal)


async def fill(db: Pool, count: int, owner: str = "alice", step: int = 500) -> None:
    rows = [Row(f"lead_{n}", 1, owner, None, {"n": n}) for n in range(count)]
    for first in range(0, count, step):
        await put(db, *rows[first : first + step])


async def test_a_first_sync_and_what_comes_later_are_given_in_the_order_of_their_commits(db: Pool) -> None:
    await put(db, Row("a", 1, "alice", None, {"stage": "new"}), Row("b", 1, "alice"))
    reader = reader_of(db, ALICE)
    page = told(await reader.page())
    first = {"op": "upsert", "model": "Lead", "id": "a", "version": 1, "owner_id": "alice", "data": {"stage": "new"}}
    assert page["changes"] == [first, first | {"id": "b", "data": {}}]
    assert (page["more"], page["schema"], len(page["feed"])) == (False, "schema", 36)
    await put(db, Row("b", 2, "alice", None, {"x": 1}), Row("a", 2, "alice", deleted=True))
    page = told(await reader.page(stamps=True))
    assert page["changes"] == [
        first | {"id": "b", "version": 2, "data": {"x": 1}, "stamps": {"x": [1, 0, "r"]}},
        {"op": "delete", "model": "Lead", "id": "a", "version": 2},
    ]
    assert told(await reader.page())["changes"] == []


async def test_a_first_sync_has_no_tombstones_of_what_it_never_had(db: Pool) -> None:
    await put(db, Row("a", 1, "alice"), Row("b", 1, "alice"), Row("c", 1, "alice"))
    await put(db, Row("a", 2, "alice", deleted=True))
    reader = reader_of(db, ALICE)
    assert [one["id"] for one in told(await reader.page(limit=1))["changes"]] == ["b"]
    await put(db, Row("b", 2, "alice", deleted=True))
    changes = told(await reader.page())["changes"]
    assert [(one["op"], one["id"]) for one in changes] == [("upsert", "c"), ("delete", "b")]


async def test_models_can_be_chosen(db: Pool) -> None:
    await put(db, Row("a", 1, "alice"), Row("p", 1, "alice", model="Payment"), Row("q", 1, "bob", model="Payment"))
    reader = reader_of(db, ALICE)
    await reader.round(models=frozenset({"Payment"}), limit=1)
    assert list(reader.rows) == [("Payment", "p")]


async def test_a_page_has_no_more_bytes_than_it_may_and_a_record_that_is_larger_goes_alone(db: Pool) -> None:
    small, large = "x" * 900_000, "y" * 5_000_000
    await put(db, *(Row(f"s{n}", 1, "alice", None, {"t": small}) for n in range(9)))
    await put(db, Row("l", 1, "alice", None, {"t": large}), Row("z", 1, "alice"))
    reader, pages = reader_of(db, ALICE), []
    more = True
    while more:
        page = await reader.page()
        pages.append([one["id"] for one in page.changes])
        more = page.more
    assert pages == [["s0", "s1", "s2", "s3"], ["s4", "s5", "s6", "s7"], ["s8"], ["l"], ["z"]]


async def test_records_that_are_stored_larger_than_they_are_sent_are_all_given(db: Pool) -> None:
    """And those that are stored smaller: numbers take more room in the table than as text, repeated words less."""
    random = Random(5)
    numbers = [[random.randrange(10**4) for _ in range(30_000)] for _ in range(30)]
    await put(db, *(Row(f"n{n}", 1, "alice", None, {"t": some}) for n, some in enumerate(numbers)))
    await put(db, *(Row(f"w{n}", 1, "alice", None, {"t": "word " * 50_000}) for n in range(30)))
    reader = reader_of(db, ALICE)
    await reader.round()
    assert len(reader.rows) == 60
    assert reader.pages < 12
    assert reader.rows == await visible(db, ALICE)


async def test_pulls_under_concurrent_commits_miss_nothing(db: Pool, database_url: str) -> None:
    """Five writers make 10,000 changes, among them deletions and other owners; three readers pull meanwhile."""
    async with connect(database_url, size=6) as writing:
        writers = [asyncio.create_task(write_at_random(writing, seed, 2000, 60, ("alice", "bob"))) for seed in range(5)]
        readers = [reader_of(db, who) for who in (ADMIN, ALICE, BOB)]
        while not all(writer.done() for writer in writers):
            for n, reader in enumerate(readers):
                await reader.page(limit=(7, 3, 100)[n])
        for writer in writers:
            await writer
    for reader in readers:
        await reader.round()
        assert reader.rows == await visible(db, reader.principal)
        for versions in reader.seen.values():
            assert versions == sorted(versions), "a record's version never goes back"
    assert await db.fetchval("SELECT seq FROM sync_clock") >= 10_000
    assert readers[0].pages > 50


async def test_who_has_a_number_and_stalls_before_its_commit_holds_no_reader_up_and_is_not_skipped(
    db: Pool, database_url: str
) -> None:
    await put(db, Row("a", 1, "alice"))
    reader = reader_of(db, ALICE)
    async with connect(database_url, size=3) as other, other.acquire() as stalled:
        transaction = stalled.transaction()
        await transaction.start()
        record = Row("b", 1, "alice").record()
        await write(stalled, Writes(records=[record], events=[event_of(record)]))
        behind = asyncio.create_task(put(other, Row("c", 1, "alice")))
        async with asyncio.timeout(5):
            await reader.round()
            await reader.round()
        assert (list(reader.rows), behind.done()) == ([("Lead", "a")], False)
        await transaction.commit()
        await behind
    await reader.round()
    assert [id for _, id in reader.rows] == ["a", "b", "c"]


@pytest.mark.parametrize("limit", [1, 3, 1000])
async def test_what_is_read_up_to_any_page_and_the_rest_are_the_whole(db: Pool, limit: int) -> None:
    """PowerSync's law, from every boundary of pages, while records change between them."""
    random, reader = Random(limit), reader_of(db, ALICE)
    boundaries: list[Reader] = []
    for n in range(120):
        id = f"lead_{random.randrange(12)}"
        await change(db, id, at_random(random, id, ("alice", "bob")))
        if n % 3 == 0:
            await reader.page(limit=limit)
            boundaries.append(replace(reader, rows=dict(reader.rows), seen={}))
    whole = await visible(db, ALICE)
    for n, boundary in enumerate(boundaries):
        await boundary.round(limit=1 + n % 5)
        await boundary.round()
        assert boundary.rows == whole, n


@pytest.mark.parametrize("limit", [1, 250])
async def test_a_first_sync_ends_while_others_write_and_is_whole(db: Pool, database_url: str, limit: int) -> None:
    count = 20_000 if limit > 1 else 1500
    await fill(db, count)
    reader = reader_of(db, ALICE)
    async with connect(database_url, size=3) as writing:
        writers = [asyncio.create_task(write_at_random(writing, seed, 10**9, count, ("alice",))) for seed in range(2)]
        try:
            async with asyncio.timeout(100):
                await reader.round(limit=limit)
        finally:
            for writer in writers:
                writer.cancel()
            await asyncio.gather(*writers, return_exceptions=True)
    assert reader.pages >= (count // limit) // 2
    await reader.round()
    assert reader.rows == await visible(db, ALICE)


async def test_a_record_that_goes_to_another_owner_is_removed_without_a_word_of_it(db: Pool) -> None:
    await put(db, Row("a", 1, "alice", None, {"x": 1}), Row("b", 1, "alice"), Row("c", 1, "alice"))
    old, new, all_ = reader_of(db, ALICE), reader_of(db, BOB), reader_of(db)
    await old.page(limit=1)  # the former owner is in the middle of a round
    for reader in (new, all_):
        await reader.round()
    await change(db, "a", lambda row: row and replace(row, owner="bob", data={"secret": 2}))
    changes = told(await old.page())["changes"]
    assert changes[-1] == {"op": "remove", "model": "Lead", "id": "a"}
    assert [one["id"] for one in changes] == ["b", "c", "a"]
    await new.round()
    await all_.round()
    assert (list(new.rows), all_.rows["Lead", "a"][1]) == ([("Lead", "a")], "bob")
    await change(db, "a", lambda row: row and replace(row, deleted=True))
    await change(db, "a", lambda row: row and replace(row, deleted=False, owner="alice", data={"x": 3}))
    for reader in (old, new, all_):
        await reader.round()
        assert reader.rows == await visible(db, reader.principal)
    assert old.rows["Lead", "a"] == (4, "alice", {"x": 3})


async def test_two_people_never_see_what_is_the_others(db: Pool) -> None:
    random, readers = Random(7), [reader_of(db, who) for who in (ALICE, BOB)]
    for _ in range(150):
        id = f"lead_{random.randrange(10)}"
        await change(db, id, at_random(random, id, ("alice", "bob", "carol")))
        for reader in readers:
            page = await reader.page(limit=2)
            shown = [one for one in told(page)["changes"] if one["op"] == "upsert"]
            assert all(one["owner_id"] == reader.principal.name for one in shown)
            assert all("data" not in one for one in told(page)["changes"] if one["op"] != "upsert")


async def test_an_edge_sees_its_owners_and_its_branch_each_record_once(db: Pool) -> None:
    edge = Principal(kind="edge", name="haifa", role="operate", owners=frozenset({"alice", "bob"}), branch="il")
    await put(
        db,
        Row("a", 1, "alice", "il"),
        Row("b", 1, "bob", "se"),
        Row("c", 1, "carol", "il"),
        Row("d", 1, "carol", "se"),
        Row("e", 1, None, "il"),
        Row("f", 1),
    )
    reader = reader_of(db, edge)
    assert [one["id"] for one in (await reader.page()).changes] == ["a", "b", "c", "e"]
    await change(db, "c", lambda row: row and replace(row, branch="se"))
    await change(db, "a", lambda row: row and replace(row, owner="bob", branch="se"))
    changes = told(await reader.page())["changes"]
    assert [(one["op"], one["id"]) for one in changes] == [("remove", "c"), ("upsert", "a")]
    none = Principal(kind="edge", name="nobody", role="operate")
    assert (await reader_of(db, none).page()).changes == []
