"""The worker of messages, killed again and again: `python -m tests.support.killed_senders LIVES` with the addresses of
the stores and of the simulator in the environment.

Each life is a fork of this process, whose programs are read in already. It dies, as by kill -9, when Meta has taken a
message and nothing of that is recorded; the last one works until nothing is left. Prints how many have died so.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Final

from adapters.meta.sender import MetaSender
from adapters.ports import Claim
from adapters.postgres.pool import connect
from daemon.settings.model import Settings
from schemas.messages import OutboundMessage, Taken
from tests.support.message_worker import message_worker
from tests.support.until import until

LANES: Final = 2
IN_FLIGHT: Final = 12
"""Few events are read in a life: those that a death leaves behind are looked at closely in the next."""


def _die_when_taken() -> None:
    send = MetaSender.send

    async def dying(self: MetaSender, message: OutboundMessage, claim: Claim) -> Taken:
        await send(self, message, claim)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("it is dead")

    MetaSender.send = dying  # type: ignore[method-assign]


async def _live() -> None:
    settings = Settings(
        meta_graph_url=os.environ["META_URL"],
        meta_phone_number_id=os.environ["META_NUMBER"],
        meta_access_token=os.environ["META_TOKEN"],
        ferryman_max_in_flight=IN_FLIGHT,
    )
    async with (
        connect(os.environ["STORE_POSTGRES"], size=4) as pool,
        message_worker(os.environ["STORE_REDIS"], pool, settings) as worker,
        worker.working(lanes=LANES),
    ):
        await until(worker.settled, "the end of every event", within_s=120)


def _one_life(*, deadly: bool) -> int:
    """How it ended, as `os.waitpid` tells."""
    if (child := os.fork()) == 0:
        try:
            if deadly:
                _die_when_taken()
            asyncio.run(_live())
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def main(lives: int) -> None:
    """Live so often, and once more."""
    died = 0
    for _ in range(lives):
        status = _one_life(deadly=True)
        if not os.WIFSIGNALED(status):
            break  # nothing is left to send
        died += 1
    print(died, _one_life(deadly=False), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
