"""`ferryman events show` asks the process that holds an event, and says in one sentence why it waits."""

from __future__ import annotations

import json
import random
import signal
import socket
from pathlib import Path
from typing import Any

from adapters.postgres.pool import Pool
from daemon.sandbox import orders
from daemon.sandbox.cgb import CgbSandbox
from tests.support.daemons import environment, ferryman, running, synced
from tests.support.until import until


async def test_an_event_says_why_it_waits_and_then_how_it_ended(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    env = environment(**settings)

    async def why(event: str) -> dict[str, Any]:
        code, out, err = await ferryman("events", "show", event, "--json", cwd=tmp_path, env=env)
        assert code == 0, err
        return dict(json.loads(out)["why"]["contact-sync"])

    async with running(tmp_path, **settings) as here:
        code, _, _ = await ferryman("pause", "cgb", "--reason", "their maintenance", cwd=tmp_path, env=env)
        assert code == 0
        await until(lambda: _heard(here.lines, "operator.paused"), "the pause")
        _, answer = await here.post(orders.make_order(random.Random(3), 0, branch="il"))
        (event,) = answer["event_ids"]
        await until(lambda: _journaled(db), "the journal")

        async def parked() -> bool:
            one = await why(event)
            return (one["rule"], one["asked_at"] is not None) == ("paused", True)

        await until(parked, "the process says that the event waits for cgb")
        one = await why(event)
        assert "cgb is paused by an operator (" in one["text"]
        assert '"their maintenance"' in one["text"]
        code, out, _ = await ferryman("status", cwd=tmp_path, env=env)
        assert "(their maintenance): `ferryman resume cgb`" in out

        here.process.send_signal(signal.SIGSTOP)
        try:
            assert (await why(event))["text"].endswith(" did not answer")
        finally:
            here.process.send_signal(signal.SIGCONT)
        await ferryman("resume", "cgb", cwd=tmp_path, env=env)
        await synced(db, 1)

        async def finished() -> bool:
            return bool((await why(event))["rule"] == "finished")

        await until(finished, "the end of the event")
        one = await why(event)
        assert one["text"].startswith("done at ")
        assert one["text"].endswith(f" by {socket.gethostname()}")


async def _heard(lines: list[str], name: str) -> bool:
    return any(name in line for line in lines)


async def _journaled(db: Pool) -> bool:
    return bool(await db.fetchval("SELECT count(*) FROM event_journal"))
