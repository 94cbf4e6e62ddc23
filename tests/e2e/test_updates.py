"""An order that comes again changed, through real processes: which contact shows it in the end."""

from __future__ import annotations

import asyncio
import copy
import json
import random
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError

from adapters.postgres.pool import Pool
from daemon.sandbox import orders
from daemon.sandbox.cgb import CgbSandbox
from tests.support.daemons import Running, digits_of, ended, environment, ferryman, running
from tests.support.until import until

DAY = "2021-02-14T{:02d}:00:00.000Z"


def an_order(person: int, *, id: str, hour: int = 9, **overrides: Any) -> dict[str, Any]:
    """The same order for the same *id*, changed at *hour*."""
    phone = {"code": "972", "number": f"50555{person:04d}"}
    body = orders.make_order(random.Random(id), 1, branch="il", order_id=id, phone=phone, **overrides)
    body["form"]["updated_at"] = DAY.format(hour)
    return body


def shows(cgb: CgbSandbox, person: int) -> str | None:
    """The order that the contact of *person* shows; None where there is no contact."""
    contact = cgb.account.contacts.get(f"97250555{person:04d}")
    return None if contact is None else contact.values.get("OrderNumber", "")


async def settled(db: Pool, here: Running, settings: dict[str, Any], cwd: Path) -> None:
    """Wait until no event is open and the accounts balance."""

    async def none_open() -> bool:
        code, out, _ = await ferryman("audit", "--json", cwd=cwd, env=environment(**settings))
        return code == 0 and all(worker["open"] == 0 for worker in json.loads(out)["workers"].values())

    await until(none_open, "the end of every event")


async def test_a_corrected_phone_reaches_the_right_person_and_the_former_one_shows_what_is_left(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    async with running(tmp_path, **settings) as here:
        await here.post(an_order(1, id="IL1", hour=8))
        await here.post(an_order(1, id="IL2"))
        await here.post(an_order(3, id="IL3", hour=7))
        await ended(db, 3)
        assert [shows(cgb, n) for n in (1, 2, 3)] == ["IL2", None, "IL3"]
        _, answer = await here.post(an_order(2, id="IL2", hour=10))
        _, again = await here.post(an_order(2, id="IL2", hour=10))
        assert answer == again
        await here.post(an_order(2, id="IL3", hour=8))
        await settled(db, here, settings, tmp_path)
        assert [shows(cgb, n) for n in (1, 2, 3)] == ["IL1", "IL2", ""]
        rows = {row["order_id"]: row for row in await db.fetch("SELECT * FROM orders")}
        assert {id: row["client_phone_e164"][-1] for id, row in rows.items()} == {"IL1": "1", "IL2": "2", "IL3": "2"}
        assert {row["cgb_sync_status"] for row in rows.values()} == {"synced"}
        code, out, err = await ferryman("orders", "show", "IL2", "--json", cwd=tmp_path, env=environment(**settings))
        assert code == 0, err
        assert [event["type"] for event in json.loads(out)["events"]].count("order.received") == 2
    assert set(cgb.ledger.creates_by_contact().values()) == {1}


async def test_a_body_that_differs_only_in_how_it_was_sent_asks_nothing_of_cgb(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    order = an_order(1, id="IL1")
    resent = copy.deepcopy(order)
    resent["form"]["meta"] |= {"clientIp": "192.0.2.7", "revision": 99}
    resent["form"]["updated_at"] = DAY.format(11)
    async with running(tmp_path, **settings) as here:
        first = await here.post(order)
        await ended(db, 1)
        asked = len(cgb.ledger.entries)
        assert (await here.post(resent))[1] != first[1]
        await ended(db, 2)
        assert len(cgb.ledger.entries) == asked
        assert await db.fetchval("SELECT cgb_sync_status FROM orders") == "synced"
        assert await db.fetchval("SELECT count(*) FROM event_conflicts") == 0


async def test_a_canceled_order_gives_its_place_to_the_one_that_stands(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    canceled = an_order(1, id="IL2", hour=11)
    canceled["order"]["status"] = "canceled"
    async with running(tmp_path, **settings) as here:
        await here.post(an_order(1, id="IL1", hour=8))
        await here.post(an_order(1, id="IL2", hour=10))
        await ended(db, 2)
        assert shows(cgb, 1) == "IL2"
        await here.post(canceled)
        await ended(db, 3)
        assert shows(cgb, 1) == "IL1"
        assert await db.fetchval("SELECT order_status FROM orders WHERE order_id = 'IL2'") == "canceled"


@pytest.mark.parametrize("killed", [False, True])
async def test_orders_that_change_hands_while_they_are_synced_end_with_their_newest_person(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, killed: bool
) -> None:
    """Promise: whatever lane is how far when an order goes to another person, on two processes that are killed too,
    each contact shows the newest order that is its person's in the end."""
    cgb.faults.add("slow", seconds=0.03)
    people, rng = 6, random.Random(9)
    newest: dict[str, int] = {}
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(running(tmp_path, **settings)) for _ in range(2)]

        async def story(n: int) -> None:
            id = f"IL{n:03d}"
            for hour in range(8, 12):
                person = rng.randrange(people)
                order = an_order(person, id=id, hour=hour)
                order["form"]["updated_at"] = f"2021-02-{n + 1:02d}T{hour:02d}:00:00.000Z"
                while True:
                    try:
                        status, _ = await processes[rng.randrange(len(processes))].post(order)
                    except (ClientError, OSError):
                        continue
                    if status == 202:
                        break
                newest[id] = person
                await asyncio.sleep(rng.random() * 0.1)

        async def kill() -> None:
            await asyncio.sleep(0.3)
            processes.pop().process.send_signal(signal.SIGKILL)

        await asyncio.gather(*(story(n) for n in range(12)), *([kill()] if killed else []))
        await settled(db, processes[0], settings, tmp_path)
        for person in range(people):
            theirs = [id for id, owner in newest.items() if owner == person]
            assert (shows(cgb, person) or "") == max(theirs, default="")
    assert set(cgb.ledger.creates_by_contact().values()) == {1}
    assert await db.fetchval("SELECT count(*) FROM orders WHERE cgb_sync_status = 'synced'") == 12


def test_the_orders_of_these_tests_differ_in_what_is_said_alone() -> None:
    assert an_order(1, id="IL1") == an_order(1, id="IL1")
    assert digits_of(an_order(2, id="IL1")) == "972505550002"
