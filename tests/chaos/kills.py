"""kill -9 of one of two processes at random moments under load: nothing lost, doubled or inverted, and it balances.

python -m tests.chaos.kills --events 10000 --keys 400 --kills 40 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import time
from dataclasses import dataclass

from daemon.stores.embedded.servers import Servers
from tests.chaos.lab import Lab, command, open_lab
from tests.chaos.load import Load, sending
from tests.chaos.oracle import Verdict
from tests.support.servers import forgiving
from tests.support.until import until


@dataclass
class Killed:
    """How a run went."""

    verdict: Verdict
    kills: int
    unanswered: int
    seconds: float


async def kill_under_load(servers: Servers, *, events: int, keys: int, kills: int, seed: int) -> Killed:
    """One run. The load is released in slices, one for each kill. A kill comes at a random moment of its slice: while
    orders are accepted, or while they are worked on."""
    rng = random.Random(seed)
    began = time.monotonic()
    async with open_lab(servers) as lab:
        await asyncio.gather(lab.fleet.start(0), lab.fleet.start(1))
        load = lab.load(seed, keys, -(-events // keys))
        starting: dict[int, asyncio.Task[object]] = {}
        try:
            async with sending(load):
                for n in range(kills):
                    load.release(-(-load.total // (kills + 1)))
                    await _moment(lab, load, (n + rng.random()) / (kills + 1), rng.random() < 0.5)
                    victim = await _victim(lab, rng, starting)
                    await lab.fleet.end(victim, signal.SIGKILL)
                    print(
                        f"kill {n + 1}: {len(load.accepted)} accepted, {time.monotonic() - began:.0f} s",
                        file=sys.stderr,
                    )
                    starting[victim] = asyncio.create_task(lab.fleet.start(victim))
            await asyncio.gather(*starting.values())
            verdict = await lab.verdict(within_s=60 + events / 50)
            for number in list(lab.fleet.running):
                assert await lab.fleet.end(number) == 0
        finally:
            for task in starting.values():
                task.cancel()
            await asyncio.gather(*starting.values(), return_exceptions=True)
    return Killed(verdict, kills, load.unanswered, time.monotonic() - began)


async def _moment(lab: Lab, load: Load, part: float, ended: bool) -> None:
    """Wait for a moment: this part of the load is accepted, or has even ended."""

    async def worked_on() -> bool:
        return await lab.ended() >= part * load.total

    await until(forgiving(worked_on) if ended else load.reached(part), f"{part:.2f} of the load", 120)


async def _victim(lab: Lab, rng: random.Random, starting: dict[int, asyncio.Task[object]]) -> int:
    """One of the processes that run; a start that failed is raised."""

    async def there() -> list[int]:
        for task in starting.values():
            if task.done():
                task.result()
        return sorted(lab.fleet.running)

    return rng.choice(await until(there, "a process to kill"))


async def _main(servers: Servers, arguments: argparse.Namespace) -> bool:
    killed = await kill_under_load(
        servers, events=arguments.events, keys=arguments.keys, kills=arguments.kills, seed=arguments.seed
    )
    print(
        f"seed {arguments.seed}: {killed.kills} kills -9, {killed.verdict.line()},"
        f" {killed.unanswered} posts unanswered, {killed.seconds:.0f} s",
        flush=True,
    )
    if not killed.verdict.good:
        print(killed.verdict.details())
    return killed.verdict.good


def main() -> int:
    """Run once; exit code 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.kills", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--keys", type=int, default=400)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    return command(lambda servers: _main(servers, arguments))


if __name__ == "__main__":
    sys.exit(main())
