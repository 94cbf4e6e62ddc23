"""Deaths at named points, and an event that brings death: every effect once, and the poison buried."""

from __future__ import annotations

import signal

from daemon.stores.embedded.servers import Servers
from tests.chaos.crashing import POINTS
from tests.chaos.lab import Lab, open_lab
from tests.chaos.load import make_order, sending
from tests.chaos.oracle import Verdict
from tests.support.daemons import Running
from tests.support.until import until

CRASHING = "tests.chaos.crashing"


async def crash_at(servers: Servers, point: str, *, seed: int) -> Verdict:
    """Run until death at *point*, then without it; the load goes on over both."""
    nth = 1 if point == "after-the-read" else 3  # one read may bring everything
    assert point in POINTS
    async with open_lab(servers) as lab:
        load = lab.load(seed, people=10, each=3)
        await lab.fleet.start(0, module=CRASHING, CHAOS_POINT=point, CHAOS_NTH=nth)
        async with sending(load):
            load.release()
            assert await lab.fleet.died(0) == -signal.SIGKILL
            await lab.fleet.start(1)
        verdict = await lab.verdict()
        assert await lab.fleet.end(1) == 0
        return verdict


async def poisoned(servers: Servers, *, seed: int) -> tuple[Verdict, int]:
    """One order of a person in the middle is deadly. Returns also how often the process died of it."""
    deaths = 0
    async with open_lab(servers) as lab:
        load = lab.load(seed, people=6, each=3)
        deadly = make_order(seed, 2, 1)["order"]["id"]
        lab.buried.add(deadly)
        async with sending(load):
            load.release()
            while True:
                here = await lab.fleet.start(0, module=CRASHING, CHAOS_ORDER=deadly)

                async def over(here: Running = here) -> bool:
                    return here.process.returncode is not None or await _all_ended(lab, load.total)

                await until(over, "a death or the end")
                if here.process.returncode is None:
                    break
                assert await lab.fleet.end(0) == -signal.SIGKILL
                deaths += 1
                assert deaths <= 10, "the poison is not buried"
        verdict = await lab.verdict()
        assert await lab.fleet.end(0) == 0
    return verdict, deaths


async def _all_ended(lab: Lab, count: int) -> bool:
    return await lab.ended() >= count
