"""The verbs as an operator runs them, beside a real daemon on real servers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from adapters.postgres.pool import Pool
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from tests.support.daemons import RUNNING, digits_of, ended, environment, ferryman, running, some_orders
from tests.support.until import until


class Operator:
    """Runs verbs in one place."""

    def __init__(self, cwd: Path, env: Mapping[str, Any]) -> None:
        self.cwd = cwd
        self.env = environment(**env)

    async def run(self, *argv: str, code: int = 0) -> str:
        """Standard output; for a failure the one line of standard error."""
        ended, out, err = await ferryman(*argv, cwd=self.cwd, env=self.env)
        assert ended == code, out + err
        if code == 1 and err:
            assert err.startswith("ferryman: ")
            assert err.count("\n") == 1
        return err or out

    async def json(self, *argv: str, code: int = 0) -> Any:
        """Its standard output, read as JSON."""
        return json.loads(await self.run(*argv, "--json", code=code))


async def status_is(db: Pool, order: Mapping[str, Any], status: str) -> bool:
    row = await db.fetchrow("SELECT cgb_sync_status FROM orders WHERE order_id = $1", order["order"]["id"])
    return row is not None and row["cgb_sync_status"] == status


async def followed(db: Pool) -> bool:
    """Whether `events tail` has read what was there before it, so that it shows whatever comes now."""
    asked = "application_name = 'ferryman-cli' AND query LIKE '%worker <> ''journal''%'"
    return bool(await db.fetchval(f"SELECT count(*) FROM pg_stat_activity WHERE {asked}"))


async def letter_is_open(db: Pool) -> bool:
    return bool(await db.fetchval("SELECT count(*) FROM dead_letters WHERE state = 'open'"))


async def test_a_buried_order_is_retried_and_synced_exactly_once_with_the_accounts_in_balance(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    good, bad = some_orders(2)
    ask = Operator(tmp_path, settings)
    cgb.faults.add("error", method="POST", contact=digits_of(bad), message="blocked by the account")
    async with running(tmp_path, **settings) as here:
        await here.post(good)
        await here.post(bad)
        await ended(db, 2)
        (group,) = await ask.json("dead-letters", "list")
        assert (group["worker"], group["count"]) == ("contact-sync", 1)
        (number,) = group["ids"]
        assert digits_of(bad) not in await ask.run("dead-letters", "list")
        assert "--yes" in await ask.run("dead-letters", "retry", str(number), code=1)
        assert "1 to send again" in await ask.run("dead-letters", "retry", str(number), "--dry-run")
        # CGB still refuses: it is buried again, and open again
        await ask.run("dead-letters", "retry", str(number), "--yes")
        assert (await ask.json("audit"))["balanced"]
        await until(lambda: letter_is_open(db), "a second burial")
        assert (await ask.json("audit"))["balanced"]
        cgb.faults.clear()
        await ask.run("dead-letters", "retry", "--worker", "contact-sync", "--yes")
        assert "is not open" in await ask.run("dead-letters", "retry", str(number), "--yes", code=1)
        assert (await ask.json("audit"))["balanced"]
        await until(lambda: status_is(db, bad, "synced"), "the sync of the refused order")
        audit = await ask.json("audit")
        assert audit["balanced"]
        assert (
            audit["workers"]["contact-sync"] | {"accepted": 2, "done": 2, "dead": 0, "open": 0}
            == (audit["workers"]["contact-sync"])
        )
        letter = await ask.json("dead-letters", "show", str(number))
        assert (letter["state"], letter["retries"]) == ("retried", 2)
        assert await ask.run("dead-letters", "list") == "no open dead letters\n"
        assert await here.stop() == 0
    assert sorted(cgb.ledger.contacts_made()) == sorted([digits_of(good), digits_of(bad)])
    assert await db.fetchval("SELECT count(*) FROM event_journal WHERE type = 'order.received'") == 2
    assert await db.fetchval("SELECT count(*) FROM event_journal WHERE type = 'contact.synced'") == 2
    assert await db.fetchval("SELECT count(*) FROM event_conflicts") == 0


def other_document(where: Path, shown: dict[str, Any]) -> Path:
    """The document of another letter."""
    path = where / "other.json"
    path.write_text(json.dumps(shown | {"number": shown["number"] + 1}))
    return path


async def test_a_malformed_order_is_edited_and_synced_under_the_key_of_its_new_data(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    (order,) = some_orders(1)
    ask = Operator(tmp_path, settings)
    fixed, junk = tmp_path / "fixed.json", tmp_path / "junk.json"
    junk.write_text("[1")
    async with running(tmp_path, **settings) as here:
        _, answer = await here.post(order | {"form": {"client": "nobody"}})
        await ended(db, 1)
        (group,) = await ask.json("dead-letters", "list")
        (number,) = map(str, group["ids"])
        assert "not JSON" in await ask.run("dead-letters", "retry", number, "--edit", str(junk), "--yes", code=1)
        assert "cannot be read" in await ask.run("dead-letters", "retry", number, "--edit", "none", "--yes", code=2)
        shown = await ask.json("dead-letters", "show", order["order"]["id"])
        fixed.write_text(json.dumps(shown | {"data": shown["data"] | {"form": order["form"]}}))
        assert "another one" in await ask.run(
            "dead-letters", "retry", number, "--edit", str(other_document(tmp_path, shown)), "--yes", code=1
        )
        await ask.run("dead-letters", "retry", number, "--edit", str(fixed), "--yes")
        await until(lambda: status_is(db, order, "synced"), "the sync of the edited order")
        assert (await ask.json("audit"))["balanced"]
        letter = await ask.json("dead-letters", "show", answer["event_ids"][0])
        assert letter["key"] == f"+{digits_of(order)}"
        assert letter["edited_at"]
        assert f"dead letter {number} retried by" in (way := await ask.run("events", "show", order["order"]["id"]))
        assert f", with edited data: `ferryman dead-letters show {number}`" in way
    assert cgb.ledger.contacts_made() == [digits_of(order)]
    assert await db.fetchval("SELECT count(*) FROM event_conflicts") == 0
    assert "nobody" in await db.fetchval("SELECT data FROM event_journal WHERE type = 'order.received'")


async def test_a_discarded_order_stays_dead_and_balanced(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    ask = Operator(tmp_path, settings)
    async with running(tmp_path, **settings) as here:
        await here.post(some_orders(1)[0] | {"form": {"client": "nobody"}})
        await ended(db, 1)
    assert "add --yes" in await ask.run("dead-letters", "discard", "--all", code=1)
    assert "1 to discard" in await ask.run("dead-letters", "discard", "--all", "--dry-run")
    assert "0 to discard: no open letter fits" in await ask.run("dead-letters", "discard", "--worker", "x", "--yes")
    assert await letter_is_open(db)
    assert "1 discarded" in await ask.run("dead-letters", "discard", "--class", "Malformed", "--yes")
    audit = await ask.json("audit")
    assert audit["balanced"]
    assert audit["workers"]["contact-sync"]["dead"] == 1
    await ask.run("dead-letters", "retry", code=2)
    await ask.run("dead-letters", "retry", "1", "--all", code=2)
    await ask.run("dead-letters", "retry", "1", "2", "--edit", "x", code=2)


async def test_an_event_is_found_by_id_order_and_phone_and_its_way_is_shown(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    first, second = some_orders(2)
    ask = Operator(tmp_path, settings)
    async with running(tmp_path, **settings) as here:
        tail = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "daemon", "events", "tail"),
            cwd=tmp_path,
            env={**ask.env, "PYTHONUNBUFFERED": "1"},
            stdout=asyncio.subprocess.PIPE,
        )
        assert tail.stdout is not None
        await until(lambda: followed(db), "a verb that follows what arrives")
        _, answer = await here.post(first)
        (event_id,) = answer["event_ids"]
        lines: list[str] = []
        while not any("contact-sync: done" in line for line in lines):
            lines.append((await asyncio.wait_for(tail.stdout.readline(), 20)).decode())
        os.kill(tail.pid, signal.SIGINT)
        assert await asyncio.wait_for(tail.wait(), 10) == 0
        assert sum(event_id in line for line in lines) >= 2, "its arrival, and an end"
        assert digits_of(first) not in "".join(lines)
        await here.post(second)
        await ended(db, 2)
        await until(partial(_validated, db, 2), "the end of two validations")
        for name in (event_id, event_id[:13], first["order"]["id"]):
            document = await ask.json("events", "show", name)
            assert document["id"] == event_id
            assert {e["worker"]: e["outcome"] for e in document["endings"]} == {
                "journal": "done",
                "contact-sync": "done",
                "whatsapp-validation": "skipped",
            }
            assert [one["type"] for one in document["caused"]] == ["contact.synced"]
        text = await ask.run("events", "show", event_id)
        assert "contact-sync: done" in text
        assert first["form"]["client"]["email"] in text
        several = await ask.run("events", "show", f"+{digits_of(first)}", code=2)
        assert "2 have this name" in several
        assert event_id in several
        listed = await ask.json("events", "list", "--event", first["order"]["id"])
        assert {one["type"] for one in listed} == {"order.received", "contact.synced"}
        assert {one["order_id"] for one in listed} == {first["order"]["id"]}
        listed = await ask.json("events", "list", "--type", "order.received")
        assert [one["id"] for one in listed][-1] == event_id
        assert listed[-1]["workers"] == {
            "journal": "done",
            "contact-sync": "done",
            "whatsapp-validation": "skipped",
        }
        assert len(await ask.json("events", "list", "--key", f"+{digits_of(second)}", "--source", "orders")) == 1
        text = await ask.run("events", "list", "--worker", "contact-sync", "--outcome", "done", "--limit", "1")
        assert digits_of(second) not in text
        assert "no event" in await ask.run("events", "show", "IL-nothing", code=1)
        await ask.run("events", "list", "--outcome", "fine", code=2)
        await ask.run("events", "list", "--source", "order", code=2)


async def _validated(db: Pool, count: int) -> bool:
    ended = await db.fetchval("SELECT count(*) FROM inbox WHERE worker = 'whatsapp-validation'")
    return int(ended) >= count


async def test_doctor_and_status_beside_a_daemon_on_its_own_servers(memory_path: Path, cgb: CgbSandbox) -> None:
    own = {"CGB_API_URL": cgb.url, "CGB_API_KEY": TOKEN}
    async with running(memory_path, **own) as here:
        (order,) = some_orders(1)
        await here.post(order)
        port = here.url.rpartition(":")[2]
        ask = Operator(memory_path, own | {"FERRYMAN_PORT": port, "ORDERS_API_KEY": "k" * 24})
        text = await ask.run("doctor")
        assert "ok     Loss window: a crash of Redis, Postgres or Ferryman loses nothing that was answered 202" in text
        assert f"ok     a daemon takes events at 127.0.0.1:{port}" in text
        assert "error" not in text
        status = await ask.json("status")
        states = {name: worker["state"] for name, worker in status["workers"].items()}
        idle = {
            "automatic-messages": "off: no rule of messages.toml is enabled",
            "crm-labels": "off: set CHATWOOT_BASE_URL, CHATWOOT_API_ACCESS_TOKEN, CHATWOOT_ACCOUNT_ID",
        }
        assert states == {worker.name: "running" for worker in RUNNING} | idle
        (owned,) = status["members"].values()
        assert owned["contact-sync"] == list(range(16))
        assert "contact-sync 0-15" in await ask.run("status")
        assert await here.stop() == 0
    assert "no daemon runs" in await ask.run("status")


async def test_doctor_reports_every_problem_of_the_settings_and_of_the_stores(
    tmp_path: Path, settings: dict[str, Any], empty_database_url: str
) -> None:
    wrong = await Operator(tmp_path, settings | {"FERRYMAN_PROT": 1, "CGB_TIMEOUT": "soon"}).json("doctor", code=2)
    assert [finding["level"] for finding in wrong["findings"]] == ["error", "error"]
    assert not wrong["ok"]
    text = await Operator(tmp_path, settings | {"DATABASE_URL": empty_database_url}).run("doctor", code=1)
    assert "run `ferryman migrate`" in text
    assert "ORDERS_API_KEY" in text
