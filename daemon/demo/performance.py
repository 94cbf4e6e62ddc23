"""The course of a demonstration: orders, what follows on some of them, all of them synced again, and the sums."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from aiohttp import ClientError

from adapters.postgres.operator import demo
from adapters.postgres.stored_orders import OrderFilter
from adapters.redis.streams import stream_keys
from daemon.bus.worker import AnyWorker
from daemon.demo import chat, chat_judging, messages
from daemon.demo.chat import Held
from daemon.demo.judging import UNEXPECTED, tell
from daemon.demo.messages import Letter
from daemon.demo.shipments import AGAIN, Shipment, sequel, shipments
from daemon.demo.stage import Stage
from daemon.operator import resync
from daemon.operator.audit import Audit, audit_workers
from daemon.operator.resync import Told
from daemon.rules.files import SHIPPED
from daemon.workers import WORKERS
from schemas.errors import FerrymanError

PATIENCE_S: Final = 60.0
LOOK_S: Final = 0.1
BAD_MOMENT_S: Final = 3.0
"""How long CGB answers 429, and then 502. It begins while the first orders wait for their turn."""

AT_ONCE: Final = 20
"""Orders of the bulk sync that are under way together."""

Report = Callable[[int, int], None]
"""Called with (accepted webhooks that have ended, accepted webhooks)."""


@dataclass(slots=True)
class Result:
    """How the demonstration went. *bulk*: the sync of all orders again, and *bulk_writes*, what it wrote to CGB."""

    shipments: list[Shipment]
    letters: list[Letter]
    conversation: Held
    audit: Audit
    made: list[str]
    writes: int
    requests: int
    bulk: Told
    bulk_writes: int
    seconds: float
    disagreements: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the balance holds and the simulator's ledger agrees."""
        return self.audit.balanced and not self.disagreements

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "ok": self.ok,
            "seconds": round(self.seconds, 2),
            "orders": [
                {
                    "what": s.what,
                    "order_id": s.order_id,
                    "status": s.reply.status if s.reply else None,
                    "event_ids": s.event_ids,
                    "outcome": s.outcome,
                }
                for s in self.shipments
            ],
            "messages": [letter.document() for letter in self.letters],
            "conversation": chat.document(self.conversation),
            "bulk": {"orders": self.bulk.ended, "outcomes": dict(self.bulk.outcomes), "writes": self.bulk_writes},
            "balance": self.audit.document(),
            "simulator": {"requests": self.requests, "writes": self.writes, "contacts_made": len(self.made)},
            "disagreements": self.disagreements,
        }


async def perform(stage: Stage, count: int, seed: int, report: Report) -> Result:
    """Send the orders through a CGB that has a bad moment, then what follows on them; sync all again; check the
    sums."""
    began = time.monotonic()
    stage.cgb.faults.add("limited", for_s=BAD_MOMENT_S, retry_after="1")
    stage.cgb.faults.add("html", after_s=BAD_MOMENT_S, for_s=BAD_MOMENT_S, status=502)
    known = set(await demo.ended(stage.pool, "journal"))
    sent, letters = shipments(count, seed), messages.letters(seed)
    made, _, held = await asyncio.gather(
        _sent(stage, sent, known, report, alone_from=AGAIN),
        messages.send_all(stage, letters),
        chat.hold(stage.customer, stage.pool),
    )
    later = sequel(sent)
    made |= await _sent(stage, later, known, report)
    written = len(stage.cgb.ledger.writes())
    bulk = await _synced_again(stage, seed)
    bulk_writes = len(stage.cgb.ledger.writes()) - written
    letters += await _by_cgb(stage, sent[0], seed)
    await chat.read(held, stage.customer, stage.pool)
    ledger = stage.cgb.ledger
    result = Result(
        [*sent, *later],
        letters,
        held,
        await audit_workers(stage.pool),
        ledger.contacts_made(),
        len(ledger.writes()),
        len(ledger.entries),
        bulk,
        bulk_writes,
        time.monotonic() - began,
    )
    result.disagreements += [*_disagreements(result, made), *await chat_judging.judged(held)]
    return result


async def _by_cgb(stage: Stage, shipment: Shipment, seed: int) -> list[Letter]:
    """A message to the buyer of *shipment*, whom CGB has as a contact since it was synced."""
    phone = shipment.order["form"]["client"]["phone"]
    letter = messages.flow(seed, f"+{phone['code']}{phone['number']}")
    await messages.send_all(stage, [letter])
    await _wait_for_end(stage, (), lambda _done, _of: None)
    return [letter]


async def _sent(
    stage: Stage, sent: Sequence[Shipment], known: set[str], report: Report, *, alone_from: str | None = None
) -> set[str]:
    """Send these webhooks, wait for their ends, and tell them. Those from *alone_from* on, or all, are sent one by one.
    Adds their events to *known*, the events of before. Returns the CGB contacts that were made."""
    together = [shipment.what for shipment in sent].index(alone_from) if alone_from else 0
    await asyncio.gather(*(_post(stage, shipment) for shipment in sent[:together]))
    for shipment in sent[together:]:
        await _post(stage, shipment)
    await _wait_for_end(stage, sent, report)
    for shipment in sent:
        shipment.duplicate = bool(shipment.event_ids) and known.issuperset(shipment.event_ids)
        known.update(shipment.event_ids)
    return await tell(stage.pool, sent)


async def _post(stage: Stage, shipment: Shipment) -> None:
    try:
        await shipment.post(stage.vizi)
    except (ClientError, TimeoutError) as exc:
        raise FerrymanError(f"the listener did not answer the demonstration ({type(exc).__name__})") from exc


async def _wait_for_end(stage: Stage, sent: Sequence[Shipment], report: Report) -> None:
    """Until every accepted event has ended for every worker, and the groups have nothing left to read."""
    deadline = time.monotonic() + PATIENCE_S
    accepted = {
        "order.received": _events(shipment for shipment in sent if shipment.report is None),
        "applicant_issue.received": _events(shipment for shipment in sent if shipment.report is not None),
    }
    total = sum(map(len, accepted.values()))
    while time.monotonic() < deadline:
        open_ids: set[str] = set()
        for worker in _running():
            wanted = {id for type, ids in accepted.items() if type in worker.types for id in ids}
            open_ids |= wanted.difference(await demo.ended(stage.pool, worker.name, list(wanted)))
        report(total - len(open_ids), total)
        if not open_ids and await _quiet(stage):
            return
        await asyncio.sleep(LOOK_S)


@cache
def _running() -> list[AnyWorker]:
    """The workers that run here: the demonstration has the rules that ship."""
    return [worker for worker in WORKERS if worker.idle(SHIPPED) is None]


def _events(sent: Iterable[Shipment]) -> set[str]:
    return {id for shipment in sent for id in shipment.event_ids}


async def _quiet(stage: Stage) -> bool:
    for worker in _running():
        keys = stream_keys(worker.reads, range(stage.bus.partitions))
        if await stage.bus.lag(worker.name, keys) != (0, 0):
            return False
    return await demo.outbox_is_empty(stage.pool)


async def _synced_again(stage: Stage, seed: int) -> Told:
    """A bulk run over all orders: nothing has changed, so nothing is to be written."""
    plan = await resync.make_plan(stage.pool, OrderFilter())
    told = await resync.run(
        stage.pool, stage.bus, plan, f"demo {seed}", lambda _: None, at_once=AT_ONCE, per_minute=None
    )
    await _wait_for_end(stage, (), lambda _done, _of: None)
    return told


def _disagreements(result: Result, made: set[str]) -> list[str]:
    """What the tables, the answers and the simulator's ledger say differently."""
    wrong = [f"{s.order_id}: {s.outcome}" for s in result.shipments if s.outcome.startswith(UNEXPECTED)]
    wrong += [
        f"{one.what} by {one.provider}: {one.outcome}" for one in result.letters if one.outcome.startswith(UNEXPECTED)
    ]
    wrong += [f"open: {name}" for name, sums in result.audit.workers.items() if sums.open]
    if len(result.made) != len(set(result.made)):
        wrong.append("a contact was made twice")
    if made != set(result.made):
        wrong.append(f"the tables know of {len(made)} new contacts, the simulator of {len(set(result.made))}")
    if all(s.duplicate or not s.event_ids for s in result.shipments) and result.writes:
        wrong.append(f"everything was a duplicate, and yet there were {result.writes} writes")
    if result.bulk_writes:
        wrong.append(f"nothing had changed, and yet the bulk sync made {result.bulk_writes} writes")
    return wrong
