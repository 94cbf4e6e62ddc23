"""How many messages a second go out by Meta, and whom a pair-limited person delays: `python -m tests.bench.meta_sends
[--json]` (60 s).

The real worker, in one process, with its claims, its rate limit (80 a second, shared through Valkey) and its commits;
the simulator of Meta answers each call after 100 ms, in a process of its own. First MESSAGES wait on the stream, each
to another person. Bar: 76 a second, counted where the calls arrive, from a second after the first one on (the limit
lets 80 go at once in the beginning).

Then one person is to get PAIRED messages at once, more than Meta takes of a pair in a burst, while others get theirs,
OTHERS_PER_S a second. Bars: none of the others comes more than a second after it was asked for; Meta refuses none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from adapters.postgres.pool import connect
from daemon.process import settle_memory
from daemon.settings.model import Settings
from schemas.messages import Template
from tests.bench.rig import Addresses, Figure, Helper, helper, main, stores
from tests.support.message_worker import MessageWorker, message_worker

ANSWER_S: Final = 0.1
TEMPLATE: Final = Template("order_confirmation", "he", {"1": "Noa"})
MESSAGES_SENT: Final = 1600
BURST: Final = 45
PAIRED: Final = 60
AT_ONCE: Final = 20
"""Of these, as many go out at once at least: the burst has its end, and each waits for the answer of the one before."""

OTHERS_PER_S: Final = 20
OTHERS_S: Final = 12
_PAIRED_PHONE: Final = "+972505550199"


@dataclass(frozen=True, slots=True)
class Rig:
    """The worker's surroundings, and the simulator."""

    worker: MessageWorker
    number: Helper

    async def ask(self, phones: Sequence[str]) -> None:
        """Ask for a message to each of *phones*."""
        await self.worker.ask("meta", phones, lambda _: TEMPLATE)

    async def all_sent(self, count: int) -> None:
        """Wait until the simulator has taken so many."""
        while (await self.number.ask())["performed"] < count:
            await asyncio.sleep(0.2)


def _phone(n: int) -> str:
    """Of a person of their own, of a range that is kept for fiction."""
    return f"+1{201 + n // 100:03d}55501{n % 100:02d}"


@asynccontextmanager
async def rig(addresses: Addresses) -> AsyncIterator[Rig]:
    async with (
        helper("tests.bench.meta_number", str(ANSWER_S)) as number,
        connect(addresses.database_url) as pool,
    ):
        account = await number.ask()
        settings = Settings(
            meta_graph_url=account["url"],
            meta_phone_number_id=account["phone_number_id"],
            meta_access_token=account["token"],
        )
        async with message_worker(addresses.redis_url, pool, settings) as worker:
            settle_memory()
            yield Rig(worker, number)


async def sustained(rig: Rig) -> list[Figure]:
    await rig.ask([_phone(n) for n in range(MESSAGES_SENT)])
    async with rig.worker.working():
        cpu = time.process_time()
        await rig.all_sent(MESSAGES_SENT)
        cpu = time.process_time() - cpu
    times = sorted(at for at, _ in (await rig.number.ask(times=True, forget=False))["sends"])
    settled = [at for at in times if at > times[0] + 1.0]
    rate = (len(settled) - 1) / (settled[-1] - settled[0])
    most = max(sum(at <= other < at + 1.0 for other in times[n : n + 200]) for n, at in enumerate(times))
    note = f"{1e6 * cpu / MESSAGES_SENT:.0f} us CPU each"
    return [
        Figure("meta: messages sent", rate, "messages/s", at_least=76, note=note),
        Figure("meta: most arrivals within a second", most, "messages"),
    ]


async def paired(rig: Rig) -> list[Figure]:
    await rig.number.ask(forget=True, pair_burst=BURST)
    asked_at: dict[str, float] = {}
    async with rig.worker.working():
        await rig.ask([_PAIRED_PHONE] * PAIRED)
        for n in range(OTHERS_PER_S * OTHERS_S):
            phone = _phone(10_000 + n)
            asked_at[phone.removeprefix("+")] = time.time()
            await rig.ask([phone])
            await asyncio.sleep(1 / OTHERS_PER_S)
        await rig.all_sent(OTHERS_PER_S * OTHERS_S + AT_ONCE)
    told: dict[str, Any] = await rig.number.ask(times=True)
    delays = sorted(at - asked_at[to] for at, to in told["sends"] if to in asked_at)
    to_pair = sum(to == _PAIRED_PHONE.removeprefix("+") for _, to in told["sends"])
    return [
        Figure("meta, beside a limited pair: longest delay", delays[-1], "s", at_most=1.0),
        Figure("meta, beside a limited pair: p50", delays[len(delays) // 2], "s"),
        Figure("meta: to the limited pair meanwhile", to_pair, "messages", at_least=AT_ONCE),
        Figure("meta: refused by its limits", told["refused"], "messages", at_most=0),
    ]


async def measure() -> list[Figure]:
    async with stores() as addresses, rig(addresses) as ours:
        return [*await sustained(ours), *await paired(ours)]


if __name__ == "__main__":
    main(measure, __doc__)
