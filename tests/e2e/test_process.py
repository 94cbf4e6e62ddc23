"""The real process, on real servers, against a simulated CGB that answers over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from daemon.sandbox import orders
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from tests.support.daemons import (
    RUNNING,
    Running,
    children,
    digits_of,
    ended,
    environment,
    ferryman,
    free_port,
    running,
    some_orders,
)
from tests.support.until import until


async def test_an_order_becomes_a_row_and_a_contact(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    (order,) = some_orders(1)
    async with running(tmp_path, **settings) as here:
        status, answer = await here.post(order)
        assert status == 202
        await ended(db, 1)
        row = await db.fetchrow("SELECT * FROM orders")
        assert row is not None
        assert row["order_id"] == order["order"]["id"]
        assert (row["cgb_sync_status"], row["cgb_contact_id"]) == ("synced", digits_of(order))
        assert (row["cgb_contact_exists"], row["cgb_has_whatsapp"], row["cgb_sync_error"]) == (False, None, None)
        assert row["cgb_sync_attempted_at"] <= row["cgb_sync_completed_at"]
        assert await db.fetchval("SELECT id FROM event_journal WHERE type = 'order.received'") == answer["event_ids"][0]
        kinds = {r["kind"] for r in await db.fetch("SELECT kind FROM contact_identities")}
        assert kinds == {"phone", "cgb"}
        assert await db.fetchval("SELECT email FROM contact_emails") == order["form"]["client"]["email"].lower()
        assert cgb.ledger.contacts_made() == [digits_of(order)]
        fields = cgb.account.contacts[digits_of(order)].values
        assert fields["OrderNumber"] == order["order"]["id"]
        assert await here.stop() == 0
    text = "\n".join(here.lines)
    for private in (order["form"]["client"]["name"].strip(), order["form"]["client"]["email"], digits_of(order), TOKEN):
        assert private not in text


async def test_a_webhook_sent_three_times_is_effected_once(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    (order,) = some_orders(1)
    async with running(tmp_path, **settings) as here:
        answers = await asyncio.gather(*(here.post(order) for _ in range(3)))
        assert len({answer["event_ids"][0] for _, answer in answers}) == 1
        await ended(db, 1)
        assert (await here.post(order))[0] == 202
        assert await here.stop() == 0
    assert len(cgb.ledger.writes()) == 1
    assert await db.fetchval("SELECT count(*) FROM inbox WHERE worker = 'contact-sync'") == 1


async def test_the_newer_order_of_a_person_wins_whatever_the_order_of_arrival(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    older, newer = orders.same_person_twice(random.Random(3), 40)
    async with running(tmp_path, **settings) as here:
        await here.post(newer)
        await ended(db, 1)
        await here.post(older)
        await ended(db, 2)
    (contact,) = cgb.account.contacts.values()
    assert contact.values["OrderNumber"] == newer["order"]["id"]
    statuses = await db.fetch("SELECT cgb_sync_status FROM orders")
    assert [row["cgb_sync_status"] for row in statuses] == ["synced", "synced"]


async def test_odd_orders_end_visibly_and_touch_no_contact(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    rng = random.Random(5)
    no_phone, vizi_test = orders.missing_phone(rng, 1), orders.vizi_test(rng, 2)
    broken = orders.make_order(rng, 3) | {"form": {"client": "nobody"}}
    async with running(tmp_path, **settings) as here:
        for order in (no_phone, vizi_test, broken):
            assert (await here.post(order))[0] == 202
        await ended(db, 3)
    row = await db.fetchrow("SELECT cgb_sync_status, cgb_sync_error FROM orders")
    assert row is not None
    assert row["cgb_sync_status"] == "failed"
    assert "phone" in row["cgb_sync_error"]
    letters = await db.fetch("SELECT error_class FROM dead_letters")
    assert [letter["error_class"] for letter in letters] == ["Malformed"]
    reasons = await db.fetch("SELECT reason FROM inbox WHERE outcome = 'skipped' AND worker = 'contact-sync'")
    assert {reason["reason"] for reason in reasons} == {"test order", "no phone"}
    assert cgb.ledger.entries == []


async def test_a_dry_run_makes_no_call(tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool) -> None:
    async with running(tmp_path, **settings, CGB_SYNC_DRY_RUN="true") as here:
        await here.post(some_orders(1)[0])
        await ended(db, 1)
    assert cgb.ledger.entries == []
    assert await db.fetchval("SELECT reason FROM inbox WHERE worker = 'contact-sync'") == "dry run"


async def test_sigterm_finishes_what_is_in_hand_and_the_next_start_does_the_rest(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    sent = some_orders(60)
    cgb.faults.add("slow", seconds=0.05)
    async with running(tmp_path, **settings) as here:
        await asyncio.gather(*(here.post(order) for order in sent))
        await until(lambda: _made(cgb, 10), "ten contacts")
        assert await here.stop() == 0
        done = await db.fetchval("SELECT count(*) FROM orders WHERE cgb_sync_status = 'synced'")
        assert done == len(cgb.ledger.contacts_made())
        assert 10 <= done < 60
    assert await db.fetchval("SELECT count(*) FROM attempts") == 0
    cgb.faults.clear()
    async with running(tmp_path, **settings) as here:
        await ended(db, 60)
    assert set(cgb.ledger.creates_by_contact().values()) == {1}
    assert len(cgb.ledger.contacts_made()) == 60


async def test_kill_9_in_mid_flow_loses_nothing_and_makes_no_contact_twice(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    sent = some_orders(80)
    cgb.faults.add("slow", seconds=0.02)
    rest = iter(sent)
    for wanted in (8, 30, 50):
        async with running(tmp_path, **settings) as here:
            for order in [order for _, order in zip(range(25), rest, strict=False)]:
                assert (await here.post(order))[0] == 202
            await until(partial(_made, cgb, wanted), f"{wanted} contacts")
            await here.stop(signal.SIGKILL)
    async with running(tmp_path, **settings) as here:
        for order in rest:
            assert (await here.post(order))[0] == 202
        await ended(db, 80)
        assert await here.stop() == 0
    statuses = await db.fetch("SELECT cgb_sync_status AS s, count(*) AS n FROM orders GROUP BY 1")
    assert {row["s"]: row["n"] for row in statuses} == {"synced": 80}
    made = cgb.ledger.contacts_made()
    assert len(made) == len(set(made)) == 80
    there_before = await db.fetchval("SELECT count(*) FROM orders WHERE cgb_contact_exists")
    assert there_before == 0, "a contact that we made ourselves was not there before the order"


async def test_two_processes_share_the_work_and_one_takes_over_from_a_killed_one(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    sent = some_orders(40)
    async with running(tmp_path, **settings) as first, running(tmp_path, **settings) as second:
        await until(lambda: _share(first, second), "an even share of the partitions")
        for order in sent[:20]:
            await first.post(order)
        await first.stop(signal.SIGKILL)
        for order in sent[20:]:
            await second.post(order)
        await ended(db, 40)
        assert len((await second.ready())["leases"]["contact-sync"]) == 16
    made = cgb.ledger.contacts_made()
    assert len(made) == len(set(made)) == 40


async def test_an_outage_of_cgb_buries_nothing_and_is_over_when_it_is_over(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    sent = some_orders(12)
    outage = cgb.faults.add("html", status=502)
    async with running(tmp_path, **settings) as here:
        for order in sent:
            await here.post(order)

        async def stored() -> bool:
            return bool(await db.fetchval("SELECT count(*) = 12 FROM orders WHERE cgb_sync_status = 'pending'"))

        await until(stored, "twelve orders kept while CGB is away")
        await until(lambda: _asked(cgb, 2), "two calls in vain")
        assert outage.kind == "html"
        cgb.faults.clear()
        await ended(db, 12)
    assert await db.fetchval("SELECT count(*) FROM dead_letters") == 0
    assert await db.fetchval("SELECT count(*) FROM orders WHERE cgb_sync_status = 'synced'") == 12


async def test_an_order_that_cgb_refuses_for_good_is_a_dead_letter_with_a_failed_row(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    good, bad = some_orders(2)
    cgb.faults.add("error", method="POST", contact=digits_of(bad), message="blocked by the account")
    async with running(tmp_path, **settings) as here:
        await here.post(bad)
        await here.post(good)
        await ended(db, 2)
    row = await db.fetchrow("SELECT * FROM orders WHERE order_id = $1", bad["order"]["id"])
    assert row is not None
    assert row["cgb_sync_status"] == "failed"
    assert row["cgb_sync_error"]
    assert await db.fetchval("SELECT count(*) FROM dead_letters WHERE state = 'open'") == 1
    assert await db.fetchval("SELECT cgb_sync_status FROM orders WHERE order_id = $1", good["order"]["id"]) == "synced"


async def test_a_second_signal_ends_the_process_now(tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox) -> None:
    cgb.faults.add("hang", seconds=60)
    patient = settings | {"CGB_TIMEOUT": 60_000}
    async with running(tmp_path, **patient) as here:
        await here.post(some_orders(1)[0])
        await until(lambda: _asked(cgb, 1), "a call that hangs")
        here.process.send_signal(signal.SIGTERM)

        async def stopping() -> bool:
            return any("daemon.draining" in line for line in here.lines)

        await until(stopping, "the drain")
        assert await asyncio.wait_for(here.stop(), 3) == 1


async def test_a_drain_ends_within_its_limit_and_costs_no_attempt(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    cgb.faults.add("hang", seconds=60)
    async with running(tmp_path, **settings | {"CGB_TIMEOUT": 60_000}, FERRYMAN_DRAIN_SECONDS=1) as here:
        await here.post(some_orders(1)[0])
        await until(lambda: _asked(cgb, 1), "a call that hangs")
        assert await asyncio.wait_for(here.stop(), 8) == 0
    assert await db.fetchval("SELECT count(*) FROM attempts") == 0
    assert await db.fetchval("SELECT count(*) FROM inbox WHERE worker = 'contact-sync'") == 0


async def test_a_port_in_use_is_one_line_and_exit_code_1(tmp_path: Path, settings: dict[str, Any]) -> None:
    async with running(tmp_path, **settings) as here:
        port = here.url.rpartition(":")[2]
        code, _, err = await ferryman("run", cwd=tmp_path, env=environment(**settings, FERRYMAN_PORT=port))
    assert code == 1
    (line,) = [line for line in err.splitlines() if line]
    assert port in line
    assert "FERRYMAN_PORT" in line


async def test_all_problems_of_the_settings_come_in_one_message(tmp_path: Path) -> None:
    wrong = environment(FERRYMAN_PROT=8080, CGB_SYNC_DELAY_MS="soon", CGB_API_STYLE="new")
    code, _, err = await ferryman("run", cwd=tmp_path, env=wrong)
    assert code == 2
    for name in ("FERRYMAN_PROT", "CGB_SYNC_DELAY_MS", "CGB_API_STYLE"):
        assert name in err


async def test_run_and_status_refuse_an_old_schema_and_name_the_command(
    tmp_path: Path, stores: dict[str, str], empty_database_url: str
) -> None:
    env = environment(**stores | {"DATABASE_URL": empty_database_url})
    code, _, err = await ferryman("run", cwd=tmp_path, env=env)
    assert code == 1
    assert "ferryman migrate" in err
    code, out, _ = await ferryman("status", cwd=tmp_path, env=env)
    assert (code, "run `ferryman migrate`" in out) == (1, True)
    assert (await ferryman("migrate", "--dry-run", cwd=tmp_path, env=env))[1].startswith("would apply")
    assert (await ferryman("migrate", cwd=tmp_path, env=env))[0] == 0
    assert (await ferryman("migrate", cwd=tmp_path, env=env))[1].strip() == "the schema is up to date"


async def test_run_refuses_another_number_of_partitions(tmp_path: Path, settings: dict[str, Any]) -> None:
    async with running(tmp_path, **settings) as here:
        assert await here.stop() == 0
    code, _, err = await ferryman("run", cwd=tmp_path, env=environment(**settings, FERRYMAN_PARTITIONS=8))
    assert code == 1
    assert "ferryman partitions" in err


async def test_run_refuses_a_redis_that_evicts(tmp_path: Path, stores: dict[str, str], redis: Redis) -> None:
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        code, _, err = await ferryman("run", cwd=tmp_path, env=environment(**stores))
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")
    assert code == 1
    assert "noeviction" in err


async def test_embedded_servers_that_die_are_started_again_and_nothing_is_lost(
    memory_path: Path, cgb: CgbSandbox
) -> None:
    first, second, third = some_orders(3)
    embedded: dict[str, Any] = {"CGB_API_URL": cgb.url, "CGB_API_KEY": TOKEN, "FERRYMAN_LEASE_SECONDS": 3}
    async with running(memory_path, **embedded) as here:
        await here.post(first)
        await until(lambda: _made(cgb, 1), "the first contact")
        for program, order in (("valkey-server", second), ("postgres", third)):
            victims = children(here.process.pid, program)
            assert victims
            for pid in victims:
                os.kill(pid, signal.SIGKILL)

            async def accepted(order: dict[str, Any] = order) -> bool:
                return (await here.post(order))[0] == 202

            await until(accepted, "an accepted order")
        await until(lambda: _made(cgb, 3), "all three contacts")
        code, out, _ = await ferryman("audit", "--json", cwd=memory_path, env=environment())
        assert (code, json.loads(out)["balanced"]) == (0, True)
        assert await here.stop() == 0
    assert set(cgb.ledger.creates_by_contact().values()) == {1}


async def test_the_daemon_starts_again_on_its_embedded_servers_right_after_a_kill_9(
    memory_path: Path, cgb: CgbSandbox
) -> None:
    sent = some_orders(4)
    embedded: dict[str, Any] = {"CGB_API_URL": cgb.url, "CGB_API_KEY": TOKEN}
    for order in sent:
        async with running(memory_path, **embedded) as here:
            assert (await here.post(order))[0] == 202
            await here.stop(signal.SIGKILL)
    async with running(memory_path, **embedded):
        await until(lambda: _made(cgb, 4), "all four contacts", within_s=8)
    assert set(cgb.ledger.creates_by_contact().values()) == {1}


async def test_a_source_without_a_secret_is_not_served(tmp_path: Path, stores: dict[str, Any]) -> None:
    async with running(tmp_path, **stores | {"ORDERS_API_KEY": ""}) as here:
        assert (await here.post(some_orders(1)[0]))[0] == 404


async def _made(cgb: CgbSandbox, count: int) -> bool:
    return len(cgb.ledger.contacts_made()) >= count


async def _asked(cgb: CgbSandbox, count: int) -> bool:
    return len(cgb.ledger.entries) >= count


async def _share(first: Running, second: Running) -> bool:
    counts = [sum(len(held) for held in (await one.ready())["leases"].values()) for one in (first, second)]
    return sum(counts) == 16 * len(RUNNING) and abs(counts[0] - counts[1]) <= 1


async def test_a_large_order_of_small_objects_delays_no_other_webhook_in_any_part_of_the_process(
    tmp_path: Path, settings: dict[str, Any], db: Pool
) -> None:
    large, *others = some_orders(200)
    small: list[list[list[Any]]] = [[[]]]
    async with running(tmp_path, **settings) as here:
        for order in others[:5]:
            await here.post(order)
        taken = asyncio.create_task(here.post(large | {"note": small * 400_000}))
        latest = 0.0
        for order in others[5:]:
            began = time.monotonic()
            assert (await here.post(order))[0] == 202
            latest = max(latest, time.monotonic() - began)
            if taken.done() and await db.fetchval(LARGE_ENDED, event_of(taken)):
                break
        else:
            pytest.fail("the large order has not ended")
        assert latest < 2.0  # 1.0 where the process has a core for itself
        assert (await taken)[0] == 202


LARGE_ENDED = "SELECT count(*) = 3 FROM inbox WHERE event_id = $1"


def event_of(taken: asyncio.Task[tuple[int, dict[str, Any]]]) -> str:
    return str(taken.result()[1]["event_ids"][0])


async def test_health_and_metrics_move_to_a_port_of_their_own(
    tmp_path: Path, settings: dict[str, Any], db: Pool
) -> None:
    health = free_port()
    async with running(tmp_path, **settings, FERRYMAN_HEALTH_PORT=health) as here, ClientSession() as session:
        for url, status in ((here.url, 404), (here.health_url, 200)):
            async with session.get(f"{url}/metrics") as answer:
                assert answer.status == status
        async with session.get(f"{here.url}/livez") as answer:
            assert answer.status == 200
        code, _, error = await ferryman(
            "run", cwd=tmp_path, env=environment(**settings, FERRYMAN_HEALTH_PORT=health, FERRYMAN_PORT=free_port())
        )
        assert code == 1
        assert "FERRYMAN_HEALTH_PORT" in error
