"""Orders that an operator corrects, or syncs again, through real processes."""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
import sys
from pathlib import Path
from typing import Any

from adapters.postgres.pool import Pool
from daemon.sandbox import orders
from daemon.sandbox.cgb import CgbSandbox
from tests.support.daemons import digits_of, ended, environment, ferryman, running, some_orders, synced
from tests.support.until import until


async def verb(cwd: Path, settings: dict[str, Any], *argv: str, code: int = 0) -> str:
    """Run a verb, which ends with *code*; its output."""
    found, out, err = await ferryman(*argv, cwd=cwd, env=environment(**settings))
    assert found == code, out + err
    return out + err


async def status_of(db: Pool, order_id: str) -> str:
    return str(await db.fetchval("SELECT cgb_sync_status FROM orders WHERE order_id = $1", order_id))


async def test_a_correction_heals_an_order_without_a_phone_and_outlives_a_later_state(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    """Promise: the contact of the right person shows the order, and nobody else's ever does."""
    order = orders.missing_phone(random.Random(1), 77)
    order["form"]["updated_at"] = "2021-02-14T09:00:00.000Z"
    name = order["order"]["id"]
    later = json.loads(json.dumps(order))
    later["form"]["updated_at"] = "2021-02-14T10:00:00.000Z"
    later["form"]["quantity"] = 7
    async with running(tmp_path, **settings) as here:
        await here.post(order)
        await ended(db, 1)
        assert await status_of(db, name) == "failed"
        said = await verb(tmp_path, settings, "orders", "correct", name, "--phone", "+972 50-555-0199")
        assert "+972505550199" in said

        async def healed() -> bool:
            return await status_of(db, name) == "synced"

        await until(healed, "the order with the right phone")
        assert (await here.post(later))[0] == 202

        async def shown() -> bool:
            contact = cgb.account.contacts.get("972505550199")
            return contact is not None and contact.values.get("visa_quantity") == "7"

        await until(shown, "the later state at the right person")
    assert list(cgb.account.contacts) == ["972505550199"]
    actions = [row["action"] for row in await db.fetch("SELECT action FROM audit_log ORDER BY id")]
    assert actions == ["order.corrected", "order.updated"]


async def test_orders_that_failed_are_synced_again_with_their_letters(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    good, bad, other = some_orders(3)
    cgb.faults.add("error", method="POST", contact=digits_of(bad), message="blocked by the account")
    cgb.faults.add("error", method="POST", contact=digits_of(other), message="another reason")
    async with running(tmp_path, **settings) as here:
        for order in (good, bad, other):
            await here.post(order)
        await ended(db, 3)
        assert "2 orders to sync again" in await verb(tmp_path, settings, "sync", "failed", "--dry-run")
        said = await verb(tmp_path, settings, "sync", "failed", "--error", "blocked", "--yes", code=1)
        assert "1 dead" in said  # CGB still says no
        cgb.faults.clear()
        assert "all have ended: 2 done" in await verb(tmp_path, settings, "sync", "failed", "--yes")
        assert await db.fetchval("SELECT count(*) FROM orders WHERE cgb_sync_status = 'synced'") == 3
        assert await db.fetchval("SELECT count(*) FROM dead_letters WHERE state = 'open'") == 0
        assert await verb(tmp_path, settings, "audit")


async def test_one_order_is_synced_again_also_where_somebody_has_changed_the_contact(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    (order,) = some_orders(1)
    name = order["order"]["id"]
    async with running(tmp_path, **settings) as here:
        await here.post(order)
        await synced(db, 1)
        contact = cgb.account.contacts[digits_of(order)]
        contact.values["OrderNumber"] = "somebody's own"
        looked = await verb(tmp_path, settings, "sync", "order", name, "--dry-run")
        assert "would be updated" in looked
        assert "OrderNumber" in looked
        assert contact.values["OrderNumber"] == "somebody's own"
        assert "is synced" in await verb(tmp_path, settings, "sync", "order", name)
        assert contact.values["OrderNumber"] == name
        cgb.faults.add("error", method="GET", message="no")
        assert "failed" in await verb(tmp_path, settings, "sync", "order", name, code=1)


async def test_a_bulk_sync_that_is_killed_goes_on_where_it_was_and_syncs_each_order(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    many = some_orders(40)
    async with running(tmp_path, **settings, CGB_SYNC_ENABLED="false") as here:
        for order in many:
            await here.post(order)
        await ended(db, 40)
    cgb.faults.add("slow", seconds=0.05)
    bulk = ("sync", "bulk", "--status", "pending", "--from", "2000-01-01", "--yes")
    async with running(tmp_path, **settings):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "daemon",
            *bulk,
            cwd=tmp_path,
            env=environment(**settings),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )

        async def half_way() -> bool:
            return bool(await db.fetchval("SELECT sent > 12 FROM sync_runs"))

        await until(half_way, "a part of the orders")
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        said = await verb(tmp_path, settings, *bulk)
        before = re.search(r"(\d+) of 40 were sent before an interruption", said)
        assert before is not None, said
        assert 12 < int(before[1]) < 40
        await synced(db, 40)
    assert set(cgb.ledger.creates_by_contact().values()) == {1}
    assert await db.fetchval("SELECT count(*) FROM sync_runs") == 1
    assert await db.fetchval("SELECT count(DISTINCT event_id) FROM inbox WHERE replay_id <> ''") == 40


async def test_orders_of_a_time_without_a_sync_are_found_and_synced_by_the_reconciler(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    many = some_orders(4)
    async with running(tmp_path, **settings, CGB_SYNC_ENABLED="false") as here:
        await here.post(many[0])
        await here.post(many[1])
        await ended(db, 2)
    async with running(tmp_path, **settings, CGB_SYNC_DRY_RUN="true") as here:
        await here.post(many[2])
        await ended(db, 3)
    await db.execute("UPDATE orders SET updated_at = now() - interval '1 hour'")
    async with running(tmp_path, **settings) as here:
        await synced(db, 3)
        text = await (await here.session.get(f"{here.url}/metrics")).text()
        assert "ferryman_orders_reconciled_total 3" in text
        assert "0 orders are synced again" in await verb(tmp_path, settings, "reconcile")


async def test_orders_of_one_person_within_the_delay_make_one_update_and_each_ends_for_itself(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    (first,) = some_orders(1)
    many = [json.loads(json.dumps(first)) for _ in range(4)]
    for n, order in enumerate(many):
        order["order"]["id"] = f"IL-{n}"
        order["form"]["updated_at"] = f"2021-02-14T0{9 - n}:00:00.000Z"  # the one that comes first is the newest
    async with running(tmp_path, **settings, CGB_SYNC_COALESCE="true", CGB_SYNC_DELAY_MS=1500) as here:
        await asyncio.gather(*(here.post(order) for order in many))
        await synced(db, 4)
    assert len(cgb.ledger.writes()) == 1
    assert cgb.account.contacts[digits_of(first)].values["OrderNumber"] == "IL-0"
    reasons = [row["reason"] for row in await db.fetch("SELECT reason FROM inbox WHERE worker = 'contact-sync'")]
    assert sorted(reasons, key=str) == [None, "coalesced", "coalesced", "coalesced"]
