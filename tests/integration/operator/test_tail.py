"""`tail` and `forward`: what happens, as it happens, and copies of webhooks for a developer."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from adapters.postgres.bus import inbox, journal
from adapters.postgres.bus.inbox import InboxRow
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.operator import trail
from adapters.postgres.pool import Pool
from daemon.operator.forwarding import Copied, forward, is_here, made_secret
from daemon.operator.tailing import Happened, TailFilter, tail
from schemas.envelope import Event, event_id
from tests.support.toy import NOON
from tests.support.until import until

PHONE = "+972505550001"
ORDER = Event(
    id=event_id("orders", "IL-1"), type="order.received", source="orders", subject=PHONE, time=NOON, data=b'{"n":  1}'
)
REPORT = ORDER._replace(id=event_id("issues", "1"), type="applicant_issue.reported", source="issues")
OTHER = ORDER._replace(id=event_id("orders", "IL-2"), subject="email:a@b.example", data=b'{"n":2}')


async def journaled(db: Pool, *events: Event) -> None:
    async with db.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(event, "") for event in events])


async def ended(db: Pool, event: Event, outcome: str, worker: str = "contact-sync") -> None:
    async with db.acquire() as conn, conn.transaction():
        await inbox.insert(conn, worker, [InboxRow(event.id, "", outcome, None, 0, b"")])


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    """The looks at what has arrived."""
    done, arrived = Rounds(), trail.arrived

    async def counted(*argv: Any) -> Any:
        found = await arrived(*argv)
        done.count += 1
        return found

    monkeypatch.setattr(trail, "arrived", counted)
    return done


@dataclass
class Rounds:
    count: int = 0

    async def pass_by(self) -> None:
        """Wait for two more looks: what was there before them has been seen."""
        wanted = self.count + 2
        await until(lambda: self.count >= wanted, "two more looks")


@asynccontextmanager
async def gathered(stream: AsyncIterator[Any], rounds: Rounds) -> AsyncIterator[list[Any]]:
    """What *stream* gives, from its second look on."""
    found: list[Any] = []

    async def gather() -> None:
        async for one in stream:
            found.append(one)  # noqa: PERF401 - as they come

    task = asyncio.create_task(gather())
    await rounds.pass_by()
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        (
            TailFilter(),
            {
                ("orders", None, "accepted"),
                ("issues", None, "accepted"),
                ("orders", "contact-sync", "done"),
                ("orders", "crm-labels", "dead"),
            },
        ),
        (TailFilter(source="issues"), {("issues", None, "accepted")}),
        (TailFilter(type="order.received", outcome="accepted"), {("orders", None, "accepted")}),
        (TailFilter(worker="crm-labels"), {("orders", "crm-labels", "dead")}),
        (TailFilter(outcome="done", key="050-555-0001"), set()),
        (TailFilter(outcome="done", key=PHONE), {("orders", "contact-sync", "done")}),
        (TailFilter(key="nobody@b.example"), set()),
    ],
    ids=["all", "source", "type", "worker", "key as spoken", "key", "nobody"],
)
async def test_a_tail_shows_what_its_filter_lets_through(
    db: Pool, rounds: Rounds, wanted: TailFilter, shown: set[tuple[str, str | None, str]]
) -> None:
    async with gathered(tail(db, wanted), rounds) as found:
        await journaled(db, ORDER, REPORT)
        await ended(db, ORDER, "done")
        await ended(db, ORDER, "dead", "crm-labels")
        await rounds.pass_by()
        assert {(one.source, one.worker, one.outcome) for one in found} == shown


async def test_a_line_has_the_masked_key_and_the_time_since_the_arrival(db: Pool, rounds: Rounds) -> None:
    await journaled(db, ORDER)  # before the tail: it asks for it
    async with gathered(tail(db, TailFilter()), rounds) as found:
        await ended(db, ORDER, "done")
        await until(lambda: found)
    (one,) = found
    assert isinstance(one, Happened)
    assert (one.event, one.type, one.source) == (ORDER.id, ORDER.type, "orders")
    assert PHONE not in str(one.document())
    assert one.ms == max(0, round((one.at - NOON) / timedelta(milliseconds=1)))


async def test_webhooks_are_copied_with_their_bytes_and_a_proof_and_no_others(db: Pool, rounds: Rounds) -> None:
    got: list[tuple[dict[str, str], bytes]] = []

    async def take(request: web.Request) -> web.Response:
        got.append((dict(request.headers), await request.read()))
        return web.Response(status=204 if len(got) == 1 else 500)

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    await journaled(db, REPORT, ORDER)
    secret = made_secret()
    try:
        copying = forward(db, "orders", url, secret, since=NOON - timedelta(hours=1), actor="noa")
        async with gathered(copying, rounds) as copied:
            await until(lambda: len(copied) >= 1)
            await journaled(db, OTHER, REPORT._replace(id=event_id("issues", "2")))
            await until(lambda: len(copied) >= 2)
            assert [(one.event.id, one.status) for one in copied] == [(ORDER.id, 204), (OTHER.id, 500)]
            assert isinstance(copied[0], Copied)
    finally:
        await runner.cleanup()
    assert [body for _, body in got] == [ORDER.data, OTHER.data]
    for (headers, body), event in zip(got, (ORDER, OTHER), strict=True):
        assert headers["webhook-id"] == event.id
        message = f"{event.id}.{headers['webhook-timestamp']}.".encode() + body
        key = base64.b64decode(secret.removeprefix("whsec_"))
        proof = base64.b64encode(hmac.digest(key, message, hashlib.sha256)).decode()
        assert headers["webhook-signature"] == f"v1,{proof}"
    audited = await db.fetch("SELECT actor, action, subject FROM audit_log")
    assert [tuple(row) for row in audited] == [("noa", "forward", "source:orders")]
    assert await db.fetchval("SELECT count(*) FROM inbox") == 0, "nothing is acknowledged"


async def test_a_machine_that_is_away_is_said_and_costs_nothing(db: Pool, rounds: Rounds) -> None:
    await journaled(db, ORDER)
    copying = forward(db, "orders", "http://127.0.0.1:1/", made_secret(), since=NOON, actor="noa")
    async with gathered(copying, rounds) as copied:
        await until(lambda: copied)
    assert (copied[0].status, bool(copied[0].error)) == (None, True)


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:3000", True),
        ("http://127.9.9.9", True),
        ("http://localhost:3000/x", True),
        ("http://[::1]:3000", True),
        ("http://10.0.0.1", False),
        ("http://localhost.example.com", False),
        ("http://0.0.0.0:3000", False),
        ("https://example.com", False),
    ],
)
def test_only_an_address_of_this_machine_is_here(url: str, here: bool) -> None:
    assert is_here(url) is here
