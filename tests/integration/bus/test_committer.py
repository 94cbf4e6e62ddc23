"""What the committer does when Postgres refuses what it writes: whose fault is it, and who has to wait."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from structlog.testing import capture_logs

from daemon.bus import committer
from daemon.bus.outcome import Outcome, Turn
from schemas.envelope import Event
from schemas.errors import Refused, Transient
from tests.support.bus import Bench
from tests.support.toy import Broken, Spy, make_event, make_events, succeed
from tests.support.until import until


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "STORE_RETRY_S", 0.05)
    monkeypatch.setattr(committer, "PUT_OFF_S", 0.05)
    monkeypatch.setattr("daemon.bus.settle.STORE_AWAY_S", 0.05)


@pytest.mark.parametrize(
    ("breaks", "mends"),
    [
        ("ALTER TABLE effects RENAME TO gone", "ALTER TABLE gone RENAME TO effects"),
        ("ALTER TABLE effects RENAME note TO gone", "ALTER TABLE effects RENAME gone TO note"),
        ("ALTER TABLE inbox RENAME TO gone", "ALTER TABLE gone RENAME TO inbox"),
    ],
)
async def test_a_table_that_is_wrong_for_a_while_makes_no_dead_letter(bench: Bench, breaks: str, mends: str) -> None:
    """Promise: the schema's fault is an outage of the worker, which waits and loses nothing."""
    events = make_events(keys=10, each=3)

    async def read() -> bool:
        return (await bench.open_entries())[1] == len(events)

    async with bench.running():
        await bench.publish([make_event("warm")])
        await until(bench.settled)
        await bench.pool.execute(breaks)
        await bench.publish(events)
        await until(read)
        await asyncio.sleep(0.3)  # several tries; there is no sign of them to wait for
        await bench.pool.execute(mends)
        await until(bench.settled)
    assert set((await bench.outcomes()).values()) == {"done"}
    assert await bench.count("effects") == 31
    assert await bench.count("dead_letters") == 0
    assert await bench.attempts() == {}


@pytest.mark.parametrize(
    "error", [asyncpg.InsufficientPrivilegeError(), asyncpg.UndefinedFunctionError(), asyncpg.InvalidSchemaNameError()]
)
async def test_a_lost_right_or_schema_is_waited_out_by_handlers_and_results(
    bench: Bench, error: asyncpg.PostgresError
) -> None:
    lost, calls = True, 0

    async def looks_up(event: Event, deps: object, turn: Turn) -> Outcome:
        nonlocal calls
        calls += 1
        if lost:
            raise error
        return await succeed(event, deps, turn)

    broken = Broken(error)
    async with bench.running(bench.worker(looks_up, record=broken, attempts=1)):
        await bench.publish(make_events(keys=3, each=1))
        await until(lambda: calls > 6)
        lost = False
        await until(lambda: broken.calls > 3)
        broken.error = None
        await until(bench.settled)
    assert set((await bench.outcomes()).values()) == {"done"}


@pytest.mark.parametrize(
    ("breaks", "mends"),
    [
        ("ALTER TABLE dead_letters RENAME TO gone", "ALTER TABLE gone RENAME TO dead_letters"),
        (
            "ALTER TABLE dead_letters ADD CONSTRAINT no CHECK (false) NOT VALID",
            "ALTER TABLE dead_letters DROP CONSTRAINT no",
        ),
    ],
)
async def test_a_dead_letter_that_cannot_be_written_stops_nobody_and_is_told_once(
    bench: Bench, breaks: str, mends: str
) -> None:
    """Promise: its key waits, longer each time; the other events pass, and the letter is written in the end."""

    async def refuse_some(event: Event, deps: object, turn: Turn) -> Outcome:
        if event.subject == "key-bad" and event.json()["n"] == 0:
            raise Refused("no")
        return await succeed(event, deps, turn)

    handler = Spy(refuse_some)
    bad = [make_event("key-bad", n) for n in range(2)]
    await bench.pool.execute(breaks)
    with capture_logs() as lines:
        async with bench.running(bench.worker(handler)) as consumer:
            await bench.publish([*bad, *make_events(keys=20, each=3)])
            await until(lambda: bench.is_ended(60))
            await until(lambda: consumer.committer._waiting[next(iter(consumer.committer._waiting))][1] >= 3)
            await bench.publish(make_events(keys=20, each=4)[60:])
            await until(lambda: bench.is_ended(80))
            assert bad[0].id not in await bench.outcomes()
            await bench.pool.execute(mends)
            await until(bench.settled)
    outcomes = await bench.outcomes()
    assert outcomes[bad[0].id] == "dead"
    assert outcomes[bad[1].id] == "done"
    assert handler.calls.count(("key-bad", 0)) == 1
    told = [line for line in lines if line["log_level"] in ("error", "warning")]
    assert [line["event"] for line in told] == ["event.put_off"]


async def test_a_failed_attempt_that_cannot_be_counted_stops_nobody(bench: Bench) -> None:
    calls = 0

    async def fail_once(event: Event, deps: object, turn: Turn) -> Outcome:
        nonlocal calls
        if event.subject == "key-bad":
            calls += 1
            if calls == 1:
                raise Transient("no", retry_after_s=0.01)
        return await succeed(event, deps, turn)

    await bench.pool.execute("ALTER TABLE attempts RENAME TO gone")
    async with bench.running(bench.worker(fail_once)):
        await bench.publish([make_event("key-bad"), *make_events(keys=20, each=3)])
        await until(lambda: bench.is_ended(60))
        await bench.pool.execute("ALTER TABLE gone RENAME TO attempts")
        await until(bench.settled)
    assert set((await bench.outcomes()).values()) == {"done"}
    assert await bench.count("attempts") == 0


async def test_a_full_disk_met_while_reading_what_was_begun_before_is_an_outage_of_postgres(bench: Bench) -> None:
    """Promise: a process that can write nothing about what it takes over says that the store is away, and goes on by
    itself when it is back."""
    await bench.publish(make_events(keys=3, each=2))
    assert len(await bench.read_without_ack()) == 6
    await bench.pool.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$;"
        " CREATE TRIGGER full_disk BEFORE INSERT ON attempts EXECUTE FUNCTION full_disk()"
    )
    async with bench.running():
        await until(lambda: not bench.stores.postgres.up)
        await bench.pool.execute("DROP FUNCTION full_disk CASCADE")
        await until(bench.settled)
        await until(lambda: bench.stores.postgres.up)
    assert len(await bench.effects()) == 6
