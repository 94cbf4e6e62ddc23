"""The overview: the flow of the last hour, what waits and how that changes, and what needs a person."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from adapters.postgres.bus import flow, members, pauses
from adapters.postgres.bus.flow import Flow, Lag
from adapters.postgres.operator import overview as queries
from adapters.postgres.pool import Pool
from daemon.bus.flow import FlowTally
from daemon.operator.overview import MINUTES, flow_document, read_overview, trend
from daemon.telemetry.report import ProviderReport, Report
from schemas.errors import Refused
from tests.support.bus import Bench, make_metrics, make_upkeep, open_bench
from tests.support.plans import assert_reads_few
from tests.support.toy import TOY, failing, make_event
from tests.support.until import until

NOON = datetime(2031, 3, 1, 12, 0, 40, tzinfo=UTC)


@pytest.fixture
async def bench(redis: Redis, redis_url: str, db: Pool) -> AsyncIterator[Bench]:
    async with open_bench(redis_url, db) as made:
        yield made


def test_each_minute_has_its_place_and_a_minute_without_anything_is_zero() -> None:
    first = NOON.replace(second=0) - timedelta(minutes=59)
    rows = [
        queries.FlowMinute(first, "in", "orders", "accepted", 3),
        queries.FlowMinute(first, "in", "orders", "refused", 1),
        queries.FlowMinute(NOON.replace(second=0), "out", TOY, "done", 5),
        queries.FlowMinute(first - timedelta(minutes=1), "in", "orders", "accepted", 9),
    ]
    told = flow_document(rows, NOON)
    assert told["in"] == {"orders": [4, *[0] * 59]}
    assert told["out"] == {TOY: [*[0] * 59, 5]}
    assert told["outcomes"]["in"]["orders"] == {"accepted": 3, "refused": 1}
    assert (told["since"], told["minutes"]) == (first, MINUTES)


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        (None, 5, None),
        (5, None, None),
        (0, 1, "steady"),
        (100, 109, "steady"),
        (100, 120, "growing"),
        (9, 2, "falling"),
    ],
)
def test_a_trend_is_told_in_a_word(then: float | None, now: float | None, said: str | None) -> None:
    assert trend(then, now) == said


async def test_what_processes_count_comes_together_by_the_minute(db: Pool) -> None:
    metrics, others = make_metrics(), make_metrics()
    now = [NOON]
    tallies = [FlowTally(db, one, lambda: now[0]) for one in (metrics, others)]
    for one in (metrics, others):
        one.inc("ferryman_events_total", {"worker": TOY, "outcome": "done"}, 3)
    for tally in tallies:
        await tally.write()
        await tally.write()  # nothing new
    now[0] += timedelta(minutes=1)
    metrics.inc("ferryman_events_total", {"worker": TOY, "outcome": "done"}, 2)
    await tallies[0].write()
    rows = await db.fetch("SELECT minute, name, outcome, n FROM flow_minutes ORDER BY minute")
    noon = NOON.replace(second=0)
    assert [tuple(row) for row in rows] == [
        (noon, TOY, "done", 6),
        (noon + timedelta(minutes=1), TOY, "done", 2),
    ]


async def test_what_was_counted_while_postgres_was_away_is_added_to_its_own_minute(db: Pool) -> None:
    metrics, now = make_metrics(), [NOON]
    tally = FlowTally(db, metrics, lambda: now[0])
    metrics.inc("ferryman_events_total", {"worker": TOY, "outcome": "done"})
    await db.execute("ALTER TABLE flow_minutes RENAME TO gone")
    with pytest.raises(Exception, match="flow_minutes"):
        await tally.write()
    await db.execute("ALTER TABLE gone RENAME TO flow_minutes")
    now[0] += timedelta(minutes=5)
    metrics.inc("ferryman_events_total", {"worker": TOY, "outcome": "done"})
    await tally.write()
    minutes = [row[0] for row in await db.fetch("SELECT minute FROM flow_minutes ORDER BY minute")]
    assert minutes == [NOON.replace(second=0), NOON.replace(second=0) + timedelta(minutes=5)]


async def test_the_minutes_of_more_than_a_day_ago_are_removed(db: Pool) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    await flow.add(db, {Flow(now - timedelta(hours=age), "in", "orders", "accepted"): 1 for age in (1, 24, 26)})
    await flow.remove_old(db)
    assert await db.fetchval("SELECT count(*) FROM flow_minutes") == 2


async def test_the_upkeep_of_a_process_fills_it(bench: Bench) -> None:
    """Its consumers measure what waits, also while their worker is paused: nothing of it was read."""
    await bench.publish([make_event(f"key-{n}") for n in range(5)])
    async with bench.consumer() as consumer:
        consumer.paused = True
        upkeep = make_upkeep(bench.pool, bench.bus, [consumer])
        duties = {duty.name: duty for duty in upkeep.duties}
        for name in ("measures-redis", "flow"):
            duties[name].start()

        async def told() -> bool:
            duties["flow"].wake()
            return bool(await bench.pool.fetchval("SELECT count(*) FROM lag_minutes"))

        await until(told)
        for name in ("measures-redis", "flow"):
            duties[name].stop()
            await duties[name].stopped()
    row = await bench.pool.fetchrow("SELECT worker, unread, pending, oldest_s FROM lag_minutes")
    assert row is not None
    assert tuple(row)[:3] == (TOY, 5, 0)
    assert row["oldest_s"] > 0, "unread work of a paused worker has an age"


async def test_it_says_what_needs_a_person(bench: Bench) -> None:
    assert (await read_overview(bench.pool))["needs"] == []
    await bench.publish([make_event(f"key-{n}") for n in range(3)])
    async with bench.running(bench.worker(failing(Refused("no")))):
        await until(lambda: bench.is_ended(3))
    await pauses.pause(bench.pool, "cgb", "ann", "late")
    report = Report(host="h", workers=(TOY,), providers={"cgb": ProviderReport(state="refused", error="http-401")})
    await members.tell(bench.pool, "a", orjson.dumps(report.document()).decode())
    told = await read_overview(bench.pool)
    needs: dict[str, Any] = {need["kind"]: need for need in told["needs"]}
    assert needs["dead letters"]["count"] == 3
    assert needs["dead letters"]["link"].startswith("/letters?fingerprint=")
    assert needs["dead letters"]["text"] == "dead letters of toy (Refused: no), of 3 persons"
    assert needs["dead letters"]["since"] is not None
    assert needs["paused"]["text"].startswith("cgb is paused by ann since ")
    assert needs["provider"]["text"].startswith("cgb refuses our account or key (http-401)")
    assert told["workers"][TOY]["dead"] == 3
    assert orjson.dumps(told)


async def test_a_worker_shows_what_waits_now_and_how_that_changes(bench: Bench) -> None:
    await bench.pool.execute(
        "INSERT INTO lag_minutes (minute, worker, at, unread, pending, oldest_s)"
        " SELECT date_trunc('minute', now()) - make_interval(mins => n), $1, now() - make_interval(mins => n),"
        " 500 - n * 10, 2, 100 FROM generate_series(1, 20) n",
        TOY,
    )
    told = (await read_overview(bench.pool))["workers"][TOY]
    assert (told["unread"], told["open_trend"]) == (None, None), "a measure of a minute ago says nothing of now"
    await flow.put(bench.pool, [Lag(TOY, 700, 1, 100.0)])
    told = (await read_overview(bench.pool))["workers"][TOY]
    assert (told["unread"], told["pending"], told["open"], told["oldest_seconds"]) == (700, 1, 701, 100.0)
    assert (told["open_trend"], told["oldest_trend"]) == ("growing", "steady")
    assert len(told["open_minutes"]) == 21


async def test_it_reads_the_last_hour_alone(db: Pool) -> None:
    fill = (
        "INSERT INTO flow_minutes SELECT date_trunc('minute', now()) - make_interval(mins => n), 'in', 'orders',"
        " 'accepted', 1 FROM generate_series($1::int, $2::int) n"
    )
    await assert_reads_few(db, ["flow_minutes"], [fill], 5_000, queries._FLOW.replace("$1", "60"), "", "", 200)
