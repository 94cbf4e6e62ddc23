"""Orders as an operator finds them: where each stands, and why one has failed."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from random import Random
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner

from adapters.postgres import order_marks
from adapters.postgres import orders as table
from adapters.postgres.bus import burials, inbox, journal
from adapters.postgres.bus.burials import DeadLetter
from adapters.postgres.bus.inbox import InboxRow
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.operator.orders import STATUSES
from adapters.postgres.order_marks import SyncResult
from adapters.postgres.orders import row_of
from adapters.postgres.pool import Pool
from daemon.cli.main import commands
from daemon.operator import orders
from daemon.operator.orders import NoSuchOrder
from daemon.operator.standing import order_of
from daemon.sandbox.orders import make_order
from schemas.envelope import Event, event_id
from schemas.orders import order_from
from tests.support.conversations import sent
from tests.support.toy import NOON

PHONE = "+972505550001"
REASON = "the order has no usable phone"


def webhook(id: str) -> Event:
    data = orjson.dumps(make_order(Random(1), 1, branch="il", order_id=id))
    return Event(id=event_id("orders", id), type="order.received", source="orders", subject=PHONE, time=NOON, data=data)


ONE, TWO = webhook("IL-1"), webhook("IL-2")


async def stored(db: Pool, *events: Event, failed: str | None = None) -> None:
    """Keep the orders of *events*, one after the other. *failed*: why they have failed."""
    for event in events:
        order = order_from(event.data, event.time)
        async with db.acquire() as conn, conn.transaction():
            await journal.append(conn, [Journaled(event, "")])
            await table.insert(conn, [row_of(order, order.order_id)])
            if failed is not None:
                result = SyncResult(order_id=order.order_id, status="failed", at=NOON, error=failed)
                await order_marks.mark(conn, [result], {})


async def verb(redis_url: str, database_url: str, *argv: str) -> tuple[int, str]:
    env = {"REDIS_URL": redis_url, "DATABASE_URL": database_url, "FERRYMAN_ADMIN_TOKEN": "0123456789abcdef" * 2}
    answer = await asyncio.to_thread(CliRunner().invoke, commands(argv[0]), list(argv), env=env)
    return answer.exit_code, answer.output


async def test_failed_orders_are_found_with_their_reason(db: Pool) -> None:
    await stored(db, ONE)
    await stored(db, TWO, failed=REASON)
    (found,) = await orders.list_orders(db, "failed", None, 10)
    assert (found["order_id"], found["status"], found["reason"]) == ("IL-2", "failed", REASON)
    assert [one["order_id"] for one in await orders.list_orders(db, None, None, 10)] == ["IL-2", "IL-1"]
    assert [one["order_id"] for one in await orders.list_orders(db, None, None, 1)] == ["IL-2"]
    assert await orders.list_orders(db, None, found["kept_at"] + timedelta(seconds=1), 10) == []
    assert await orders.counts(db) == dict.fromkeys(STATUSES, 0) | {"pending": 1, "failed": 1}


async def test_an_order_shows_the_messages_that_its_rules_have_asked_for(
    db: Pool, redis: Redis, redis_url: str, database_url: str
) -> None:
    await stored(db, ONE, TWO)
    first = await sent(db, "confirmed", purpose="rule:confirmation")
    due = NOON + timedelta(days=1)
    later = await sent(db, "remember", minutes=1, status="canceled", sent_at=None, not_before=due)
    for id, rule, withdrawn in ((later, "reminder", True), (first, "confirmation", False)):
        await db.execute(
            "INSERT INTO automatic_messages (message_id, order_id, kind, subject, rule, trigger, withdrawn)"
            " VALUES ($1, 'IL-1', $2, '', $2, 'order.received', $3)",
            *(id, rule, withdrawn),
        )
    told = [(one["id"], one["rule"], one["status"]) for one in (await orders.show(db, "IL-1"))["messages"]]
    assert told == [(str(first), "confirmation", "sent"), (str(later), "reminder", "canceled")]
    assert (await orders.show(db, "IL-2"))["messages"] == []
    code, said = await verb(redis_url, database_url, "orders", "show", "IL-1")
    lines = [line.split("  ", 1)[1].strip() for line in said.splitlines() if line.startswith("message ")]
    assert (code, lines) == (
        0,
        [
            f"{first}  confirmation  confirmation  chatwoot  sent  2031-03-01 12:00:00",
            f"{later}  reminder  reminder  chatwoot  canceled (withdrawn)  not before 2031-03-02 12:00:00",
        ],
    )


async def test_every_status_of_the_table_can_be_asked_for(db: Pool) -> None:
    allowed = await db.fetchval(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'orders_cgb_sync_status_check'"
    )
    assert sorted(STATUSES) == sorted(part for part in allowed.split("'") if part.replace("_", "").isalpha())


async def test_a_list_says_nothing_of_the_buyers_and_hides_what_a_reason_quotes(db: Pool) -> None:
    await stored(db, ONE, failed=f"refused: {PHONE} a@b.example")
    said = str(await orders.list_orders(db, None, None, 10))
    client = json.loads(ONE.data)["form"]["client"]
    for personal in (PHONE, "a@b.example", client["name"], client["email"]):
        assert personal not in said


async def test_one_order_is_shown_with_its_buyer_events_and_letters(db: Pool) -> None:
    await stored(db, ONE)
    synced = ONE.emit("contact.synced", 0, {"order_id": "IL-1"}, time=NOON + timedelta(seconds=9))
    async with db.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(synced, "")])
        await inbox.insert(conn, "contact-sync", [InboxRow(ONE.id, "", "dead", None, 2, b"")])
        await burials.bury(conn, "contact-sync", [DeadLetter(ONE, "Refused", "no", 1)])
    for name in ("IL-1", ONE.id, ONE.id[:8], synced.id, "1"):
        found = await orders.show(db, name)
        assert found["order_id"] == "IL-1", name
    listed: dict[str, Any] = (await orders.list_orders(db, None, None, 10))[0]
    assert listed.items() <= found.items(), "what a list says of an order, its document says too"
    assert found["client_phone"] == PHONE
    assert [event["id"] for event in found["events"]] == [ONE.id, synced.id]
    assert found["dead_letters"] == [{"number": 1, "worker": "contact-sync", "state": "open"}]


REPORT = """
INSERT INTO applicant_issues (applicant_id, event_id, status, reason, issues, order_id, reported_at, raw_body)
VALUES ($1, 'e', $2, $3, $4::jsonb, $5, now(), '{}')
"""


async def test_one_order_is_shown_with_what_was_reported_about_its_applicants(
    db: Pool, redis: Redis, redis_url: str, database_url: str
) -> None:
    body = make_order(Random(1), 1, branch="il", order_id="IL-1", quantity=3)
    body["form"]["applicants"] = [{"id": "apl_1"}, {"id": "apl_2"}, {"id": "apl_3"}, None, {"id": 7}]
    await stored(db, ONE._replace(data=orjson.dumps(body)), TWO)
    issues = {"face_photo": [{"value": "blurred_photo", "label": "x"}, {"value": None, "label": "Hat"}], "business": []}
    await db.execute(REPORT, "apl_1", "reported", None, json.dumps(issues), "IL-1")
    await db.execute(REPORT, "apl_2", "skipped", "unknown applicant", "{}", None)
    await db.execute(REPORT, "apl_3", "reported", None, "{}", "IL-2")  # which names the applicant too, and is newer
    await db.execute(REPORT, "7", "failed", f"odd {PHONE}", "{}", None)
    found = (await orders.show(db, "IL-1"))["issues"]
    assert [(one["applicant_id"], one["status"], one["reason"]) for one in found] == [
        ("apl_1", "reported", None),
        ("apl_2", "skipped", "unknown applicant"),
        ("7", "failed", "odd [phone]"),
    ]
    assert found[0]["issues"] == issues
    assert [one["applicant_id"] for one in (await orders.show(db, "IL-2"))["issues"]] == ["apl_3"]
    code, said = await verb(redis_url, database_url, "orders", "show", "IL-1")
    assert code == 0, said
    assert "apl_1  reported  " in said
    assert "face_photo: blurred_photo, Hat" in said
    assert "apl_2  skipped (unknown applicant)" in said
    assert "no issues" in said


async def test_an_order_that_is_not_there_says_where_to_look(db: Pool) -> None:
    with pytest.raises(NoSuchOrder, match="ferryman refused list"):
        await orders.show(db, "IL-1")
    await stored(db, ONE)
    await db.execute("DELETE FROM orders")
    with pytest.raises(NoSuchOrder, match=f"ferryman events show {ONE.id}"):
        await orders.show(db, "IL-1")


async def test_the_verbs_show_orders_and_the_status_names_the_failed_ones(
    db: Pool, redis: Redis, redis_url: str, database_url: str
) -> None:
    await stored(db, ONE, TWO, failed=REASON)
    code, said = await verb(redis_url, database_url, "orders", "list", "--status", "failed")
    assert code == 0
    assert said.count(REASON) == 2
    assert "2 failed" in said
    code, said = await verb(redis_url, database_url, "orders", "show", "IL-2", "--json")
    assert (code, json.loads(said)["reason"]) == (0, REASON)
    code, said = await verb(redis_url, database_url, "status")
    assert "2 orders have failed: `ferryman orders list --status failed`" in said
    code, said = await verb(redis_url, database_url, "status", "--json")
    assert json.loads(said)["orders"]["failed"] == 2


@pytest.mark.parametrize(
    ("data", "id"),
    [
        (b'{"order": {"id": " IL-1 "}}', "IL-1"),
        (b'{"order": {"id": 7}}', "7"),
        (b'{"order_id": "IL-1", "status": "synced"}', "IL-1"),
        (b'{"order": {"id": true}}', None),
        (b'{"order": []}', None),
        (b"[1]", None),
        (b"junk", None),
        (b"", None),
    ],
)
def test_the_order_of_an_event_is_read_from_its_data(data: bytes, id: str | None) -> None:
    assert order_of(data) == id
