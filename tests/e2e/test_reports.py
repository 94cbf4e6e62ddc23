"""What an operator sees of running processes and of the provider, from a shell that has settings of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapters.postgres.pool import Pool
from adapters.registry import SOURCES
from daemon.sandbox.cgb import CgbSandbox
from tests.e2e.test_verbs import Operator
from tests.support.daemons import API_KEY, RUNNING, ended, running, some_orders
from tests.support.until import until

WRONG = "0000000.not-the-key-of-the-account"


async def error_of(db: Pool, order: dict[str, Any]) -> str:
    """Why the order's row says that it waits, or has failed."""
    found = await db.fetchval("SELECT cgb_sync_error FROM orders WHERE order_id = $1", order["order"]["id"])
    return found or ""


async def test_a_wrong_key_of_cgb_is_seen_in_the_row_in_status_doctor_and_events_show(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    (order,) = some_orders(1)
    ask = Operator(tmp_path, settings)
    async with running(tmp_path, **settings | {"CGB_API_KEY": WRONG}) as here:
        await here.post(order)

        async def waits() -> bool:
            return (await error_of(db, order)).startswith("waits: cgb refuses our account or key (http-")

        await until(waits, "the reason in the row")

        async def reported() -> bool:
            found = (await ask.json("status"))["providers"]["cgb"]
            return bool(found["state"] == "refused" and found["waiting"] == 1 and found["error"].startswith("http-"))

        await until(reported, "the report of the process")
        assert "cgb refuses our account or key (http-" in await ask.run("status")
        doctor = await ask.json("doctor", code=1)
        (finding,) = [one for one in doctor["findings"] if one["level"] == "error"]
        assert "cgb refuses our account or key" in finding["text"]
        assert "key" in finding["do"]
        shown = await ask.run("events", "show", order["order"]["id"])
        assert "contact-sync: open, cgb refuses our account or key (http-" in shown
        document = await ask.json("events", "show", order["order"]["id"])
        assert document["why"]["contact-sync"].startswith("cgb refuses")
        assert WRONG not in str(await db.fetchval("SELECT report::text FROM members"))


async def test_attempts_that_a_failing_cgb_costs_nothing_are_seen_with_their_code(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    (order,) = some_orders(1)
    ask = Operator(tmp_path, settings)
    fault = cgb.faults.add("error", status=500)
    async with running(tmp_path, **settings) as here:
        await here.post(order)

        async def tried() -> bool:
            failed = await db.fetchval("SELECT count(*) FROM attempts WHERE failures >= 2")
            return bool(failed and await db.fetchval("SELECT count(*) FROM event_journal"))

        await until(tried, "two attempts")
        (attempts,) = (await ask.json("events", "show", order["order"]["id"]))["attempts"]
        assert (attempts["failures"] >= 2, attempts["error_code"]) == (True, "http-500")
        assert "HTTP 500" in await error_of(db, order)
        assert "failed (" in await ask.run("events", "show", order["order"]["id"])
        cgb.faults.active.remove(fault)
        await ended(db, 1)
    assert await error_of(db, order) == ""
    assert await db.fetchval("SELECT count(*) FROM attempts") == 0


async def test_verbs_tell_the_settings_of_the_daemon_and_how_this_shell_differs(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    """Promise: "source orders is not served" is not said beside a daemon that serves it; no secret is shown."""
    ask = Operator(tmp_path, settings)
    env_file = tmp_path / "daemon.env"
    given = {"ORDERS_API_KEY": API_KEY, "CGB_SYNC_DELAY_MS": 0}
    env_file.write_text("".join(f"{name}={text}\n" for name, text in (settings | given).items()))
    async with running(tmp_path, **settings) as here:

        async def told() -> bool:
            return bool([process for process in (await ask.json("status"))["processes"] if process["listens"]])

        await until(told, "the report of the process")
        status = await ask.json("status")
        (process,) = status["processes"]
        assert (process["pid"], process["listens"]) == (here.process.pid, here.url.removeprefix("http://"))
        assert process["id"] in status["members"]
        assert process["workers"] == [worker.name for worker in RUNNING]
        assert process["sources"] == ["orders", "issues"]
        off = {one.name: one.lacks({}, address_known=True) for one in SOURCES if "orders_api_key" not in one.secrets}
        assert status["sources_off"] == off
        assert status["settings_differ"] == ["CGB_SYNC_DELAY_MS", "ORDERS_API_KEY"]
        said = await ask.run("status") + await ask.run("doctor")
        assert "orders is not served" not in said
        assert said.count("settings differ from the daemon's: CGB_SYNC_DELAY_MS, ORDERS_API_KEY") == 2
        assert API_KEY not in said
        assert f"(pid {here.process.pid}" in said
        assert (await ask.json("status", "--env-file", str(env_file)))["settings_differ"] == []
        assert "settings differ" not in await ask.run("doctor", "--env-file", str(env_file))
        running_ones = await ask.json("config", "show", "--running")
        assert running_ones[process["id"]]["CGB_SYNC_DELAY_MS"] == "0"
        assert running_ones[process["id"]]["ORDERS_API_KEY"] == "***"
        shown = await ask.run("config", "show", "--running")
        assert "***" in shown
        assert shown.index("REDIS_URL") < shown.index("FERRYMAN_PORT") < shown.index("CGB_API_KEY"), (
            "as the page has them"
        )
        assert await here.stop() == 0
    assert (await ask.json("status"))["processes"] == []


async def test_the_settings_of_a_named_file_win_over_this_shell_and_need_the_file(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    ask = Operator(tmp_path, settings | {"CGB_RATE_PER_MINUTE": 5})
    (tmp_path / ".env").write_text("CGB_TIMEOUT=1\n")
    env_file = tmp_path / "daemon.env"
    env_file.write_text("CGB_RATE_PER_MINUTE=33\n")
    shown = await ask.json("config", "show", "--env-file", str(env_file))
    assert shown["CGB_RATE_PER_MINUTE"]["value"] == "33"
    assert shown["CGB_TIMEOUT"]["value"] == "3000"
    said = await ask.run("config", "show", "--env-file", str(tmp_path / "none"), code=2)
    assert "does not exist" in " ".join(said.replace("│", " ").split()), "the terminal may wrap it anywhere"
