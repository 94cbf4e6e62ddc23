"""The operators' own SQL, as written in their handbook, runs on our tables and tells the truth."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from adapters.postgres.order_marks import SyncResult
from adapters.postgres.orders import row_of
from adapters.postgres.pool import Pool
from daemon.contacts import whatsapp_validation
from daemon.contacts.recording import record
from daemon.contacts.validation import Terms
from daemon.sandbox.orders import make_order
from schemas.orders import order_from
from schemas.phone import Phone

FAILED_TODAY = """
SELECT order_id, cgb_sync_error, cgb_sync_attempted_at
FROM orders
WHERE cgb_sync_status = 'failed'
AND cgb_sync_attempted_at > NOW() - INTERVAL '24 hours';
"""

WEEKLY_AUDIT = """
SELECT
  cgb_sync_status,
  COUNT(*) as count,
  DATE(cgb_sync_attempted_at) as date
FROM orders
WHERE cgb_sync_attempted_at > NOW() - INTERVAL '7 days'
GROUP BY cgb_sync_status, DATE(cgb_sync_attempted_at)
ORDER BY date DESC;
"""

CLEAN_UP = """
UPDATE orders
SET cgb_sync_error = NULL
WHERE cgb_sync_status = 'synced'
AND cgb_sync_error IS NOT NULL;
"""

COVERAGE = """
SELECT
  COUNT(*) FILTER (WHERE cgb_has_whatsapp = true) as with_whatsapp,
  COUNT(*) FILTER (WHERE cgb_has_whatsapp = false) as without_whatsapp,
  COUNT(*) FILTER (WHERE cgb_sync_status = 'failed') as failed,
  COUNT(*) as total
FROM orders
WHERE created_at > NOW() - INTERVAL '30 days';
"""

RECENT_ERRORS = """
SELECT DISTINCT cgb_sync_error, COUNT(*)
FROM orders
WHERE cgb_sync_status = 'failed'
AND cgb_sync_attempted_at > NOW() - INTERVAL '1 hour'
GROUP BY cgb_sync_error;
"""

ONE_ORDER = """
SELECT order_id, client_phone, cgb_has_whatsapp
FROM orders
WHERE order_id = 'IL1';
"""

PHONE_FORMAT = """
SELECT client_phone, cgb_contact_id
FROM orders
WHERE cgb_sync_status = 'synced'
AND cgb_has_whatsapp = false
LIMIT 10;
"""


@pytest.fixture
async def synced(db: Pool) -> Pool:
    """Six orders: two with WhatsApp, one without, two failed (one of them long ago), one pending."""
    now = datetime.now(UTC)
    ends = [
        SyncResult(order_id="IL1", status="synced", at=now, contact_id="972505550001"),
        SyncResult(order_id="IL2", status="synced", at=now, contact_id="972505550002"),
        SyncResult(order_id="IL3", status="synced", at=now, contact_id="972505550003"),
        SyncResult(order_id="IL4", status="failed", at=now, error="the order has no usable phone"),
        SyncResult(order_id="IL5", status="failed", at=now - timedelta(days=3), error="refused"),
    ]
    made = [make_order(Random(n), n, branch="il", order_id=f"IL{n}") for n in range(1, 7)]
    terms = Terms(yes_days=90, no_days=14)
    told = [terms.evidence(Phone(f"+97250555000{n}"), n != 3, "cgb", now) for n in (1, 2, 3)]
    async with db.acquire() as conn, conn.transaction():
        await record(
            conn, [*(row_of(order_from(json.dumps(body).encode(), now), body["order"]["id"]) for body in made), *ends]
        )
        await whatsapp_validation.record(conn, told)
    return db


async def test_the_daily_list_shows_today_s_failures_with_their_reason(synced: Pool) -> None:
    rows = await synced.fetch(FAILED_TODAY)
    assert [(row[0], row[1]) for row in rows] == [("IL4", "the order has no usable phone")]


async def test_the_weekly_audit_counts_every_attempted_sync(synced: Pool) -> None:
    rows = await synced.fetch(WEEKLY_AUDIT)
    assert sum(row["count"] for row in rows) == 5
    assert {row["cgb_sync_status"] for row in rows} == {"synced", "no_whatsapp", "failed"}


async def test_the_clean_up_finds_no_error_on_a_synced_order(synced: Pool) -> None:
    assert await synced.execute(CLEAN_UP) == "UPDATE 0"


async def test_the_coverage_report_adds_up(synced: Pool) -> None:
    row = await synced.fetchrow(COVERAGE)
    assert row is not None
    assert tuple(row) == (2, 1, 2, 6)


async def test_the_troubleshooting_queries_run(synced: Pool) -> None:
    assert [tuple(row) for row in await synced.fetch(RECENT_ERRORS)] == [("the order has no usable phone", 1)]
    assert [tuple(row) for row in await synced.fetch(ONE_ORDER)] == [("IL1", "972505550001", True)]
    assert await synced.fetch(PHONE_FORMAT) == []


async def test_the_seven_columns_and_both_indexes_are_as_operators_know_them(db: Pool) -> None:
    columns = await db.fetch(
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = 'orders' AND column_name LIKE 'cgb%' ORDER BY 1"
    )
    assert [tuple(row) for row in columns] == [
        ("cgb_contact_exists", "boolean"),
        ("cgb_contact_id", "text"),
        ("cgb_has_whatsapp", "boolean"),
        ("cgb_sync_attempted_at", "timestamp with time zone"),
        ("cgb_sync_completed_at", "timestamp with time zone"),
        ("cgb_sync_error", "text"),
        ("cgb_sync_status", "text"),
    ]
    indexes = {row[0] for row in await db.fetch("SELECT indexname FROM pg_indexes WHERE tablename = 'orders'")}
    assert {"idx_orders_cgb_sync_status", "idx_orders_cgb_contact_id"} <= indexes
