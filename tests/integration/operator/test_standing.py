"""Where the order of an event stands, and which earlier event of its key it waits behind."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta

from redis.asyncio import Redis
from typer.testing import CliRunner

from adapters.postgres.bus import inbox, journal, spool
from adapters.postgres.bus.inbox import InboxRow
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.pool import Pool
from daemon.cli.main import commands
from daemon.operator.naming import the_event
from daemon.operator.standing import Standing, standing, with_orders
from daemon.operator.trail import trail_of
from daemon.workers import WORKERS
from schemas.envelope import Event, event_id
from tests.support.toy import NOON

PHONE = "+972505550001"


def order(n: int, key: str = PHONE) -> Event:
    id = f"IL-{n}"
    data = json.dumps({"order": {"id": id}}).encode()
    time = NOON + timedelta(seconds=n)
    return Event(id=event_id("orders", id), type="order.received", source="orders", subject=key, time=time, data=data)


FIRST, SECOND, THIRD, STRANGER = order(1), order(2), order(3), order(4, "+972505550002")


async def kept(db: Pool, *events: Event) -> None:
    async with db.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(event, "") for event in events])
        for worker in ("journal", "whatsapp-validation"):
            await inbox.insert(conn, worker, [InboxRow(event.id, "", "done", None, 0, b"") for event in events])


async def ended(db: Pool, event: Event) -> None:
    async with db.acquire() as conn, conn.transaction():
        await inbox.insert(conn, "contact-sync", [InboxRow(event.id, "", "done", None, 0, b"")])


async def stands(db: Pool, event: Event) -> Standing:
    found = await trail_of(db, WORKERS, await the_event(db, event.id))
    assert found is not None
    return await standing(db, WORKERS, found)


async def test_an_open_event_waits_behind_the_first_open_one_of_its_key(db: Pool) -> None:
    await kept(db, STRANGER, FIRST, SECOND, THIRD)
    assert (await stands(db, FIRST)).behind == {}
    assert (await stands(db, THIRD)).behind == {"contact-sync": FIRST.id}
    await ended(db, FIRST)
    assert (await stands(db, SECOND)).behind == {}
    assert (await stands(db, THIRD)).behind == {"contact-sync": SECOND.id}
    await ended(db, THIRD)
    assert (await stands(db, THIRD)).behind == {}, "an event that has ended waits for nothing"


async def test_an_event_that_is_not_on_the_stream_yet_waits_behind_what_the_journal_has(db: Pool) -> None:
    await kept(db, FIRST)
    await spool.append(db, [SECOND])
    assert (await stands(db, SECOND)).behind["contact-sync"] == FIRST.id


async def test_events_of_before_a_worker_began_hold_up_nothing(db: Pool) -> None:
    await kept(db, FIRST, SECOND)
    await db.execute(
        "INSERT INTO workers (name, topics, types, begins, began_at)"
        " VALUES ('contact-sync', '{orders}', '{order.received}', 'now', $1)",
        SECOND.time,
    )
    assert (await stands(db, SECOND)).behind == {}


async def test_an_event_names_its_order_and_where_that_stands(db: Pool) -> None:
    fact = FIRST.emit("contact.synced", 0, {"order_id": "IL-1"}, time=NOON)
    await kept(db, FIRST, fact)
    assert (await stands(db, FIRST)).document() == {"order_id": "IL-1", "order": None, "behind": {}}
    await db.execute(
        "INSERT INTO orders (order_id, cgb_sync_status, cgb_sync_error, ordered_at, raw_body, webhook_received_at)"
        " VALUES ('IL-1', 'failed', 'refused: +972505550001', $1, '{}', $1)",
        NOON,
    )
    for event in (FIRST, fact):
        order = (await stands(db, event)).document()["order"]
        assert (order["status"], order["reason"]) == ("failed", "refused: [phone]")


async def test_a_list_of_any_length_has_the_order_of_every_event(db: Pool) -> None:
    events = [order(n) for n in range(250)]
    await kept(db, *events)
    listed = await with_orders(db, [{"id": event.id} for event in events])
    assert [one["order_id"] for one in listed] == [f"IL-{n}" for n in range(250)]
    assert (await with_orders(db, [{"id": "gone"}])) == [{"id": "gone", "order_id": None}]


async def test_the_verbs_say_it(db: Pool, redis: Redis, redis_url: str, database_url: str) -> None:
    await kept(db, FIRST, SECOND, FIRST.emit("contact.synced", 0, {"order_id": "IL-1"}, time=NOON))
    env = {"REDIS_URL": redis_url, "DATABASE_URL": database_url, "FERRYMAN_ADMIN_TOKEN": "0123456789abcdef" * 2}

    async def said(*argv: str) -> str:
        return (await asyncio.to_thread(CliRunner().invoke, commands("events"), ["events", *argv], env=env)).output

    shown = await said("show", "IL-2")
    assert re.search(rf"contact-sync: open.* behind event {FIRST.id}\n", shown)
    assert "order    IL-2, which has no row in `orders`" in shown
    document = json.loads(await said("show", "IL-2", "--json"))
    assert document["behind"] == {"contact-sync": FIRST.id}
    assert document["data"] == {"order": {"id": "IL-2"}}
    (listed, other) = json.loads(await said("list", "--event", "IL-1", "--json"))
    assert (listed["type"], listed["order_id"], other["id"]) == ("contact.synced", "IL-1", FIRST.id)
    assert listed.keys() <= document.keys(), "what a list says of an event, its document says too"
    whole = await said("list")
    assert all(word in whole for word in (FIRST.id, SECOND.id, "IL-1", "IL-2"))
