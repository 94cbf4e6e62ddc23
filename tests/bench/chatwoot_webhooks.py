"""How late Chatwoot's webhooks are answered while no worker runs: `python -m tests.bench.chatwoot_webhooks [--json]`
(60 s).

Chatwoot waits for five seconds and never calls again, so it is the latest answers that count. 200 webhooks a second at
a steady rate, each from the moment at which it was due. The limit, measured in the same run by turns: a bare aiohttp
JSON handler as `tests.bench.intake` has it, which keeps nothing. Against it the real application: the signature over
the body, the event, and an append to an append-only file that is synced before the answer. Told beside it: the bare
handler with nothing but such an append. p99 of each turn, the best of five. Bar: 2 times the limit.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from daemon.process import settle_memory
from daemon.sandbox.chatwoot_webhooks import PATH
from tests.bench.doors import bare, ferryman
from tests.bench.intake import emptied
from tests.bench.rig import Cores, Figure, Helper, helper, main, stores

SECRET: Final = "whs_demo_7Q2m0123456789"
PER_SECOND: Final = 200
COUNT: Final = 600
TURNS: Final = 5
WARM: Final = 100


async def one(load: Helper, port: int, count: int = COUNT) -> list[float]:
    """The waits of one turn, in milliseconds."""
    said = await load.ask(port=port, count=count, per_second=PER_SECOND)
    if set(said["statuses"]) != {"202"}:
        raise RuntimeError(f"not everything was accepted: {said['statuses']}")
    return list(said["waits_ms"])


async def measure() -> list[Figure]:
    cores = Cores()
    cores.helpers()
    turns: dict[str, list[list[float]]] = defaultdict(list)
    async with (
        stores() as addresses,
        helper("tests.bench.chatwoot_load", SECRET) as load,
        ferryman(addresses, "chatwoot", {"chatwoot_webhook_secret": [SECRET]}) as (port, redis),
        bare(PATH, lambda document: document["id"]) as bare_port,
        bare(PATH, lambda document: document["id"], lambda body: redis.xadd("bare", {"data": body})) as kept_port,
    ):
        cores.measured()
        settle_memory()  # as `ferryman run` does
        ports = {"limit": bare_port, "bare, kept": kept_port, "ferryman": port}
        for kind_port in ports.values():
            await one(load, kind_port, WARM)
        for _ in range(TURNS):
            await emptied(redis)
            for kind, kind_port in ports.items():
                turns[kind].append(sorted(await one(load, kind_port)))
    figures, best = [], {kind: min(found, key=_p99) for kind, found in turns.items()}
    for kind, waits in best.items():
        note = f"p50 {waits[len(waits) // 2]:.2f} ms, latest {waits[-1]:.1f} ms"
        figures.append(Figure(f"chatwoot webhooks, p99: {kind}", _p99(waits), "ms", note=note))
    for kind, bar in (("limit", 2.0), ("bare, kept", None)):
        ratio = _p99(best["ferryman"]) / _p99(best[kind])
        figures.append(Figure(f"chatwoot webhooks, p99: ferryman / {kind}", ratio, at_most=bar))
    return figures


def _p99(ordered: list[float]) -> float:
    return ordered[len(ordered) * 99 // 100]


if __name__ == "__main__":
    main(measure, __doc__)
