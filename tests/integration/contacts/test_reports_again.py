"""Reports that no order named, and their orders that come late: which reports are sent again, and that it is once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from adapters.postgres import reports_again
from adapters.postgres.applicant_issues import BY_INDEX
from adapters.postgres.bus import outbox
from adapters.postgres.orders import replace, row_of
from adapters.postgres.pool import Pool
from adapters.postgres.reports_again import MOST_RUNS
from daemon.contacts.applicant_issues import WORKER
from daemon.contacts.reports_again import APPLICANT_ISSUES, look_again
from schemas.envelope import Event
from schemas.orders import order_from
from tests.support.plans import nodes
from tests.support.reports import HOUR, NOW, a_report, an_order, handled, stored


async def in_vain(db: Pool, applicant: str = "apl_2", **more: Any) -> Event:
    """A report that has waited for its order in vain."""
    event = a_report(applicant, **more)
    assert await handled(db, event, wait_s=0) == ("unknown applicant", [])
    return event


async def sent(db: Pool) -> list[Event]:
    return [event for _, event in await outbox.left(db, older_than_s=-1, limit=10_000)]


async def standing(db: Pool) -> dict[str, tuple[str, str | None]]:
    rows = await db.fetch("SELECT applicant_id, status, reason FROM applicant_issues")
    return {row["applicant_id"]: (row["status"], row["reason"]) for row in rows}


async def test_a_report_whose_order_comes_late_is_sent_again_as_it_was_and_passed_on_once(db: Pool) -> None:
    event = await in_vain(db, note="x")
    assert await look_again(db) == (0, "")
    await stored(db, an_order("IL1", "apl_1", "apl_2"))
    assert await look_again(db) == (1, "")
    (again,) = await sent(db)
    assert again._replace(replayid="") == event
    assert again.is_for(WORKER.name, NOW)
    assert not again.is_for("journal", NOW)
    assert await standing(db) == {"apl_2": ("waiting", "its order has come")}
    assert await look_again(db) == (0, "")  # it is under way
    end, (told,) = await handled(db, again, now=NOW + HOUR)
    assert (end, told.json()["order_id"]) == ("done", "IL1")
    assert await handled(db, again, now=NOW + HOUR) == ("reported already", [])
    assert await look_again(db) == (0, "")
    assert await standing(db) == {"apl_2": ("reported", None)}
    assert await sent(db) == [again]


def test_the_worker_has_the_name_that_reports_are_sent_to() -> None:
    assert WORKER.name == APPLICANT_ISSUES


async def test_a_newer_state_that_names_the_applicant_counts_as_an_order_that_comes(db: Pool) -> None:
    await stored(db, an_order("IL1", "apl_1"))
    await in_vain(db)
    assert await look_again(db) == (0, "")
    newer = order_from(json.dumps(an_order("IL1", "apl_1", "apl_2", changed=NOW)).encode(), NOW)
    async with db.acquire() as conn, conn.transaction():
        assert await replace(conn, [row_of(newer, "newer")])
    assert await look_again(db) == (1, "")


async def test_reports_that_stand_otherwise_or_have_lost_their_text_are_left_alone(db: Pool) -> None:
    await stored(db, an_order("IL1", "apl_reported"), an_order("IL2", "apl_consent", alerts=None))
    for applicant in ("apl_reported", "apl_consent", "apl_waiting"):
        await handled(db, a_report(applicant, id=applicant))
    await in_vain(db, "apl_without_text", id="4")
    await in_vain(db, "apl_unknown", id="5")
    await db.execute("UPDATE applicant_issues SET raw_body = '' WHERE applicant_id = 'apl_without_text'")
    await stored(db, an_order("IL3", "apl_waiting", "apl_without_text"))
    before = await db.fetch("SELECT * FROM applicant_issues ORDER BY id")
    assert await look_again(db) == (0, "")
    assert await db.fetch("SELECT * FROM applicant_issues ORDER BY id") == before
    assert await sent(db) == []


async def test_an_order_that_lets_no_message_follow_ends_the_report_with_that_reason(db: Pool) -> None:
    event = await in_vain(db)
    await stored(db, an_order("IL1", "apl_2", alerts=None))
    assert await look_again(db) == (1, "")
    assert await handled(db, event, now=NOW + HOUR) == ("no consent", [])
    assert await look_again(db) == (0, "")


async def test_a_newer_report_takes_the_place_of_one_that_was_sent_again(db: Pool) -> None:
    older = await in_vain(db)
    await stored(db, an_order("IL1", "apl_2"))
    assert await look_again(db) == (1, "")
    assert (await handled(db, a_report(at=NOW + HOUR)))[0] == "done"
    assert await db.fetchval("SELECT sent_again FROM applicant_issues") == 0
    assert await handled(db, older, now=NOW + 2 * HOUR) == ("superseded", [])


async def test_a_report_that_was_sent_and_does_not_end_is_sent_anew_after_an_hour_and_not_for_ever(db: Pool) -> None:
    await in_vain(db)
    await stored(db, an_order("IL1", "apl_2"))
    for _ in range(MOST_RUNS):
        assert await look_again(db) == (1, "")
        assert await look_again(db) == (0, "")
        await db.execute("UPDATE applicant_issues SET updated_at = now() - interval '61 minutes'")
    assert await look_again(db) == (0, "")
    replays = [event.replayid for event in await sent(db)]
    assert len(set(replays)) == MOST_RUNS  # each is a run of its own to the worker


async def test_a_dry_run_counts_and_does_nothing(db: Pool) -> None:
    await in_vain(db)
    await stored(db, an_order("IL1", "apl_2"))
    assert await look_again(db, dry_run=True) == (1, "")
    assert await sent(db) == []
    assert await standing(db) == {"apl_2": ("skipped", "unknown applicant")}
    assert await look_again(db) == (1, "")


async def test_two_processes_at_once_send_each_report_once(db: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.contacts.reports_again.PAGE", 5)
    names = [f"apl_{n}" for n in range(20)]
    for name in names:
        await in_vain(db, name, id=name)
    await stored(db, an_order("IL1", *names))
    rounds = await asyncio.gather(*(look_again(db) for _ in range(4)))
    assert sum(again for again, _ in rounds) == len(names)
    assert sorted(event.id for event in await sent(db)) == sorted(names)


async def test_a_report_that_another_process_writes_is_left_to_it(db: Pool) -> None:
    await in_vain(db)
    await in_vain(db, "apl_3", id="other")
    await stored(db, an_order("IL1", "apl_2", "apl_3"))
    async with db.acquire() as conn, conn.transaction():
        await conn.execute("SELECT FROM applicant_issues WHERE applicant_id = 'apl_2' FOR UPDATE")
        assert await asyncio.wait_for(look_again(db), 5) == (1, "")
    assert [event.id for event in await sent(db)] == ["other"]
    assert await look_again(db) == (1, "")


async def test_what_is_sent_and_what_is_marked_are_one_transaction(db: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    await in_vain(db)
    await stored(db, an_order("IL1", "apl_2"))

    async def breaks(*_: Any) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "send", breaks)
        with pytest.raises(ConnectionError):
            await look_again(db)
    assert await standing(db) == {"apl_2": ("skipped", "unknown applicant")}
    assert await look_again(db) == (1, "")


async def test_a_round_has_an_end_and_the_next_one_goes_on(db: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.contacts.reports_again.PAGE", 2)
    monkeypatch.setattr("daemon.contacts.reports_again.MOST", 4)
    for n in range(5):
        await in_vain(db, f"apl_{n}", id=f"event-{n}")
    await stored(db, an_order("IL1", "apl_0", "apl_4"))
    first = await look_again(db)
    assert first == (1, "apl_3")
    assert await look_again(db, after=first.until) == (1, "")


ORDERS = """
INSERT INTO orders (order_id, ordered_at, webhook_received_at, raw_body, applicants_data)
SELECT 'IL' || n, now(), now(), '{}', jsonb_build_array(jsonb_build_object('id', 'apl_' || n))
FROM generate_series($1::int, $2::int) n
"""
REPORTS = """
INSERT INTO applicant_issues (applicant_id, event_id, status, issues, reported_at, raw_body)
SELECT 'apl_' || n, 'e', 'reported', '{}', now(), '{}' FROM generate_series($1::int, $2::int) n
"""
IN_VAIN = """
INSERT INTO applicant_issues (applicant_id, event_id, status, reason, issues, reported_at, raw_body)
SELECT 'b_' || n, 'e', 'skipped', 'unknown applicant', '{}', now(), '{}' FROM generate_series($1::int, $2::int) n
"""


@pytest.mark.parametrize(
    ("query", "types", "arguments", "most"),
    [
        (reports_again._LOOK, "text, int", "'b_15', 5", 40),
        (reports_again._TAKE, "text[]", "ARRAY['b_15', 'b_2222', 'apl_3']", 40),
    ],
    ids=["look", "take"],
)
async def test_a_look_reads_its_page_by_index_also_by_a_plan_made_for_few(
    db: Pool, query: str, types: str, arguments: str, most: int
) -> None:
    fills = (ORDERS, REPORTS, IN_VAIN)
    async with db.acquire() as conn:
        for table in ("orders", "applicant_issues"):
            await conn.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        await conn.execute("SET plan_cache_mode = force_generic_plan")  # the server comes to it by itself
        async with conn.transaction():
            await conn.execute(BY_INDEX)
            for fill in fills:
                await conn.execute(fill, 1, 20)
            await conn.execute(f"PREPARE asked ({types}) AS {query}")
            await conn.execute(f"EXPLAIN EXECUTE asked ({arguments})")
            for fill in fills:
                await conn.execute(fill, 21, 4_000)
            told = await conn.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE asked ({arguments})")
        assert await conn.fetchval("SELECT generic_plans FROM pg_prepared_statements WHERE name = 'asked'") > 0
    (plan,) = json.loads(told)
    read = list(nodes(plan["Plan"]))
    rows = sum((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] for node in read)
    assert rows < most, json.dumps(plan["Plan"], indent=1)
    assert "Seq Scan" not in {node["Node Type"] for node in read}
    indexes = {node.get("Index Name") for node in read}
    assert "applicant_issues_without_order" in indexes
    looks = [node for node in read if node.get("Index Name") == "idx_orders_applicant_ids"]
    assert bool(looks) == (query is reports_again._LOOK)
    for node in looks:  # also right after many orders have come
        assert node["Shared Hit Blocks"] / node["Actual Loops"] < 10, json.dumps(node, indent=1)
