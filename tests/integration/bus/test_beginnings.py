"""Where a worker begins that the installation has not had before, and what is kept for workers that no process runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from adapters.postgres.bus import days, journal, payloads, workers
from adapters.postgres.bus.journal import Journaled
from daemon.bus.losses import Losses
from daemon.bus.trim import keep_from, trim
from daemon.bus.unattended import ATTENDED_S, unattended
from daemon.operator.audit import audit_workers
from schemas.envelope import Event
from tests.support.bus import Bench
from tests.support.toy import TOPIC, TOY, TYPE, Spy, make_event, make_events
from tests.support.until import until

NOW = datetime(2031, 5, 4, tzinfo=UTC)
LATER = workers.Registered(name="later", topics=(TOPIC,), types=(TYPE,), begins="now", began_at=NOW)


async def keep(bench: Bench, events: list[Event], *, days_ago: int = 0) -> None:
    """Put *events* into the journal as of that day."""
    async with bench.pool.acquire() as conn:
        if days_ago:
            day = datetime.now(UTC).date() - timedelta(days=days_ago)
            for table in ("inbox", "event_journal"):
                await conn.execute(
                    f"CREATE TABLE IF NOT EXISTS {table}_p{day:%Y%m%d} PARTITION OF {table}"
                    f" FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
                )
        await journal.append(conn, [Journaled(event, "") for event in events])
        await conn.execute(
            "UPDATE event_journal SET recorded_at = now() - make_interval(days => $1) WHERE id = ANY($2::text[])",
            days_ago,
            [event.id for event in events],
        )


async def end(bench: Bench, events: list[Event], worker: str = TOY) -> None:
    await bench.pool.executemany(
        "INSERT INTO inbox (worker, event_id, outcome, data_hash) VALUES ($1, $2, 'done', '')",
        [(worker, event.id) for event in events],
    )


async def test_a_worker_that_begins_now_lets_pass_what_was_accepted_before_and_takes_a_replay_of_it(
    bench: Bench,
) -> None:
    older, newer = (make_event(key)._replace(time=NOW + timedelta(hours=h)) for key, h in (("a", -1), ("b", 1)))
    replayed = make_event("c")._replace(time=NOW - timedelta(hours=1), replayid=f"{TOY}:run")
    handler = Spy()
    await bench.publish([older, newer, replayed])
    async with bench.running(bench.worker(handler), since=NOW):
        await until(bench.settled)
    assert sorted(handler.calls) == [("b", 0), ("c", 0)]


async def test_a_worker_that_begins_now_is_not_owed_what_was_accepted_before(bench: Bench) -> None:
    events = [make_event("a", n)._replace(time=NOW + timedelta(hours=n - 1)) for n in range(3)]
    await keep(bench, events)
    await end(bench, events)
    await workers.register(bench.pool, [LATER], [])
    await bench.pool.execute("UPDATE workers SET began_at = $1 WHERE name = 'later'", NOW)
    async with bench.pool.acquire() as conn:
        missing = await Losses(bench.pool, bench.bus, 30).missing(conn)
    assert [event.json()["n"] for event in missing] == [1, 2]
    sums = (await audit_workers(bench.pool)).workers["later"]
    assert (sums.accepted, sums.open) == (2, 2)


async def test_the_beginning_of_a_worker_stands_however_often_it_starts(bench: Bench) -> None:
    await workers.register(bench.pool, [LATER], ["later"])
    (first,) = [worker for worker in await workers.listed(bench.pool) if worker.name == "later"]
    await workers.register(bench.pool, [replace(LATER, types=("order.received", "contact.synced"))], ["later"])
    (again,) = [worker for worker in await workers.listed(bench.pool) if worker.name == "later"]
    assert (again.began_at, again.first_run_at) == (first.began_at, first.first_run_at)
    assert again.types == ["order.received", "contact.synced"]


@pytest.mark.parametrize("groups", [{"journal"}, {TOY}, set()])
def test_nothing_is_trimmed_while_a_worker_of_the_installation_has_no_group(groups: set[str]) -> None:
    read = [(name, "9-0", None) for name in groups]
    assert keep_from(read, {"journal", TOY}, NOW, 1) is None


async def test_a_stream_keeps_what_a_worker_without_a_process_has_not_read(bench: Bench) -> None:
    await bench.publish(make_events(keys=3, each=1))
    for key in bench.keys:
        await bench.redis.xgroup_create(key, "journal", id="$")
    readers = {TOPIC: ("journal", TOY)}
    assert await trim(bench.bus, readers, datetime.now(UTC) + timedelta(days=9), 1) == 0
    handler = Spy()
    async with bench.running(bench.worker(handler)):
        await until(bench.settled)
    assert len(handler.calls) == 3
    assert await trim(bench.bus, readers, datetime.now(UTC) + timedelta(days=9), 1) > 0


async def test_a_day_and_its_payloads_are_kept_for_a_worker_that_no_process_runs(bench: Bench) -> None:
    old = make_events(keys=2, each=1)
    large = old[0]._replace(data=b'{"n": 0, "x": "' + b"x" * payloads.LARGE_BYTES + b'"}')
    await keep(bench, [large, old[1]], days_ago=40)
    await payloads.store(bench.pool, [large])
    await bench.pool.execute("UPDATE payloads SET created_at = now() - interval '40 days'")
    await end(bench, old, worker="another")
    every = [worker for worker in await workers.listed(bench.pool) if worker.name != workers.JOURNAL]
    dropped, kept = await days.drop_old_days(bench.pool, 30, every)
    assert (dropped, len(kept)) == ([], 1)
    assert await bench.count("payloads") == 1
    await end(bench, old)
    dropped, kept = await days.drop_old_days(bench.pool, 30, every)
    assert (len(dropped), kept) == (1, [])
    assert await bench.count("payloads") == 0


async def test_the_payload_of_an_event_that_is_not_in_the_journal_outlives_every_day(bench: Bench) -> None:
    old, waits = make_events(keys=2, each=1)
    waits = waits._replace(data=b'{"n": 0, "x": "' + b"x" * payloads.LARGE_BYTES + b'"}')
    await keep(bench, [old], days_ago=40)
    await end(bench, [old])
    await payloads.store(bench.pool, [waits])
    await bench.pool.execute("UPDATE payloads SET created_at = now() - interval '41 days'")
    dropped, _ = await days.drop_old_days(bench.pool, 30, [bench.worker().entry])
    assert len(dropped) == 1
    assert await bench.count("payloads") == 1


async def test_an_event_whose_payload_is_absent_stays_open_and_is_handled_when_it_is_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.bus.settle.PAYLOAD_LOOK_S", 0.05)
    event = make_event("a", x="x" * payloads.LARGE_BYTES)
    handler = Spy()
    await bench.publish(await payloads.set_aside(bench.pool, [event]))
    await bench.pool.execute("CREATE TABLE aside AS SELECT * FROM payloads")
    await bench.pool.execute("DELETE FROM payloads")
    await bench.publish([make_event("b")])
    async with bench.running(bench.worker(handler)):
        await until(lambda: handler.calls == [("b", 0)])
        await until(lambda: bench.is_ended(1))
        assert await bench.outcomes() == {make_event("b").id: "done"}
        await bench.pool.execute("INSERT INTO payloads SELECT * FROM aside")
        await until(bench.settled)
    assert handler.calls == [("b", 0), ("a", 0)]
    assert await bench.count("dead_letters") == 0


async def test_work_without_a_process_is_measured_from_when_one_was_last_seen(bench: Bench) -> None:
    assert await unattended(bench.pool, bench.bus) == {"journal": 0.0, TOY: 0.0}
    await bench.pool.execute("UPDATE workers SET last_seen_at = now() - interval '2 hours'")
    assert (await unattended(bench.pool, bench.bus))[TOY] == 0.0, "nothing waits"
    await bench.publish([make_event("a")])
    assert (await unattended(bench.pool, bench.bus))[TOY] == pytest.approx(7200, abs=60)
    await workers.seen(bench.pool, [TOY])
    assert (await unattended(bench.pool, bench.bus))[TOY] == 0.0
    assert ATTENDED_S < 7200


async def test_the_audit_names_a_worker_whose_work_waits_for_an_hour_without_a_process(bench: Bench) -> None:
    await keep(bench, [make_event("a")])
    assert (await audit_workers(bench.pool)).unattended == {}
    await bench.pool.execute("UPDATE workers SET last_seen_at = now() - interval '2 hours'")
    found = await audit_workers(bench.pool)
    assert found.unattended[TOY] == pytest.approx(7200, abs=60)
    assert found.balanced
