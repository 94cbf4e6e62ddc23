"""Pushes: each operation is applied once and answered by itself, whatever happens to the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson

from adapters.postgres.pool import Pool
from schemas.envelope import Event
from tests.support.records import create, operation, person, pushed, records_of, said
from tests.support.until import until

ALICE, BEN = person("alice"), person("ben", token=3)


# once


async def test_a_push_is_applied_and_answered_in_order(db: Pool) -> None:
    records = records_of(db)
    first = await pushed(records, ALICE, operation("CREATE", "a", name="Ann"), operation("CREATE", "b", name="Ben"))
    assert [said(one, "version") for one in first] == [("applied", 1), ("applied", 1)]
    (second,) = await pushed(records, ALICE, operation("UPDATE", "a", name="Anna", _base_version=1))
    assert said(second, "version") == ("applied", 2)
    rows = await db.fetch("SELECT record_id, version, seq, owner_id, data->>'name' FROM records ORDER BY seq")
    assert [tuple(row) for row in rows] == [("b", 1, 2, "alice", "Ben"), ("a", 2, 3, "alice", "Anna")]


async def test_operations_on_one_record_in_one_push_fold_into_one_row(db: Pool) -> None:
    records = records_of(db)
    answers = await pushed(
        records,
        ALICE,
        operation("CREATE", "a", name="Ann"),
        operation("UPDATE", "a", city="Haifa", _base_version=0),
        operation("UPDATE", "a", name="Anna", _base_version=0),
        operation("DELETE", "a", _base_version=0),
    )
    assert [said(one, "version") for one in answers] == [("applied", n) for n in (1, 2, 3, 4)]
    (row,) = await db.fetch("SELECT version, prev, seq, deleted, data->>'name' AS name FROM records")
    assert tuple(row) == (4, 0, 1, True, "Anna")
    assert await db.fetchval("SELECT count(*) FROM sync_ops") == 4


async def test_what_is_sent_again_is_a_duplicate_with_its_first_answer(db: Pool) -> None:
    records, same = records_of(db), operation("CREATE", "a", name="Ann")
    await pushed(records, ALICE, same)
    (again,) = await pushed(records, ALICE, same)
    assert said(again, "first", "version", "record") == ("duplicate", "applied", 1, None)
    await pushed(records, ALICE, operation("UPDATE", "a", name="Anna", _base_version=1))
    (later,) = await pushed(records, ALICE, same)
    assert said(later, "first", "version") == ("duplicate", "applied", 1)
    assert (later["record"]["version"], later["record"]["data"]["name"]) == (2, "Anna")


async def test_an_op_id_of_another_operation_is_refused_and_of_another_user_is_new(db: Pool) -> None:
    records, op_id = records_of(db), uuid4()
    await pushed(records, ALICE, operation("CREATE", "a", _op_id=str(op_id), name="Ann"))
    (other,) = await pushed(records, ALICE, operation("CREATE", "b", _op_id=str(op_id), name="Ann"))
    assert said(other, "reason", "retry") == ("rejected", "op-reused", False)
    (bens,) = await pushed(records, BEN, operation("CREATE", "c", _op_id=str(op_id), name="C"), replica="phone-2")
    assert said(bens, "version") == ("applied", 1)


async def test_an_op_id_twice_in_one_push_counts_once(db: Pool) -> None:
    same, other = operation("CREATE", "a", name="Ann"), operation("CREATE", "b", name="Ben")
    answers = await pushed(records_of(db), ALICE, same, same, other | {"op_id": same["op_id"]})
    assert [said(one, "first", "reason") for one in answers] == [
        ("applied", None, None),
        ("duplicate", "applied", None),
        ("rejected", None, "op-reused"),
    ]
    assert await db.fetchval("SELECT count(*) FROM records") == 1


async def test_each_of_25_operations_that_comes_six_times_at_once_is_applied_once(db: Pool) -> None:
    """By two processes, three times each."""
    here, there = records_of(db), records_of(db)
    await create(here, ALICE, *(f"r{n}" for n in range(25)))
    for n in range(25):
        one = operation("UPDATE", f"r{n}", city="Haifa", _base_version=1)
        sent = [pushed(by, ALICE, one, replica=None) for by in (here, there) * 3]
        answers = [answer for (answer,) in await asyncio.gather(*sent)]
        assert sorted(answer["result"] for answer in answers) == ["applied", *["duplicate"] * 5]
        assert {answer["version"] for answer in answers} == {2}
    assert await db.fetchval("SELECT count(*) FROM records WHERE version = 2") == 25
    assert await db.fetchval("SELECT count(*) FROM sync_ops") == 50


async def test_a_conflict_that_changes_nothing_and_comes_six_times_at_once_is_kept_once(db: Pool) -> None:
    here, there = records_of(db), records_of(db)
    await create(here, ALICE, "a", amount="10")
    await pushed(here, ALICE, operation("UPDATE", "a", amount="20", _base_version=1))
    late = operation("UPDATE", "a", amount="30", _base_version=1)
    sent = [pushed(by, ALICE, late, replica="tablet") for by in (here, there) * 3]
    answers = [answer for (answer,) in await asyncio.gather(*sent)]
    assert sorted(answer["result"] for answer in answers) == ["conflict", *["duplicate"] * 5]
    (row,) = await db.fetch("SELECT id, decision, theirs::text, ours::text FROM sync_conflicts")
    assert (row["decision"], orjson.loads(row["theirs"]), orjson.loads(row["ours"])) == (
        None,
        {"amount": "30"},
        {"amount": "20"},
    )
    assert {answer["conflict_id"] for answer in answers} == {row["id"]}


# each by itself


async def test_what_cannot_be_read_is_rejected_by_itself_and_the_others_go_on(db: Pool) -> None:
    ahead = (datetime.now(UTC) + timedelta(days=400)).isoformat()
    bad: Sequence[tuple[Any, str]] = [
        ("text", "type"),
        (operation("CREATE", "n1", name="a\0b"), "type"),
        (operation("CREATE", "n2", name="N", details={"a\0": 1}), "type"),
        (operation("UPDATE", "n2", name="N", _base_version=1, _base={"name": "a\0b"}), "type"),
        (operation("CREATE", "n3", name="N", notes="x" * 256 * 1024), "too-large"),
        (operation("CREATE", "n4", _model="Nothing", name="N"), "model"),
        (operation("CREATE", "n5", name="N", fax2="1"), "field"),
        (operation("CREATE", "n6", name=7), "type"),
        (operation("UPDATE", "n7", name="N"), "base-missing"),
        (operation("UPDATE", "n8", name="N", _base_version=0), "unknown-record"),
        (operation("CREATE", "n9", name="N", _changed_at=ahead), "clock-ahead"),
        (operation("CREATE", "n10", name="N", _user_id="ben"), "field"),
        (operation("CREATE", "n11", city="Haifa"), "required"),
        (operation("CREATE", "n12", name="N") | {"op_id": "7"}, "type"),
        (operation("CREATE", "n13", name="N", _extra=1), "field"),
    ]
    good = [operation("CREATE", f"g{n}", name=f"\\u0000 {n}") for n in range(3)]
    answers = await pushed(records_of(db), ALICE, *(one for one, _ in bad), *good)
    assert [answer.get("reason") for answer in answers] == [*(reason for _, reason in bad), None, None, None]
    retry = {answer["reason"] for answer in answers if answer.get("retry")}
    assert retry == {"clock-ahead"}
    assert await db.fetchval("SELECT count(*) FROM records") == 3
    assert await db.fetchval("SELECT count(*) FROM sync_ops") == 3, "a rejected one may come again under its op_id"


async def test_behind_a_rejected_operation_those_of_its_record_wait_and_no_others(db: Pool) -> None:
    records = records_of(db)
    bad = operation("CREATE", "a", name=7)
    after, unread = operation("UPDATE", "a", city="Haifa", _base_version=0), operation("CREATE", "b") | {"op_id": "?"}
    answers = await pushed(records, ALICE, bad, after, unread, operation("CREATE", "b", name="B"))
    assert [said(one, "reason", "retry") for one in answers] == [
        ("rejected", "type", False),
        ("rejected", "predecessor", True),
        ("rejected", "type", False),
        ("rejected", "predecessor", True),
    ]


async def test_what_postgres_refuses_is_found_and_the_other_49_go_on(db: Pool) -> None:
    await db.execute("ALTER TABLE records ADD CHECK (record_id <> 'r23')")
    records = records_of(db)
    answers = await pushed(records, ALICE, *(operation("CREATE", f"r{n}", name="N") for n in range(50)))
    assert [(n, one["reason"]) for n, one in enumerate(answers) if one["result"] != "applied"] == [(23, "unstorable")]
    assert await db.fetchval("SELECT count(*) FROM records") == 49
    assert await db.fetchval("SELECT count(*) FROM sync_ops") == 49


async def test_of_pushes_that_go_together_one_that_postgres_refuses_harms_no_other(db: Pool) -> None:
    await db.execute("ALTER TABLE records ADD CHECK (record_id <> 'bad')")
    records = records_of(db)
    names = ["bad" if n == 7 else f"r{n}" for n in range(20)]
    sent = [pushed(records, ALICE, operation("CREATE", name, name="N"), replica=f"phone-{name}") for name in names]
    answers = [answer["result"] for (answer,) in await asyncio.gather(*sent)]
    assert answers == ["rejected" if name == "bad" else "applied" for name in names]
    assert await db.fetchval("SELECT count(*) FROM sync_replicas WHERE ack IS NOT NULL") == 20


# replicas


# whose


# conflicts


async def test_a_later_value_takes_the_place_of_one_that_waits(db: Pool) -> None:
    records = records_of(db)
    await create(records, ALICE, "a", amount="10")
    await pushed(records, ALICE, operation("UPDATE", "a", amount="20", _base_version=1))

    async def late(*amounts: str) -> list[dict[str, Any]]:
        sent = [operation("UPDATE", "a", amount=amount, _base_version=1) for amount in amounts]
        return await pushed(records, ALICE, *sent, replica="tablet")

    first, second = await late("30", "40")
    (third,) = await late("50")
    assert {one["decision"] for one in (first, second, third)} == {"open"}
    (row,) = await db.fetch("SELECT id, theirs::text FROM sync_conflicts")
    assert orjson.loads(row["theirs"]) == {"amount": "50"}
    assert {one["conflict_id"] for one in (first, second, third)} == {row["id"]}
    await db.execute("UPDATE sync_conflicts SET decision = 'ours'")
    (fourth,) = await late("60")
    assert fourth["conflict_id"] != row["id"], "what a person has decided stays decided"


async def test_a_value_is_not_lost_where_somebody_decides_at_the_same_time(db: Pool) -> None:
    """The row is decided between the look and the write."""
    records = records_of(db)
    await create(records, ALICE, "a", amount="10")
    await pushed(records, ALICE, operation("UPDATE", "a", amount="20", _base_version=1))
    await pushed(records, ALICE, operation("UPDATE", "a", amount="30", _base_version=1), replica="tablet")
    async with db.acquire() as conn, conn.transaction():
        await conn.execute("UPDATE sync_conflicts SET decision = 'ours'")
        late = asyncio.create_task(
            pushed(records, ALICE, operation("UPDATE", "a", amount="40", _base_version=1), replica="tablet")
        )
        blocked = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        await until(lambda: db.fetchval(blocked))
    (answer,) = await late
    theirs = await db.fetchval("SELECT theirs::text FROM sync_conflicts WHERE id = $1", answer["conflict_id"])
    assert orjson.loads(theirs) == {"amount": "40"}
    assert await db.fetchval("SELECT count(*) FROM sync_conflicts") == 2


# what is told of it


async def test_each_write_of_a_record_is_told_once_with_its_version(db: Pool) -> None:
    told: list[tuple[Event, int]] = []

    async def hurry(events: Sequence[Event], seqs: Sequence[int]) -> None:
        told.extend(zip(events, seqs, strict=True))

    records, rung = records_of(db, hurry=hurry), []
    records.woke.hear(lambda: rung.append(1))
    made = operation("CREATE", "a", name="Ann")
    await pushed(records, ALICE, made, operation("CREATE", "b", name="Ben"))
    changes = (
        operation("UPDATE", "a", name="Anna", _base_version=1),
        operation("UPDATE", "a", city="Haifa", _base_version=1),
    )
    await pushed(records, ALICE, *changes, made)
    await pushed(records, ALICE, operation("UPDATE", "a", name="Anna", _base_version=3))

    async def all_told() -> bool:
        return len(told) == 3

    await until(all_told)
    assert len(rung) == 2
    rows = await db.fetch("SELECT seq, id, type, subject, data FROM outbox ORDER BY seq")
    assert [(row["seq"], row["id"]) for row in rows] == [(seq, event.id) for event, seq in told]
    assert {(row["type"], row["subject"]) for row in rows} == {
        ("record.changed", "Lead:a"),
        ("record.changed", "Lead:b"),
    }
    assert orjson.loads(rows[-1]["data"]) == {
        "model": "Lead",
        "id": "a",
        "version": 3,
        "fields": ["city", "name"],
        "origin": "phone-1",
        "deleted": False,
        "op_ids": [one["op_id"] for one in changes],
    }
