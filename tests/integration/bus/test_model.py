"""The bus against a small model: whatever is appended, killed, taken over, trimmed and replayed, in whatever order.

The processes stand still between two steps, so that the steps of an example are always the same. What is checked does
not depend on how far a step has come: it is looked at when nothing is left to do.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Final, TypeVar, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from adapters.postgres import pool as pools
from adapters.postgres.operator.replay import ReplayFilter
from daemon.bus.trim import trim
from daemon.bus.worker import utc_now
from daemon.operator import replay
from tests.support.bus import Bench, open_bench
from tests.support.bus_model import Model
from tests.support.bus_processes import PLANS, POINTS, Bus, Life, MortalStreams, Process
from tests.support.toy import TOPIC, TOY, make_event
from tests.support.until import until

KEYS: Final = ("key-0", "key-1", "key-2")
TABLES: Final = (
    "effects",
    "inbox",
    "outbox",
    "dead_letters",
    "attempts",
    "event_conflicts",
    "event_journal",
    "replays",
    "leases",
)

T = TypeVar("T")


class BusAgainstModel(RuleBasedStateMachine):
    """Processes A and B, of which one at a time owns all partitions, and what comes in meanwhile."""

    def __init__(self, redis_url: str, database_url: str) -> None:
        super().__init__()
        self.model = Model(KEYS)
        self.alive: dict[str, Process] = {}
        self.dead: list[Process] = []
        self.owner = ""
        self.loop = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.stack = AsyncExitStack()
        self.run(self._open(redis_url, database_url))

    def run(self, doing: Coroutine[Any, Any, T]) -> T:
        """Let everything go on until *doing* is done."""
        return self.loop.run(doing)

    async def _open(self, redis_url: str, database_url: str) -> None:
        self.pool = await self.stack.enter_async_context(pools.connect(database_url, size=10))
        self.bench: Bench = await self.stack.enter_async_context(open_bench(redis_url, self.pool, partitions=2))
        await self.pool.execute("".join(f"DELETE FROM {table};" for table in TABLES))
        await self.bench.redis.flushdb()
        self.bus = Bus(self.bench)
        await self.bus.ensure_groups()

    def teardown(self) -> None:
        try:
            if sys.exc_info()[1] is None:
                self.everything_comes_to_rest()
        finally:
            self.run(self._close())
            self.loop.close()

    async def _close(self) -> None:
        for process in self.alive.values():
            await process.kill()
        await self.stack.aclose()

    # --- what comes in

    @rule(key=st.sampled_from(KEYS), plan=st.sampled_from(PLANS))
    def append(self, key: str, plan: str) -> None:
        event = make_event(key, len(self.model.accepted[key]), plan=plan)
        self.model.accept(event)
        self.run(self.bench.publish([event]))

    @precondition(lambda self: self.model.events)
    @rule(which=st.integers(0, 30))
    def append_again(self, which: int) -> None:
        self.run(self.bench.publish([self.model.events[-1 - which % len(self.model.events)]]))

    @precondition(lambda self: self.model.events)
    @rule(which=st.integers(0, 30))
    def append_another_body_under_the_same_id(self, which: int) -> None:
        first = self.model.events[-1 - which % len(self.model.events)]
        self.model.other_bodies.add(first.id)
        self.run(self.bench.publish([make_event(first.subject, 1000, id=first.id, plan="emit")]))

    # --- processes

    @rule(name=st.sampled_from("AB"))
    def take_over(self, name: str) -> None:
        for process in self.alive.values():
            process.leases_run_out()
        if name not in self.alive:
            self.alive[name] = Process(self.bench, name, self.model.ended)
        self.owner = name
        last_of = self.model.last_of
        last_of[len(last_of)] = self.run(self.alive[name].take(len(last_of) + 1))

    @rule(more=st.integers(1, 4))
    def work(self, more: int) -> None:
        if (process := self.alive.get(self.owner)) is not None:
            wanted = process.calls + more
            self._until_nothing_moves(lambda: process.calls >= wanted)

    @rule(name=st.sampled_from("AB"))
    def fall_asleep_over_what_is_in_hand(self, name: str) -> None:
        if (process := self.alive.get(name)) is not None:
            process.gate.clear()
            self._until_nothing_moves(lambda: False)

    @rule(name=st.sampled_from("AB"))
    def wake_up(self, name: str) -> None:
        if (process := self.alive.get(name)) is not None:
            process.gate.set()
            self._until(lambda: process.active == 0)

    @rule(name=st.sampled_from("AB"), by=st.sampled_from("AB"), key=st.sampled_from(KEYS), works=st.booleans())
    def sleep_past_the_lease(self, name: str, by: str, key: str, works: bool) -> None:
        """When it wakes up with its results, another process holds the partitions, or it holds them again."""
        if self.owner != name or name not in self.alive:
            self.take_over(name)
        self.append(key, "emit")
        self.fall_asleep_over_what_is_in_hand(name)
        self.take_over(by)
        if works:
            self.work(1)
        self.wake_up(name)

    @rule(name=st.sampled_from("AB"), point=st.sampled_from(POINTS), nth=st.integers(1, 3))
    def die(self, name: str, point: str, nth: int) -> None:
        """At the n-th passing of the point, or, where it does not come there, with nothing left to do."""
        if (process := self.alive.get(name)) is None:
            return
        if name == self.owner:
            process.life.end_at(point, nth)
            self._until_nothing_moves(process.life.reached.is_set)
        del self.alive[name]
        self.dead.append(process)
        self.run(process.kill())

    @rule()
    def trim_all_that_is_done(self) -> None:
        self.run(trim(self.bench.bus, {TOPIC: (TOY,)}, utc_now() + timedelta(minutes=1), 0))

    # --- replay

    @precondition(lambda self: self.model.events)
    @rule(broken_off=st.booleans())
    def replay_everything(self, broken_off: bool) -> None:
        self.everything_comes_to_rest()
        process = self.alive[self.owner]
        plan = self.run(replay.make_plan(self.pool, process.worker, ReplayFilter()))
        assert (plan.total, plan.goes_on) == (len(self.model.events), None)
        if broken_off:
            self.run(self._perform_and_die(process, plan))
            plan = self.run(replay.make_plan(self.pool, process.worker, ReplayFilter()))
            assert plan.goes_on is not None
        self.run(replay.perform(self.pool, self.bench.bus, process.worker, plan, lambda published, total: None))
        run_id = self.run(self.pool.fetchval("SELECT id FROM replays ORDER BY started_at DESC LIMIT 1"))
        self.model.replay(run_id)

    async def _perform_and_die(self, process: Process, plan: replay.Plan) -> None:
        life = Life()
        life.end_at("after the publish", 1)
        bus = MortalStreams(self.bench.bus, life)
        performing = asyncio.create_task(replay.perform(self.pool, bus, process.worker, plan, lambda _, __: None))
        await life.reached.wait()
        life.end()
        await asyncio.gather(performing, return_exceptions=True)

    # --- what must be so

    @rule()
    def everything_comes_to_rest(self) -> None:
        """Every sleeper wakes up and ends, the owner works until nothing is left to do, and the model is checked."""
        if self.owner not in self.alive:
            self.take_over("A")
        for name, process in list(self.alive.items()):
            process.gate.set()
            if name != self.owner:
                del self.alive[name]
                self.dead.append(process)
                self.run(process.stop())
        while not self.run(self.bus.settled()):
            if not self.alive[self.owner].holds_all:  # fenced over what it held before
                self.take_over(self.owner)
            self._until_nothing_moves(lambda: False)
        again = [event for process in (*self.alive.values(), *self.dead) for event in process.again]
        self.run(self.model.check(self.bench, self.bus, again=again))

    # --- the passing of time

    def _until_nothing_moves(self, enough: Callable[[], bool]) -> None:
        """Go on until *enough*, or all is done, or the rest is with a process that sleeps or has lost its leases."""

        async def still() -> bool:
            if enough() or await self.bus.settled():
                return True
            process = self.alive.get(self.owner)
            if process is None or not process.holds_all:
                return True
            return not process.gate.is_set() and await self.bus.all_read()

        self._until(still)

    def _until(self, condition: Callable[[], bool | Awaitable[bool]]) -> None:
        self.run(until(condition, within_s=60, every_s=0.003))
        for process in self.alive.values():
            process.look()


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that are long for a test are short, and shares that are large for it are small."""
    for name, value in {
        "consumer.SHARE": 2,  # so that some is left on the stream
        "settle.BACKOFF_CAP_S": 0.01,
        "consumer.LEASE_LOOK_S": 0.05,
        "reader.PAUSE_S": 0.02,
        "admission.PAUSE_S": 0.02,
        "reader.COUNT_EVERY_S": 0.1,
        "reader.BLOCK_MS": 20,
        "committer.STORE_RETRY_S": 0.02,
    }.items():
        monkeypatch.setattr(f"daemon.bus.{name}", value)


def play(redis_url: str, database_url: str, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        cast("type[RuleBasedStateMachine]", lambda: BusAgainstModel(redis_url, database_url)),
        settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None, print_blob=True),
    )


@pytest.mark.timeout(600)  # a failing example is made smaller before it is shown
@pytest.mark.usefixtures("brisk")
def test_the_bus_does_what_the_model_says(redis_url: str, database_url: str) -> None:
    play(redis_url, database_url, 25, 20)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("brisk")
def test_the_bus_does_what_the_model_says_for_long(redis_url: str, database_url: str) -> None:
    play(redis_url, database_url, 500, 50)


@pytest.mark.usefixtures("brisk")
def test_results_of_a_lost_lease_that_come_together_with_those_of_the_next_one_count_once(
    redis_url: str, database_url: str
) -> None:
    """Found by the model: the same process had its lease again, and both results were in one batch."""
    played = BusAgainstModel(redis_url, database_url)
    try:
        for _ in range(10):
            for key in KEYS:
                played.append(key, "emit")
            played.sleep_past_the_lease("B", by="B", key="key-0", works=True)
    finally:
        played.teardown()
