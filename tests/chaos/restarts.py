"""SIGTERM restarts under load: exit code 0, within the drain limit, nothing lost or doubled, no attempt burned.

python -m tests.chaos.restarts --restarts 50 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from dataclasses import dataclass
from typing import Final

from daemon.stores.embedded.servers import Servers
from tests.chaos.lab import command, open_lab
from tests.chaos.load import sending
from tests.chaos.oracle import Verdict
from tests.support.servers import forgiving
from tests.support.until import until

DRAIN_S: Final = 10
SLACK_S: Final = 3.0
"""How long closing everything may take beyond the drain."""


@dataclass
class Restarted:
    """*codes*: how the processes ended; *attempts*: rows of counted failures that are left."""

    verdict: Verdict
    codes: list[int]
    attempts: int
    longest_s: float
    limit_s: float
    seconds: float


async def restart_under_load(servers: Servers, *, restarts: int, seed: int, per_restart: int = 40) -> Restarted:
    """Stop and start the two processes in turn, each time with work in hand."""
    rng = random.Random(seed)
    began, codes, longest = time.monotonic(), list[int](), 0.0
    async with open_lab(servers, latency_s=0.02, FERRYMAN_DRAIN_SECONDS=DRAIN_S) as lab:
        await asyncio.gather(lab.fleet.start(0), lab.fleet.start(1))
        load = lab.load(seed, people=per_restart, each=restarts)
        async with sending(load):
            for n in range(restarts):
                load.release(per_restart)
                wanted = (n + rng.random()) * per_restart

                async def reached(wanted: float = wanted) -> bool:
                    return await lab.ended() >= wanted

                await until(forgiving(reached), f"{wanted:.0f} ends")
                asked = time.monotonic()
                codes.append(await lab.fleet.end(n % 2))
                longest = max(longest, time.monotonic() - asked)
                await lab.fleet.start(n % 2)
        verdict = await lab.verdict()
        attempts = await lab.db.fetchval("SELECT count(*) FROM attempts")
        attempts += await lab.db.fetchval("SELECT count(*) FROM inbox WHERE attempts > 0")
        for number in (0, 1):
            assert await lab.fleet.end(number) == 0
    return Restarted(verdict, codes, attempts, longest, DRAIN_S + SLACK_S, time.monotonic() - began)


async def _main(servers: Servers, arguments: argparse.Namespace) -> bool:
    done = await restart_under_load(servers, restarts=arguments.restarts, seed=arguments.seed)
    good = done.verdict.good and not any(done.codes) and not done.attempts and done.longest_s <= done.limit_s
    print(
        f"seed {arguments.seed}: {len(done.codes)} restarts, exit codes {sorted(set(done.codes))},"
        f" longest {done.longest_s:.1f} s, {done.attempts} attempts burned, {done.verdict.line()},"
        f" {done.seconds:.0f} s",
        flush=True,
    )
    if not good:
        print(done.verdict.details())
    return good


def main() -> int:
    """Run once; exit code 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.restarts", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--restarts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    return command(lambda servers: _main(servers, arguments))


if __name__ == "__main__":
    sys.exit(main())
