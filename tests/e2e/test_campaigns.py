"""Campaigns through real processes and a simulated Meta: each person gets exactly one message, whatever happens."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from adapters.postgres.pool import Pool
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_templates import definition
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID
from tests.support.daemons import Running, environment, ferryman, running
from tests.support.until import until

SECRET: Final = "meta-app-secret-0123456789"
TOKEN: Final = "e2e-admin-token-0123456789"
CREATE: Final = ("campaign", "create", "news", "--template", "news", "--language", "he", "--provider", "meta")


def phone(n: int) -> str:
    return f"+9725055{n:05d}"


def people(path: Path, count: int) -> str:
    file = path / "people.csv"
    file.write_text("phone,1\n" + "".join(f"{phone(n)},Buyer {n}\n" for n in range(count)))
    return str(file)


@pytest.fixture
async def meta() -> AsyncIterator[MetaSandbox]:
    async with MetaSandbox(app_secret=SECRET) as sandbox:
        sandbox.switches.templates = [definition("news", "he", "Hello {{1}}")]
        yield sandbox


@pytest.fixture
def sending(stores: dict[str, str], meta: MetaSandbox) -> dict[str, Any]:
    return stores | {
        "META_GRAPH_URL": meta.url,
        "META_PHONE_NUMBER_ID": PHONE_NUMBER_ID,
        "META_ACCESS_TOKEN": meta.token,
        "META_APP_SECRET": SECRET,
        "META_VERIFY_TOKEN": "meta-verify-token-0123456789",
        "MESSAGES_DEFAULT_PROVIDER": "meta",
        "FERRYMAN_LEASE_SECONDS": 2,
    }


class Desk:
    """The operator's command line."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self._path, self._env = path, environment(**settings)

    async def __call__(self, *argv: str) -> str:
        code, out, err = await ferryman(*argv, cwd=self._path, env=self._env)
        assert code == 0, f"{argv}: {out}{err}"
        return out

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self("campaign", "status", "news", "--json"))
        return found


async def standing(db: Pool) -> Counter[str]:
    rows = await db.fetch("SELECT status, count(*) AS n FROM campaign_recipients GROUP BY status")
    return Counter({row["status"]: row["n"] for row in rows})


async def some_sent(meta: MetaSandbox, count: int, within_s: float = 60) -> None:
    await until(lambda: len(meta.sent) >= count, f"{count} messages", within_s)


@pytest.mark.parametrize(
    ("count", "rate"),
    [(60, 12), pytest.param(1000, 40, marks=[pytest.mark.slow, pytest.mark.timeout(400)])],
    ids=["60", "1000"],
)
async def test_a_kill_a_pause_and_a_rate_neither_skip_nor_repeat_anybody(
    tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, db: Pool, count: int, rate: float
) -> None:
    meta.switches.gap_s = 0.05
    desk = Desk(tmp_path, sending)
    await desk(*CREATE, "--csv", people(tmp_path, count), "--rate", str(rate))
    meta.faults.add("hang", performed=True, times=1, for_s=60)
    async with running(tmp_path, **sending) as here:
        meta.callback_url = here.url
        await desk("campaign", "start", "news", "--yes")
        await some_sent(meta, count // 5)
        await here.stop(signal.SIGKILL)
    meta.faults.clear()
    async with running(tmp_path, **sending) as here:
        meta.callback_url = here.url
        await some_sent(meta, count // 2)
        await desk("campaign", "pause", "news")
        await _paused(meta, desk)
        await desk("campaign", "resume", "news", "--yes")

        async def over() -> bool:
            found = await standing(db)
            # those whose statuses were for the killed process alone stay sent
            return found.keys() <= {"sent", "delivered", "uncertain"} and found.total() == count

        await until(over, "the end of every message", within_s=count / rate + 90)

        async def done() -> bool:
            return bool((await desk.status())["status"] == "done")

        await until(done, "the campaign's end", every_s=0.5)
        found = await desk.status()
        await desk("audit")
    took_s = await db.fetchval("SELECT extract(epoch FROM max(fed_at) - min(fed_at)) FROM campaign_recipients")
    assert took_s > (count - 1) / rate - 1.5, "the rate was kept, but for places of the last second"
    sends = meta.sends()
    assert max(sends.values()) == 1, "no message twice"
    assert max(Counter(one.to for one in meta.sent).values()) == 1, "nobody twice"
    uncertain = await db.fetchval("SELECT count(*) FROM messages WHERE status = 'uncertain'")
    assert len(sends) >= count - uncertain
    assert uncertain <= max(3, rate / 2), "no more than was under way at the kill: what half a second has fed"
    assert (found["status"], sum(found["counts"].values())) == ("done", count)


async def _paused(meta: MetaSandbox, desk: Desk) -> None:
    """Nothing is sent while it is paused: what was under way has ended, and nothing follows."""

    async def nothing_under_way() -> bool:
        found = await desk.status()
        return found["status"] == "paused" and not found["counts"]["queued"] + found["counts"]["sending"]

    await until(nothing_under_way, "the end of what was under way", within_s=10)
    before = len(meta.sent)
    await asyncio.sleep(1.2)  # two rounds of the feeder: for what does not happen there is nothing to wait for
    assert len(meta.sent) == before


async def test_a_template_that_is_not_there_stops_it_after_the_first_few(
    tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, db: Pool
) -> None:
    meta.switches.templates = []
    desk = Desk(tmp_path, sending)
    await desk(*CREATE, "--csv", people(tmp_path, 200), "--rate", "5")
    async with running(tmp_path, **sending):
        code, out, _ = await ferryman(
            "campaign", "start", "news", "--yes", "--wait", cwd=tmp_path, env=environment(**sending)
        )
    assert code == 1
    assert "is stopped: the template was refused 5 times in a row (code 132001)" in out
    found = await standing(db)
    assert set(found) == {"failed", "pending"}
    assert 5 <= found["failed"] <= 25


async def test_a_person_s_stop_counts_while_it_runs_and_live_messages_are_not_behind_it(
    tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, db: Pool
) -> None:
    desk = Desk(tmp_path, sending)
    await desk(*CREATE, "--csv", people(tmp_path, 50), "--rate", "5")
    async with running(tmp_path, **sending) as here:
        meta.callback_url = here.url
        await desk("campaign", "start", "news", "--yes")
        await some_sent(meta, 3)
        await meta.write(phone(49)[1:], "STOP")
        began = time.monotonic()
        await _send(here, phone(77))
        await until(lambda: any(one.to == phone(77)[1:] for one in meta.sent), "the live message")
        assert time.monotonic() - began < 5
        assert (await standing(db))["pending"], "the campaign is not over"
        await until(lambda: db.fetchval("SELECT count(*) FROM opt_outs"), "the stop")
        await db.execute("UPDATE campaigns SET rate = 100")

        async def over() -> bool:
            return bool((await desk.status())["status"] == "done")

        await until(over, "its end", every_s=0.5)
        found = await desk.status()
    assert found["counts"]["skipped"] == 1
    assert "opted out" in found["errors"][0]["error"]
    assert phone(49)[1:] not in {one.to for one in meta.sent}


async def _send(here: Running, to: str) -> None:
    body = {"to": to, "template": {"name": "news", "language": "he", "variables": {"1": "Noa"}}}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with here.session.post(f"{here.url}/api/v1/messages", json=body, headers=headers) as answer:
        assert answer.status == 202


async def test_two_processes_feed_it_once(tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, db: Pool) -> None:
    desk = Desk(tmp_path, sending)
    await desk(*CREATE, "--csv", people(tmp_path, 80), "--rate", "40")
    async with running(tmp_path, **sending) as here, running(tmp_path, **sending):
        meta.callback_url = here.url
        await desk("campaign", "start", "news", "--yes")

        async def over() -> bool:
            return await standing(db) == {"delivered": 80}

        await until(over, "every message")
    assert set(meta.sends().values()) == {1}
    assert len(meta.sent) == 80
