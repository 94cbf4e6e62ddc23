"""How many messages nobody knows the end of is measured, and is zero again when the last one is settled."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

from adapters.postgres import messages
from adapters.postgres.messages import Ended, Request
from adapters.postgres.pool import Pool
from daemon.app import declared
from daemon.messages.scheduling import duties
from daemon.telemetry.metrics import Metrics
from daemon.workers import WORKERS
from tests.support.campaigns import outside_of

NOON = datetime(2031, 3, 1, 12, tzinfo=UTC)


async def doubted(db: Pool) -> UUID:
    id = uuid4()
    content = {"name": "news"}
    async with db.acquire() as conn:
        await messages.request(
            conn,
            Request(
                id=id, provider="meta", account="default", phone="+972505550142", kind="template", content=content,
                purpose="api", event_id=str(uuid4()),
            ),
        )  # fmt: skip
        await messages.end(conn, [Ended(id=id, status="uncertain", at=NOON)])
    return id


async def test_what_is_settled_is_measured_no_more(db: Pool) -> None:
    outside = replace(outside_of(db), metrics=Metrics(declared(WORKERS), providers=["meta", "twilio"]))
    measure = next(duty for duty in duties(outside, ("meta", "twilio")) if duty.name == "uncertain-messages")

    def measured() -> list[str]:
        lines = outside.metrics.render()[0].decode().splitlines()
        return sorted(line for line in lines if line.startswith("ferryman_uncertain{"))

    id = await doubted(db)
    await measure.act()
    assert measured() == ['ferryman_uncertain{provider="meta"} 1', 'ferryman_uncertain{provider="twilio"} 0']
    async with db.acquire() as conn:
        await messages.end(conn, [Ended(id=id, status="sent", at=NOON)])
    await measure.act()
    assert measured() == ['ferryman_uncertain{provider="meta"} 0', 'ferryman_uncertain{provider="twilio"} 0']
