"""What has happened to an event, in the order of time, from one function."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from adapters.postgres.bus import journal
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.operator.dead_letters import LetterFilter
from adapters.postgres.pool import Pool
from daemon.bus.outcome import Outcome, Turn
from daemon.operator import dead_letters
from daemon.operator.event_timeline import Step, document, steps_of
from daemon.operator.naming import find
from daemon.operator.trail import EventTrail, trail_of
from schemas.envelope import Event
from schemas.errors import Refused, Transient
from tests.support.bus import Bench, open_bench
from tests.support.toy import TOY, Handle, emit_one, failing, make_event
from tests.support.until import until

ONE = make_event("+972505550001")


@pytest.fixture
async def bench(redis: Redis, redis_url: str, db: Pool) -> AsyncIterator[Bench]:
    async with open_bench(redis_url, db) as made:
        await made.publish([ONE])
        async with db.acquire() as conn, conn.transaction():
            await journal.append(conn, [Journaled(ONE, "1795894974597-0")])
        yield made


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.bus.settle.backoff", lambda failures, rng, **caps: 0.01)


async def told(bench: Bench, handle: Handle, ends: int = 1) -> tuple[EventTrail, list[Step]]:
    async with bench.running(bench.worker(handle, attempts=3)):
        await until(lambda: bench.is_ended(ends))
    (found,) = await find(bench.pool, ONE.id)
    trail = await trail_of(bench.pool, [bench.worker()], found)
    assert trail is not None
    return trail, await steps_of(bench.pool, trail)


async def test_it_goes_from_the_arrival_over_each_attempt_to_the_end_and_what_it_emitted(bench: Bench) -> None:
    calls = []

    async def fails_once(event: Event, deps: object, turn: Turn) -> Outcome:
        calls.append(turn.attempt)
        if len(calls) == 1:
            raise Transient("no answer from +972505550001", retry_after_s=0.01)
        return await emit_one(event, deps, turn)

    async with bench.pool.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(ONE.emit("contact.synced", 0, {}, time=datetime.now(UTC)), "")])
    trail, steps = await told(bench, fails_once)
    assert steps[0].what == "accepted"
    by_kind = {step.what: step for step in steps}
    assert by_kind.keys() == {"accepted", "appended", "journaled", "attempt", "outcome", "emitted"}
    failed, end = by_kind["attempt"], by_kind["outcome"]
    assert (failed.worker, failed.host, failed.error_class) == (TOY, socket.gethostname(), "Transient")
    assert failed.counted
    assert failed.took_s is not None
    assert failed.delay_s is not None
    assert failed.delay_s >= 0.01
    assert "972505550001" not in failed.text, "what an error quotes is redacted"
    assert (end.outcome, end.host) == ("done", socket.gethostname())
    assert steps.index(failed) < steps.index(end)
    assert [step.at for step in steps[1:]] == sorted(step.at for step in steps[1:])
    whole = document(trail, steps, {})
    assert [step["what"] for step in whole["steps"]] == [step.what for step in steps]
    assert whole["id"] == ONE.id


async def test_a_dead_letter_and_what_became_of_it_are_steps(bench: Bench) -> None:
    await told(bench, failing(Refused("no")))
    ids = [letter.id for letter in await dead_letters.choose(bench.pool, LetterFilter())]
    await dead_letters.discard(bench.pool, ids, "ann")
    (found,) = await find(bench.pool, ONE.id)
    trail = await trail_of(bench.pool, [bench.worker()], found)
    assert trail is not None
    steps = await steps_of(bench.pool, trail)
    assert {"attempt", "outcome", "buried", "settled"} <= {step.what for step in steps}
    assert steps[-1].text == f"{TOY}: dead letter {ids[0]} discarded by ann"


async def test_the_attempts_of_an_older_version_show_their_last_error(bench: Bench) -> None:
    await bench.pool.execute(
        "INSERT INTO attempts (worker, event_id, attempts, error_class, error_text, next_at, failures)"
        " VALUES ($1, $2, 2, 'Transient', 'no', now(), 3)",
        TOY,
        ONE.id,
    )
    (found,) = await find(bench.pool, ONE.id)
    trail = await trail_of(bench.pool, [bench.worker()], found)
    assert trail is not None
    (failed,) = [step for step in await steps_of(bench.pool, trail) if step.what == "attempt"]
    assert failed.text.startswith(f"{TOY}: attempt 3 failed (Transient: no), again at ")
    assert failed.text.endswith("; 2 of them count")
