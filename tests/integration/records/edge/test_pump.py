"""The pump against an upstream on a real port, which also fails, hangs and lies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from adapters.http import open_session
from adapters.postgres.pool import Pool
from adapters.sync import verdicts
from adapters.sync.pacing import Pacing
from daemon.bus.worker import utc_now
from daemon.operator.records import put_back
from daemon.records.edge.pump import Exchange, Pump
from daemon.records.stats import stats
from daemon.records.wiring import METRICS
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from tests.support.edges import Edge
from tests.support.full_disk import no_room
from tests.support.hubs import Hub, serving
from tests.support.until import until


@dataclass
class Running:
    """An edge whose pump runs against *hub*."""

    edge: Edge
    hub: Hub
    pump: Pump
    token: list[str]
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def write(self, verb: str, record: str, **data: Any) -> Any:
        """A phone writes, and the bell rings."""
        made = await self.edge.write(verb, record, **data)
        self.pump.wake()
        return made

    async def pending(self) -> int:
        return int(await self.edge.db.fetchval("SELECT count(*) FROM sync_queue WHERE state = 'pending'"))

    async def drained(self) -> bool:
        """Whether everything has gone out, and come back."""
        return not await self.edge.db.fetchval("SELECT count(*) FROM sync_queue WHERE NOT settled")

    async def data(self) -> dict[str, dict[str, Any]]:
        """Record id -> its fields, here."""
        ids = await self.edge.db.fetch("SELECT record_id FROM records WHERE NOT deleted")
        rows = {one[0]: await self.edge.row(one[0]) for one in ids}
        return {name: row["data"] for name, row in rows.items() if row is not None}

    async def equal(self) -> bool:
        return await self.data() == self.hub.data()


def pump_of(edge: Edge, session: Any, hub: Hub, token: list[str]) -> Pump:
    exchange = Exchange(pool=edge.db, session=session, store=edge.store, url=hub.url, token=lambda: token[0], batch=50)
    pacing = Pacing(draw=lambda low, high: min(high, 0.02))
    return Pump(exchange=exchange, metrics=Metrics(METRICS), now=utc_now, every_s=300, pacing=pacing)


@asynccontextmanager
async def running(db: Pool, hub: Hub) -> AsyncIterator[Running]:
    edge, token = Edge(db, utc_now), [hub.token]
    async with open_session() as session:
        it = Running(edge, hub, pump_of(edge, session, hub, token), token)
        task = asyncio.create_task(it.pump.run(it.stop))
        try:
            yield it
        finally:
            it.stop.set()
            await asyncio.wait_for(task, 3)


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    """An upstream that serves."""
    async with serving(Hub()) as made:
        yield made


async def test_a_write_goes_up_at_once_and_news_come_down_at_once(db: Pool, hub: Hub) -> None:
    async with running(db, hub) as it:
        await until(lambda: any("wait" in one for one in hub.pulls))
        await it.write("CREATE", "l1", name="Ada", owner_id="alice")
        await until(lambda: "l1" in hub.data(), within_s=2)
        await until(it.drained)
        hub.put("Lead", "l2", {"name": "Bob", "owner_id": "alice"})
        await until(it.equal, within_s=2)
        told = await stats(db, Settings(sync_upstream_url=hub.url), utc_now())
        assert (told["pending"], told["synced_today"], told["online"], told["records"]) == (0, 1, True, 2)


async def test_an_outage_of_any_length_costs_no_attempt(db: Pool, hub: Hub) -> None:
    hub.away = ""
    async with running(db, hub) as it:
        op = await it.write("CREATE", "l1", name="Ada", owner_id="alice")
        await until(lambda: hub.requests > 30)
        found = await it.edge.op(op)
        assert (found["state"], found["retry_count"]) == ("pending", 0)
        told = await stats(db, Settings(sync_upstream_url=hub.url), utc_now())
        assert told["online"] is False
        assert "busy" in told["last_error"]
        hub.away = None
        await until(it.drained)
        assert len(hub.ledger) == 1


async def test_a_captive_portal_is_no_upstream(db: Pool, hub: Hub) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<html>Please log in</html>", content_type="text/html")

    async def login(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "http://portal.example/login"})

    async def half(request: web.Request) -> web.Response:
        return web.Response(text='{"ack": "x", "results": [', content_type="application/json")

    async def other(request: web.Request) -> web.Response:
        return web.json_response({"hello": "world"})

    hub.faults = [page, login, half, other] * 4
    async with running(db, hub) as it:
        op = await it.write("CREATE", "l1", name="Ada", owner_id="alice")
        await until(it.drained)
        assert (await it.edge.op(op))["retry_count"] == 0
        assert await it.equal()
        assert not hub.faults


async def test_an_answer_that_was_lost_is_asked_for_again_and_nothing_is_done_twice(db: Pool, hub: Hub) -> None:
    hub.lose_answers = 3
    async with running(db, hub) as it:
        await it.write("CREATE", "l1", name="Ada", owner_id="alice")
        await it.write("UPDATE", "l1", name="Bob")
        await until(it.drained)
        assert hub.rows["Lead", "l1"]["version"] == 2
        assert await it.equal()


async def test_three_errors_of_its_own_make_an_operation_failed_and_it_comes_back_under_its_id(
    db: Pool, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "STAYS_S", 0.05)
    monkeypatch.setattr(verdicts, "pause", lambda retries: 0.05 * retries)
    hub.refused["l1"] = "internal"
    async with running(db, hub) as it:
        op = await it.write("CREATE", "l1", name="Ada", owner_id="alice")
        later = await it.write("CREATE", "l2", name="Bob", owner_id="alice")
        await until(lambda: "l2" in hub.data(), within_s=5)

        async def failed() -> bool:
            return bool((await it.edge.op(op))["state"] == "failed")

        await until(failed)
        found = await it.edge.op(op)
        assert (found["retry_count"], found["reason"], found["synced_at"]) == (3, "internal", None)
        hub.refused.clear()
        assert await put_back(db, op_id=None, model=None, actor="test") == [op]
        await until(it.drained)
        assert str(op) in hub.ledger
        assert str(later) in hub.ledger
        assert await it.equal()


async def test_fifty_one_poisoned_operations_at_the_head_do_not_hold_up_the_next_one(db: Pool, hub: Hub) -> None:
    async with running(db, hub) as it:
        hub.away = ""
        for n in range(51):
            await it.edge.write("CREATE", f"bad{n}", name="x", owner_id="alice")
            hub.refused[f"bad{n}"] = "internal"
        await it.edge.write("CREATE", "crash", name="x", owner_id="alice")
        hub.crashing.add("crash")
        await it.edge.write("CREATE", "good", name="x", owner_id="alice")
        hub.away = None
        it.pump.wake()
        await until(lambda: "good" in hub.data(), within_s=20)
        # it did not wait until those were given up
        assert await it.edge.db.fetchval("SELECT max(retry_count) FROM sync_queue WHERE record_id LIKE 'bad%'") < 3


async def test_a_refused_token_stops_the_exchange_until_there_is_another_one(db: Pool, hub: Hub) -> None:
    hub.token = "new-token"
    async with running(db, hub) as it:
        it.token[0] = "old-token"
        op = await it.write("CREATE", "l1", name="Ada", owner_id="alice")

        async def refused() -> bool:
            told = await stats(db, Settings(sync_upstream_url=hub.url), utc_now())
            return "refuses" in (told["last_error"] or "")

        await until(refused)
        assert (await it.edge.op(op))["state"] == "pending"
        it.token[0] = "new-token"
        await until(it.drained, within_s=5)


async def test_retry_after_is_kept_and_then_one_request_asks(db: Pool, hub: Hub) -> None:
    hub.away = "1"
    async with running(db, hub) as it:
        await it.write("CREATE", "l1", name="Ada", owner_id="alice")
        await until(lambda: hub.requests >= 1)
        began, asked = asyncio.get_running_loop().time(), hub.requests
        await until(lambda: hub.requests > asked + 1 or asyncio.get_running_loop().time() - began > 0.8)
        assert hub.requests <= asked + 1  # the pull of the round, which goes on by itself
        hub.away = None
        await until(it.drained, within_s=5)


async def test_an_upstream_that_does_not_hold_its_answers_is_not_asked_all_the_time(db: Pool, hub: Hub) -> None:
    async def at_once(request: web.Request) -> web.Response | None:
        if request.method == "GET":
            request = request.clone(rel_url=request.rel_url.without_query_params("wait"))
            return await hub._pull(request)  # type: ignore[return-value]
        return None

    hub.faults = [at_once] * 1000
    async with running(db, hub):
        await until(lambda: hub.requests >= 2)
        began = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() - began > 2.5)
        assert hub.requests < 8


async def test_two_pumps_at_once_are_harmless(db: Pool, hub: Hub) -> None:
    async with running(db, hub) as it, open_session() as session:
        other = pump_of(Edge(db, utc_now), session, hub, [hub.token])
        for n in range(30):
            await it.write("CREATE", f"l{n}", name=f"n{n}", owner_id="alice")
        for _ in range(10):  # past the lock, which keeps them apart
            with contextlib.suppress(Exception):
                await other.exchange.round()
        await until(it.drained)
        assert {row["version"] for row in hub.rows.values()} == {1}
        assert await it.equal()


async def test_another_hub_gets_the_queue_and_what_was_made_here(db: Pool, hub: Hub) -> None:
    async with running(db, hub) as it:
        await it.write("CREATE", "l1", name="Ada", owner_id="alice")
        await until(it.drained)
    async with serving(Hub()) as second, running(db, second) as it:
        await it.write("CREATE", "l2", name="Bob", owner_id="alice")
        await until(lambda: set(second.data()) == {"l1", "l2"})
        await until(it.drained)
        assert await it.equal()


async def test_an_upstream_from_an_hour_ago_gets_back_what_this_edge_holds(db: Pool, hub: Hub) -> None:
    async with running(db, hub) as it:
        await it.write("CREATE", "l1", name="Ada", owner_id="alice")
        await until(it.drained)
        rows, ledger, seq = {key: dict(row) for key, row in hub.rows.items()}, dict(hub.ledger), hub.seq
        await it.write("UPDATE", "l1", name="Ada L.")
        await it.write("CREATE", "l2", name="Bob", owner_id="alice")
        hub.put("Lead", "l3", {"name": "of others", "owner_id": "alice"})
        await until(it.drained)
        await until(it.equal)
        hub.rows, hub.ledger, hub.seq, hub.epoch = rows, ledger, seq, 2
        hub.changed.set()
        await it.write("UPDATE", "l2", name="Bob B.")
        await until(lambda: hub.data().get("l2", {}).get("name") == "Bob B.")
        await until(it.drained)
        await until(it.equal)
        assert hub.data()["l1"]["name"] == "Ada L."
        lost = await db.fetch("SELECT record_id FROM sync_conflicts")
        assert [one[0] for one in lost] == ["l3"]


async def test_a_stop_ends_a_round_that_hangs(db: Pool, hub: Hub) -> None:
    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    hub.faults = [hang]
    async with running(db, hub) as it:
        await it.write("CREATE", "l1", name="Ada", owner_id="alice")
        await until(lambda: hub.requests == 1)
    assert not hub.ledger


async def test_an_edge_without_room_says_so_once_and_goes_on_by_itself(db: Pool, hub: Hub) -> None:
    with capture_logs() as logs:
        async with running(db, hub) as it:
            await it.write("CREATE", "l1", name="Ada", owner_id="alice")
            await until(it.drained)
            async with no_room(db, "records"):
                hub.put("Lead", "l2", {"name": "Bob", "owner_id": "alice"})

                async def told() -> bool:
                    found = await stats(db, Settings(sync_upstream_url=hub.url), utc_now())
                    return "no room" in (found["last_error"] or "")

                await until(told)
                pulls = len(hub.pulls)
                await until(lambda: len(hub.pulls) > pulls + 1, "more tries")
            await until(it.equal)
            found = await stats(db, Settings(sync_upstream_url=hub.url), utc_now())
            assert (found["last_error"], found["online"]) == (None, True)
    assert [one["sqlstate"] for one in logs if one["event"] == "records.pump_failed"] == ["53100"]
