"""CGB away for minutes, then a storm of 429 with Retry-After: nothing is buried, and full speed soon after.

python -m tests.chaos.provider --seconds 300 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from daemon.stores.embedded.servers import Servers
from tests.chaos.lab import Lab, command, open_lab
from tests.chaos.load import Load, sending
from tests.chaos.oracle import Verdict
from tests.support.servers import forgiving
from tests.support.until import until

BACK_S: Final = 30.0
"""Longest time to full speed after a provider is back."""

FULL: Final = 0.5
"""Part of the speed from before that counts as full: this machine does other things as well."""

WINDOW: Final = 40
STORM_AFTER: Final = 2


@dataclass
class Recovered:
    """*recovered_s*: from the end of each trouble to full speed; *calls*: what was asked meanwhile."""

    verdict: Verdict
    recovered_s: list[float]
    calls: int
    seconds: float


async def run_provider_trouble(servers: Servers, *, seconds: float, seed: int, each: int = 12) -> Recovered:
    """An outage and a storm, each for half of *seconds*, under load on two processes."""
    began = time.monotonic()
    async with open_lab(servers, latency_s=0, CGB_TIMEOUT=2000) as lab:
        await asyncio.gather(lab.fleet.start(0), lab.fleet.start(1))
        load = lab.load(seed, people=100, each=each)
        part = load.total // 3
        recovered: list[float] = []
        async with sending(load):
            load.release(part)
            speed = await _speed(lab, part - WINDOW)
            asked = len(lab.cgb.ledger.entries)
            for trouble in (_outage, _storm):
                trouble(lab)
                load.release(part)
                await _accepted(lab, load)
                await asyncio.sleep(seconds / 2)  # the length of the trouble
                ended = await lab.ended()
                lab.cgb.faults.clear()
                over = time.monotonic()
                await until(_ended(lab, ended + WINDOW), "work going on again", BACK_S)
                if await _speed(lab, ended + part // 2) >= FULL * speed:
                    recovered.append(time.monotonic() - over)
            calls = len(lab.cgb.ledger.entries) - asked
        verdict = await lab.verdict()
        for number in (0, 1):
            assert await lab.fleet.end(number) == 0
    return Recovered(verdict, recovered, calls, time.monotonic() - began)


def _outage(lab: Lab) -> None:
    lab.cgb.faults.add("html", status=502)


def _storm(lab: Lab) -> None:
    lab.cgb.faults.add("limited", status=429, retry_after=str(STORM_AFTER))


async def _accepted(lab: Lab, load: Load) -> None:
    before = len(load.accepted)

    async def some() -> bool:
        return len(load.accepted) >= before + WINDOW

    await until(some, "orders accepted while CGB is away")


def _ended(lab: Lab, wanted: int) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return await lab.ended() >= wanted

    return forgiving(asked)


async def _speed(lab: Lab, wanted: int) -> float:
    """Ends per second from now until *wanted* have ended; infinite where they have by now, as nothing is left to
    measure then."""
    began, first = time.monotonic(), await lab.ended()
    if first >= wanted:
        return math.inf
    await until(_ended(lab, wanted), f"{wanted} ends", BACK_S)
    return (await lab.ended() - first) / (time.monotonic() - began)


async def _main(servers: Servers, arguments: argparse.Namespace) -> bool:
    done = await run_provider_trouble(servers, seconds=arguments.seconds, seed=arguments.seed)
    good = done.verdict.good and len(done.recovered_s) == 2 and max(done.recovered_s) <= BACK_S
    print(
        f"seed {arguments.seed}: outage and 429 storm, {done.verdict.line()},"
        f" full speed after {[round(s, 1) for s in done.recovered_s]} s, {done.calls} calls, {done.seconds:.0f} s",
        flush=True,
    )
    if not good:
        print(done.verdict.details())
    return good


def main() -> int:
    """Run once; exit code 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.provider", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    return command(lambda servers: _main(servers, arguments))


if __name__ == "__main__":
    sys.exit(main())
