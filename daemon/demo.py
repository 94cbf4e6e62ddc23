"""The demonstration: embedded servers, the simulators and the whole daemon in one process, and a check of the
result."""

from __future__ import annotations

import asyncio
import base64
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientError
from pydantic import SecretStr

from adapters.http import open_session
from adapters.postgres.operator import demo
from adapters.postgres.pool import Pool, connect
from adapters.redis import streams
from adapters.redis.streams import Streams, stream_keys
from daemon.app import assembled
from daemon.operator.audit import Audit, audit_workers
from daemon.sandbox import orders
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from daemon.sandbox.vizi import Proof, Reply, Vizi
from daemon.settings.model import Settings
from daemon.stores.located import Addresses, located_stores
from daemon.workers import WORKERS
from schemas.errors import FerrymanError

PATIENCE_S: Final = 60.0
LOOK_S: Final = 0.1
BAD_MOMENT_S: Final = 3.0
"""How long CGB answers 429, and then 502. It begins while the first orders wait for their turn."""

Report = Callable[[int, int], None]
"""Called with (accepted orders that have ended, accepted orders)."""


@dataclass(slots=True)
class Shipment:
    """One webhook of the demonstration, its answer, and how it ended."""

    what: str
    order: dict[str, Any]
    proof: Proof = "signature"
    reply: Reply | None = None
    duplicate: bool = False
    outcome: str = ""

    @property
    def order_id(self) -> str:
        """The order's id."""
        return str(self.order["order"]["id"])


@dataclass(slots=True)
class Result:
    """How the demonstration went."""

    shipments: list[Shipment]
    audit: Audit
    made: list[str]
    writes: int
    requests: int
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
                    "event_ids": s.reply.event_ids if s.reply else (),
                    "outcome": s.outcome,
                }
                for s in self.shipments
            ],
            "balance": self.audit.document(),
            "simulator": {"requests": self.requests, "writes": self.writes, "contacts_made": len(self.made)},
            "disagreements": self.disagreements,
        }


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs during a demonstration."""

    addresses: Addresses
    url: str
    cgb: CgbSandbox
    vizi: Vizi
    pool: Pool
    bus: Streams


def shipments(count: int, seed: int) -> list[Shipment]:
    """*count* orders, the same for the same seed, difficult ones included; then one repeated webhook and one forged."""
    rng = random.Random(seed)  # noqa: S311 - invented data
    first, second = orders.same_person_twice(rng, 1001)
    special = [
        Shipment("trunk zero", orders.trunk_zero(rng, 1000)),
        Shipment("first order of a person", first),
        Shipment("second order of the person", second, "key"),
        Shipment("no phone", orders.missing_phone(rng, 1003)),
        Shipment("Vizi's own test", orders.vizi_test(rng, 1004)),
        Shipment("odd shapes", orders.odd_shapes(rng, 1005)),
        Shipment("trunk zero", orders.trunk_zero(rng, 1006), "key"),
    ][: max(0, count - 1)]
    plain = [Shipment("order", orders.make_order(rng, n)) for n in range(count - len(special))]
    sent = [plain[0], *special, *plain[1:]]
    sent.append(Shipment("the same webhook again", plain[0].order))
    sent.append(Shipment("forged", orders.make_order(rng, 1007), "forged"))
    return sent


@asynccontextmanager
async def staged(data_dir: Path) -> AsyncIterator[Stage]:
    """Servers, simulator and daemon, until the context ends."""
    signing = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    key = f"demo.{secrets.token_hex(16)}"
    async with CgbSandbox("live") as cgb, open_session() as session:
        settings = Settings(
            ferryman_data_dir=data_dir,
            ferryman_port=0,
            cgb_api_url=cgb.url,
            cgb_api_key=SecretStr(TOKEN),
            cgb_rate_per_minute=1_000_000,
            cgb_timeout=5000,
            cgb_sync_concurrency=20,
            orders_webhook_secret=(SecretStr(signing),),
            orders_api_key=(SecretStr(key),),
        )
        cgb.switches.limit = None
        async with located_stores(settings, make=True) as addresses, assembled(settings, addresses) as daemon:
            stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
            running = asyncio.create_task(daemon.run(stop, port.set_result))
            try:
                await asyncio.wait({running, port}, return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    await running
                url = f"http://127.0.0.1:{port.result()}"
                vizi = Vizi(session, url, secret=signing, api_key=key)
                client = streams.client(addresses.redis_url, timeout_s=2)
                try:
                    async with connect(addresses.database_url, size=2) as pool:
                        bus = Streams(client, settings.ferryman_partitions)
                        yield Stage(addresses, url, cgb, vizi, pool, bus)
                finally:
                    await client.aclose()
            finally:
                stop.set()
                await running


async def perform(stage: Stage, count: int, seed: int, report: Report) -> Result:
    """Send the orders through a CGB that has a bad moment, wait for the end of each, and check the sums."""
    began = time.monotonic()
    sent = shipments(count, seed)
    stage.cgb.faults.add("limited", for_s=BAD_MOMENT_S, retry_after="1")
    stage.cgb.faults.add("html", after_s=BAD_MOMENT_S, for_s=BAD_MOMENT_S, status=502)
    known = set(await demo.ended(stage.pool, "contact-sync"))
    first = sent.index(next(s for s in sent if s.what == "the same webhook again"))
    await asyncio.gather(*(_post(stage.vizi, shipment) for shipment in sent[:first]))
    for shipment in sent[first:]:
        await _post(stage.vizi, shipment)
    accepted = list(dict.fromkeys(id for s in sent if s.reply for id in s.reply.event_ids))
    await _wait_for_end(stage, accepted, report)
    seen = set(known)
    for shipment in sent:
        ids = shipment.reply.event_ids if shipment.reply else ()
        shipment.duplicate = bool(ids) and seen.issuperset(ids)
        seen.update(ids)
    result = Result(
        sent,
        await audit_workers(stage.pool),
        stage.cgb.ledger.contacts_made(),
        len(stage.cgb.ledger.writes()),
        len(stage.cgb.ledger.entries),
        time.monotonic() - began,
    )
    await _judge(stage, result, accepted, known)
    return result


async def _post(vizi: Vizi, shipment: Shipment) -> None:
    try:
        shipment.reply = await vizi.post(shipment.order, shipment.proof)
    except (ClientError, TimeoutError) as exc:
        raise FerrymanError(f"the listener did not answer the demonstration ({type(exc).__name__})") from exc


async def _wait_for_end(stage: Stage, accepted: Sequence[str], report: Report) -> None:
    """Until every accepted event has ended for every worker, and the groups have nothing left to read."""
    deadline = time.monotonic() + PATIENCE_S
    concerned = [worker.name for worker in WORKERS if "order.received" in worker.types]
    while time.monotonic() < deadline:
        ended = {name: set(await demo.ended(stage.pool, name, accepted)) for name in concerned}
        report(len(ended["contact-sync"]), len(accepted))
        if all(ids.issuperset(accepted) for ids in ended.values()) and await _quiet(stage):
            return
        await asyncio.sleep(LOOK_S)


async def _quiet(stage: Stage) -> bool:
    for worker in WORKERS:
        keys = stream_keys(worker.reads, range(stage.bus.partitions))
        if await stage.bus.lag(worker.name, keys) != (0, 0):
            return False
    return await demo.outbox_is_empty(stage.pool)


async def _judge(stage: Stage, result: Result, accepted: Sequence[str], known: set[str]) -> None:
    """Compare what the tables say with what was answered and with what the simulator was asked."""
    rows = await demo.orders(stage.pool, [s.order_id for s in result.shipments])
    endings = await demo.endings(stage.pool, accepted)
    for shipment in result.shipments:
        shipment.outcome = _outcome(shipment, rows.get(shipment.order_id), endings)
    wrong = result.disagreements
    wrong += [f"{s.order_id}: {s.outcome}" for s in result.shipments if s.outcome.startswith("?")]
    wrong += [f"open: {name}" for name, sums in result.audit.workers.items() if sums.open]
    if len(result.made) != len(set(result.made)):
        wrong.append("a contact was made twice")
    new = {id for id in accepted if id not in known}
    mine = [s for s in result.shipments if s.reply and new.intersection(s.reply.event_ids)]
    made = {row.contact_id for s in mine if (row := rows.get(s.order_id)) and row.existed is False}
    if made != set(result.made):
        wrong.append(f"the tables know of {len(made)} new contacts, the simulator of {len(set(result.made))}")
    if not new and result.writes:
        wrong.append(f"everything was a duplicate, and yet there were {result.writes} writes")


def _outcome(shipment: Shipment, row: demo.OrderRow | None, endings: dict[str, demo.SyncEnding]) -> str:
    """How the shipment ended, in words; a "?" in front marks an end that it should not have."""
    reply = shipment.reply
    if reply is None or reply.status != 202:
        status = reply.status if reply else "none"
        return f"{'' if shipment.proof == 'forged' and status == 401 else '?'}refused ({status})"
    if shipment.duplicate:
        return "duplicate, nothing done"
    ending = endings.get(reply.event_ids[0])
    if ending is None:
        return "?open"
    if ending.outcome == "skipped" and ending.reason == "test order":
        return "skipped: a test"
    if row is None:
        return f"?{ending.outcome} without a row"
    if row.status == "failed":
        return f"{'' if shipment.what == 'no phone' else '?'}failed: {row.error}"
    if row.status != "synced":
        return f"?{row.status}"
    return "synced, contact was there" if row.existed else "synced, contact made"
