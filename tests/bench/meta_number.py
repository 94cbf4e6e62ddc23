"""The simulator of Meta as a process of its own, for `tests.bench.meta_sends`: it answers each send after as many
seconds as its argument says, and keeps the time of each."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvloop

from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID
from tests.bench.rig import obey


async def _main(answer_s: float) -> None:
    async with MetaSandbox() as sandbox:
        sandbox.faults.add("slow", seconds=answer_s)
        account = {"url": sandbox.url, "phone_number_id": PHONE_NUMBER_ID, "token": sandbox.token}

        async def answer(question: dict[str, Any]) -> dict[str, Any]:
            if "pair_burst" in question:
                sandbox.switches.pair_burst = question["pair_burst"]
            if question.get("forget"):
                sandbox.ledger.clear()
            sends = sandbox.ledger.of("send")
            if not question.get("times"):
                return account | {"performed": sum(one.performed for one in sends)}
            refused = sum(not one.performed for one in sends)
            return {"sends": [[one.at, one.contact] for one in sends if one.performed], "refused": refused}

        await obey(answer)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(float(sys.argv[1])))
