"""What is not in day tables leaves after its term, and nothing that is open does."""

from __future__ import annotations

import pytest

from adapters.postgres.bus import days, retention
from adapters.postgres.pool import Pool
from daemon.settings.model import Settings

REFUSED = (
    "INSERT INTO refused_requests (source, reason, status, headers, at)"
    " SELECT 'orders', 'signature', 401, '{}', now() - make_interval(days => n) FROM generate_series(1, 100) AS n"
)
LETTER = (
    "INSERT INTO dead_letters (worker, event_id, type, source, subject, time, data, traceparent, causationid,"
    " schemaversion, error_class, error_text, attempts, state, settled_at)"
    " VALUES ('toy', $1, 't', 's', 'k', now(), '{}', '', '', 1, 'X', '', 1, $2, now() - make_interval(days => 40))"
)


async def test_old_rows_leave_in_batches_and_newer_ones_stay(db: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 7)
    await db.execute(REFUSED)
    assert await retention.remove(db, "refused", 30) == 71
    assert await db.fetchval("SELECT count(*) FROM refused_requests") == 29
    assert await retention.remove(db, "refused", 30) == 0


async def test_a_letter_that_is_open_or_whose_end_the_accounts_know_stays(db: Pool) -> None:
    await days.ensure_days(db)
    for event_id, state in (("open", "open"), ("known", "discarded"), ("old", "discarded"), ("again", "retried")):
        await db.execute(LETTER, event_id, state)
    await db.execute("INSERT INTO inbox (worker, event_id, outcome, data_hash) VALUES ('toy', 'known', 'dead', '')")
    assert await retention.remove(db, "letters", 41) == 0
    assert await retention.remove(db, "letters", 30) == 2
    assert [row["event_id"] for row in await db.fetch("SELECT event_id FROM dead_letters ORDER BY 1")] == [
        "known",
        "open",
    ]


async def test_of_an_old_order_and_an_old_report_only_the_text_leaves(db: Pool) -> None:
    await db.execute(
        "INSERT INTO orders (order_id, ordered_at, raw_body, webhook_received_at)"
        " SELECT 'IL' || n, now(), 'text', now() - make_interval(days => n) FROM unnest(ARRAY[10, 50]) AS n"
    )
    await db.execute(
        "INSERT INTO applicant_issues (applicant_id, event_id, status, issues, raw_body, reported_at)"
        " SELECT 'a' || n, 'e', 'skipped', '{}', 'text', now() - make_interval(days => n) FROM unnest(ARRAY[10, 50]) n"
    )
    assert await retention.remove(db, "order_bodies", 30) == 1
    found = await db.fetch("SELECT applicant_id, raw_body FROM applicant_issues ORDER BY 1")
    assert [tuple(row) for row in found] == [("a10", "text"), ("a50", "")]
    rows = await db.fetch("SELECT order_id, raw_body FROM orders ORDER BY 1")
    assert [tuple(row) for row in rows] == [("IL10", "text"), ("IL50", "")]


@pytest.mark.parametrize(
    ("table", "columns", "left"),
    [("crm_messages", "message_key", 31), ("label_requests", "key", 30), ("agent_replies", "event_id", 30)],
)
async def test_what_repeats_are_known_by_leaves_with_the_events(
    db: Pool, monkeypatch: pytest.MonkeyPatch, table: str, columns: str, left: int
) -> None:
    monkeypatch.setattr(retention, "BATCH", 7)
    assert table in retention.WITH_EVENTS
    more = {
        "label_requests": (", digest, event_id", ", '', gen_random_uuid()"),
        "agent_replies": (", chat, at", ", 'c', now()"),
    }
    names, values = more.get(table, ("", ""))
    await db.execute(
        f"INSERT INTO {table} ({columns}{names}, created_at)"
        f" SELECT n::text{values}, now() - make_interval(days => n, mins => -5) FROM generate_series(1, 50) AS n"
    )
    assert await retention.remove(db, table, 30) == 50 - left
    assert await db.fetchval(f"SELECT max({columns}::int) FROM {table}") == left
    assert await retention.remove(db, table, 30) == 0


@pytest.mark.parametrize("kind", retention.KINDS)
async def test_every_kind_has_its_setting_and_a_statement_that_runs(db: Pool, kind: str) -> None:
    await days.ensure_days(db)
    term = getattr(Settings(), f"ferryman_retention_{kind}_days")
    assert await retention.remove(db, kind, term) == 0
