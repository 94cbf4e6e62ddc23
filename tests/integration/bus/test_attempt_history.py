"""Every attempt that fails is kept, with its error, its host and its times, in the transaction that counts it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from adapters.postgres.bus import retention
from adapters.postgres.pool import Pool
from daemon.bus.outcome import Outcome, Turn
from schemas.envelope import Event
from schemas.errors import Refused, Transient, Uncertain
from tests.support.bus import Bench, open_bench
from tests.support.toy import TOY, failing, make_event, succeed
from tests.support.until import until


@pytest.fixture
async def bench(redis: Redis, redis_url: str, db: Pool) -> AsyncIterator[Bench]:
    async with open_bench(redis_url, db) as made:
        yield made


async def history(bench: Bench) -> list[dict[str, Any]]:
    return [dict(row) for row in await bench.pool.fetch("SELECT * FROM attempt_history ORDER BY id")]


class Fails:
    """Fails so many times, then succeeds."""

    def __init__(self, times: int) -> None:
        self.left = times

    async def __call__(self, event: Event, deps: object, turn: Turn) -> Outcome:
        if self.left:
            self.left -= 1
            raise Transient(f"no answer {self.left}", retry_after_s=0.01)
        return await succeed(event, deps, turn)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.bus.settle.backoff", lambda failures, rng, **caps: 0.01)


async def test_each_failed_attempt_is_a_row_and_the_success_is_none(bench: Bench) -> None:
    one = make_event("key-1")
    await bench.publish([one])
    async with bench.running(bench.worker(Fails(3))):
        await until(lambda: bench.is_ended(1))
    rows = await history(bench)
    assert [row["error_text"] for row in rows] == ["no answer 2", "no answer 1", "no answer 0"]
    for row in rows:
        assert (row["worker"], row["event_id"], row["replay_id"]) == (TOY, one.id, "")
        assert (row["host"], row["error_class"], row["counted"]) == (socket.gethostname(), "Transient", True)
        assert row["began_at"] <= row["ended_at"] < row["next_at"]
    assert await bench.pool.fetchval("SELECT host FROM inbox") == socket.gethostname()
    assert await bench.attempts() == {}, "what is open is counted elsewhere, and forgotten at the end"


async def test_the_last_attempt_of_a_dead_letter_has_no_next_one(bench: Bench) -> None:
    await bench.publish([make_event("key-1")])
    async with bench.running(bench.worker(failing(Transient("no", retry_after_s=0.01)), attempts=3)):
        await until(lambda: bench.is_ended(1))
    rows = await history(bench)
    assert [row["next_at"] is None for row in rows] == [False, False, True]
    assert await bench.count("dead_letters") == 1


@pytest.mark.parametrize("error", [Refused("no"), Uncertain("perhaps")])
async def test_an_end_by_an_error_is_an_attempt_too(bench: Bench, error: Exception) -> None:
    await bench.publish([make_event("key-1")])
    async with bench.running(bench.worker(failing(error))):
        await until(lambda: bench.is_ended(1))
    (row,) = await history(bench)
    assert (row["error_class"], row["error_code"]) == (type(error).__name__, error.code)  # type: ignore[attr-defined]


async def test_a_wait_for_a_rate_limit_is_no_attempt(bench: Bench) -> None:
    handler = Fails(0)

    async def limited_once(event: Event, deps: object, turn: Turn) -> Outcome:
        if not handler.left:
            handler.left = -1
            raise Transient("too many", limited=True, retry_after_s=0.01)
        return await succeed(event, deps, turn)

    await bench.publish([make_event("key-1")])
    async with bench.running(bench.worker(limited_once)):
        await until(lambda: bench.is_ended(1))
    assert await history(bench) == []


async def test_what_fails_in_many_events_is_written_by_one_statement_a_batch(bench: Bench) -> None:
    await bench.publish([make_event(f"key-{n}") for n in range(40)])
    async with bench.running(bench.worker(failing(Refused("no")))):
        await until(lambda: bench.is_ended(40))
    rows = await history(bench)
    assert len({row["event_id"] for row in rows}) == len(rows) == 40


async def test_attempts_are_removed_with_the_days_of_the_inbox(bench: Bench) -> None:
    await bench.publish([make_event("key-1"), make_event("key-2")])
    async with bench.running(bench.worker(failing(Refused("no")))):
        await until(lambda: bench.is_ended(2))
    await bench.pool.execute(
        "UPDATE attempt_history SET ended_at = now() - interval '31 days' WHERE event_id = $1", make_event("key-1").id
    )
    assert await retention.remove(bench.pool, "attempt_history", 30) == 1
    assert [row["event_id"] for row in await history(bench)] == [make_event("key-2").id]


async def test_without_its_table_results_still_pass_and_failures_wait(bench: Bench) -> None:
    """As with the other tables of failures: a fault of the installation holds up what has failed, and nothing else."""
    await bench.pool.execute("ALTER TABLE attempt_history RENAME TO gone")

    async def one_refused(event: Event, deps: object, turn: Turn) -> Outcome:
        if event.subject == "key-0":
            raise Refused("no")
        return await succeed(event, deps, turn)

    await bench.publish([make_event(f"key-{n}") for n in range(10)])
    async with bench.running(bench.worker(one_refused)):
        await until(lambda: bench.is_ended(9))
        assert make_event("key-0").id not in await bench.outcomes()
        await bench.pool.execute("ALTER TABLE gone RENAME TO attempt_history")
        await until(lambda: bench.is_ended(10))
    assert len(await history(bench)) == 1
