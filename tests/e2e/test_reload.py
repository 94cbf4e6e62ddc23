"""The reload on a real process: secrets change under steady posts, and nothing is refused, lost or closed."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest.mock import ANY

import pytest
from aiohttp import ClientSession, TCPConnector, TraceConfig

from adapters.channel import DOWN_PROBE_S
from adapters.postgres.pool import Pool
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from daemon.sandbox.meta_webhooks import MetaWebhooks
from tests.support.daemons import Running, answering, environment, ferryman, free_port, running, some_orders, synced
from tests.support.until import PATIENCE_S, until

OLD: Final = "old-key-0123456789abcdef"
NEW: Final = "new-key-0123456789abcdef"
NEW_TOKEN: Final = "new-token-of-the-account"


@dataclass
class Poster:
    """Posts one order after the other by one connection, with the key at hand."""

    here: Running
    key: str = OLD
    answers: list[int] = field(default_factory=list)
    connections: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        trace = TraceConfig()

        async def connected(*_: object) -> None:
            self.connections += 1

        trace.on_connection_create_end.append(connected)
        connector = TCPConnector(limit=1)
        orders = iter(some_orders(5000))
        async with ClientSession(connector=connector, trace_configs=[trace]) as session:
            while not stop.is_set():
                body, proof = json.dumps(next(orders)).encode(), {"X-API-Key": self.key}
                async with session.post(f"{self.here.url}/webhooks/orders", data=body, headers=proof) as answer:
                    await answer.read()
                    self.answers.append(answer.status)
                await asyncio.sleep(0.02)

    async def some_more(self) -> None:
        """Wait until some more posts were answered."""
        wanted = len(self.answers) + 20
        await until(lambda: len(self.answers) >= wanted, "further answers")


@asynccontextmanager
async def posting(here: Running) -> AsyncIterator[Poster]:
    poster, stop = Poster(here), asyncio.Event()
    task = asyncio.create_task(poster.run(stop))
    try:
        yield poster
    finally:
        stop.set()
        await task


@dataclass
class Operator:
    """Who writes the file of settings, and runs commands."""

    cwd: Path
    settings: dict[str, Any]

    def write(self, **texts: str) -> None:
        new = self.cwd / ".env.new"
        new.write_text("".join(f"{name}={text}\n" for name, text in texts.items()))
        new.rename(self.cwd / ".env")

    async def __call__(self, verb: str, code: int = 0) -> str:
        env = environment(**self.settings)
        got, out, err = await ferryman(verb, cwd=self.cwd, env=env)
        assert got == code, out + err
        return out + err


@pytest.fixture
def operator(tmp_path: Path, settings: dict[str, Any]) -> Operator:
    by_file = {name: text for name, text in settings.items() if name != "CGB_API_KEY"} | {"ORDERS_API_KEY": ""}
    found = Operator(tmp_path, by_file)
    found.write(ORDERS_API_KEY=OLD, CGB_API_KEY=TOKEN)
    return found


async def test_secrets_change_under_steady_posts_without_a_refusal_a_loss_or_a_closed_connection(
    operator: Operator, cgb: CgbSandbox, db: Pool
) -> None:
    async with running(operator.cwd, **operator.settings) as here:
        async with posting(here) as poster:
            await poster.some_more()
            operator.write(ORDERS_API_KEY=f"{NEW},{OLD}", CGB_API_KEY=TOKEN)
            assert f"process {here.process.pid}: took ORDERS_API_KEY\n" in await operator("reload")
            await poster.some_more()
            poster.key = NEW
            await poster.some_more()
            cgb.token = NEW_TOKEN
            operator.write(ORDERS_API_KEY=NEW, CGB_API_KEY=NEW_TOKEN)
            assert "took ORDERS_API_KEY, CGB_API_KEY\n" in await operator("reload")
            await poster.some_more()
        assert (set(poster.answers), poster.connections) == ({202}, 1)
        late, *_ = some_orders(1, seed=99)
        assert (await here.post(late, **{"X-API-Key": OLD}))[0] == 401
        await synced(db, len(poster.answers))
        assert await db.fetchval("SELECT count(*) FROM refused_requests") <= 1
        assert await here.stop() == 0
    assert not any(secret in line for line in here.lines for secret in (OLD, NEW, NEW_TOKEN))


async def test_a_renewed_key_ends_the_pause_of_an_account_that_refused_the_old_one(
    operator: Operator, cgb: CgbSandbox, db: Pool
) -> None:
    cgb.token = NEW_TOKEN
    async with running(operator.cwd, **operator.settings) as here:
        assert (await here.post(some_orders(1)[0], **{"X-API-Key": OLD}))[0] == 202
        await until(lambda: any('"provider.down"' in line for line in here.lines), "the refusal of the old key")
        operator.write(ORDERS_API_KEY=OLD, CGB_API_KEY=NEW_TOKEN)
        assert "took CGB_API_KEY" in await operator("reload")

        async def back() -> bool:
            return bool(await db.fetchval("SELECT count(*) FROM orders WHERE cgb_sync_status = 'synced'"))

        await until(back, "a synced order, long before the next look at such an account", DOWN_PROBE_S / 2)


async def test_new_settings_that_cannot_be_used_leave_the_old_ones_in_force(operator: Operator) -> None:
    async with running(operator.cwd, **operator.settings) as here:
        operator.write(ORDERS_API_KEY="hunter2", FERRYMAN_COLOR="x")
        assert "2 problems in the settings" in await operator("reload", code=2)
        here.process.send_signal(signal.SIGHUP)
        await until(lambda: any('"settings.refused"' in line for line in here.lines), "the refusal")
        (line,) = [line for line in here.lines if '"settings.refused"' in line]
        assert "ORDERS_API_KEY must be at least 16 characters" in line
        assert "hunter2" not in line
        assert (await here.post(some_orders(1)[0], **{"X-API-Key": OLD}))[0] == 202
        operator.write(ORDERS_API_KEY=NEW, CGB_API_KEY=TOKEN)
        assert "took ORDERS_API_KEY" in await operator("reload")
        assert (await here.post(some_orders(1)[0], **{"X-API-Key": NEW}))[0] == 202


async def test_a_process_that_cannot_use_the_settings_is_named_by_the_command(operator: Operator) -> None:
    """The command sees another environment than the process here, by which alone the file can be used."""
    async with running(operator.cwd, **operator.settings) as here:
        operator.settings |= {"FERRYMAN_WORKERS": "all"}
        operator.write(ORDERS_API_KEY=NEW, FERRYMAN_WORKERS="jurnal")
        said = await operator("reload", code=1)
        assert "the former settings stay in force: FERRYMAN_WORKERS has an unknown name" in said
        assert f"not every process has taken the settings ({here.process.pid})" in said


async def test_what_needs_a_start_and_what_the_environment_overrules_is_named(operator: Operator) -> None:
    operator.settings |= {"CGB_API_KEY": TOKEN}
    async with running(operator.cwd, **operator.settings):
        operator.write(ORDERS_API_KEY=OLD, CGB_API_KEY=NEW_TOKEN, FERRYMAN_MAX_IN_FLIGHT="5", CGB_CACHE_TIMEOUT="6")
        assert (
            "nothing new was taken; at the next start: FERRYMAN_MAX_IN_FLIGHT, CGB_CACHE_TIMEOUT;"
            " the environment overrules the file: CGB_API_KEY\n"
        ) in await operator("reload")


async def test_without_a_daemon_the_command_says_so(operator: Operator) -> None:
    assert "no daemon runs on" in await operator("reload", code=1)
    async with running(operator.cwd, **operator.settings) as here:
        assert await here.stop(signal.SIGKILL) < 0
    assert "no daemon runs on" in await operator("reload", code=1)


def in_terminal(cwd: Path, env: dict[str, str]) -> tuple[int, int]:
    """Start a daemon that a terminal of its own controls; (process, our end of the terminal)."""
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.chdir(cwd)
            os.execve(sys.executable, [sys.executable, "-m", "daemon", "run"], env)
        finally:
            os._exit(127)
    os.set_blocking(terminal, False)
    return pid, terminal


def read(terminal: int) -> str:
    with suppress(BlockingIOError, OSError):
        return os.read(terminal, 100_000).decode(errors="replace")
    return ""


async def ended_with(pid: int) -> int:
    status: list[int] = []

    def over() -> bool:
        done, code = os.waitpid(pid, os.WNOHANG)
        if done:
            status.append(os.waitstatus_to_exitcode(code))
        return bool(done)

    await until(over, "the end of the process")
    return status[0]


async def test_a_daemon_whose_terminal_is_closed_stops_in_order(operator: Operator) -> None:
    pid, terminal = in_terminal(operator.cwd, environment(**operator.settings, FERRYMAN_PORT=free_port()))
    shown = ""

    def up() -> bool:
        nonlocal shown
        shown += read(terminal)
        return "daemon.started" in shown

    await until(up, "a daemon on a terminal")
    os.kill(pid, signal.SIGHUP)  # the terminal is there: a reload
    await until(lambda: up() and "settings.reloaded" in shown, "a reload on a terminal")
    os.close(terminal)
    assert await asyncio.wait_for(ended_with(pid), PATIENCE_S) == 0


async def test_a_process_that_stops_is_not_killed_by_reloads_up_to_its_very_end(operator: Operator) -> None:
    async with running(operator.cwd, **operator.settings) as here:
        here.process.send_signal(signal.SIGTERM)

        def over() -> bool:
            with suppress(ProcessLookupError):
                os.kill(here.process.pid, signal.SIGHUP)  # send_signal would wait for it, in the place of asyncio
            return here.process.returncode is not None

        await until(over, "the end of the process", every_s=0.001)
        assert here.process.returncode == 0


async def test_a_process_that_waits_for_a_store_reads_its_settings_again(operator: Operator) -> None:
    away = operator.settings | {"DATABASE_URL": f"postgresql://ferryman@127.0.0.1:{free_port()}/ferryman"}
    async with answering(operator.cwd, **away) as here:
        assert not (await here.ready())["ready"]
        operator.write(ORDERS_API_KEY=NEW, CGB_API_KEY=TOKEN)
        assert f"process {here.process.pid}: took ORDERS_API_KEY\n" in await operator("reload")
        assert await here.stop() == 0


async def test_a_token_of_a_challenge_is_changed_without_a_restart(operator: Operator) -> None:
    """A source is proven by other secrets than those that its challenge goes by, and both can be changed."""
    secret = {"ORDERS_API_KEY": OLD, "META_APP_SECRET": OLD}
    operator.write(**secret, META_VERIFY_TOKEN=OLD)
    async with running(operator.cwd, **operator.settings) as here, ClientSession() as session:
        meta = MetaWebhooks(session, here.url, secret=OLD)
        assert [await meta.challenge(token) for token in (OLD, NEW)] == [(200, "1158201444"), (403, ANY)]
        operator.write(**secret, META_VERIFY_TOKEN=f"{NEW},{OLD}")
        assert f"process {here.process.pid}: took META_VERIFY_TOKEN\n" in await operator("reload")
        assert [await meta.challenge(token) for token in (OLD, NEW)] == [(200, "1158201444")] * 2
        assert await here.stop() == 0
