"""Start together, stop together: what the contract of services, the periodic helper and `serve` promise."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from daemon.lifecycle import Background, Periodic, Service, Step, any_set, serve

LONG = 30.0
"""Seconds that no test here waits out: the outer deadline of what must happen at once."""


class Broken(Exception):
    """Raised by a part."""


class Parts:
    """Services of a process that note what happens to them."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.all_started = asyncio.Event()
        self.draining = asyncio.Event()

    async def started(self) -> None:
        self.all_started.set()

    async def begin_stop(self) -> None:
        self.notes.append("begin_stop")
        self.draining.set()

    def part(self, name: str, until: asyncio.Event | None = None) -> Background:
        """A service that ends when it is asked to; when *until* is given, at that event only."""

        async def run(stop: asyncio.Event) -> None:
            try:
                await (until or stop).wait()
                self.notes.append(f"{name} finished")
            except asyncio.CancelledError:
                self.notes.append(f"{name} cut")
                raise

        return Background(name, run)

    def begun(self, part: Background) -> bool:
        """Whether *part* was started, and has not ended."""
        return part.name in {task.get_name() for task in asyncio.all_tasks()}

    def worker(self) -> Background:
        return self.part("worker")

    def stubborn(self) -> Background:
        return self.part("stubborn", asyncio.Event())

    def side(self) -> Background:
        return self.part("side")

    async def serve(
        self,
        work: list[Service],
        side: list[Service],
        stop: asyncio.Event,
        *,
        drain_s: float = LONG * 2,
        started: Callable[[], Awaitable[None]] | None = None,
        begin_stop: Callable[[], Awaitable[None]] | None = None,
        steps: list[Step] | None = None,
    ) -> None:
        async with asyncio.timeout(LONG):
            await serve(
                work,
                side,
                stop,
                started=started or self.started,
                begin_stop=begin_stop or self.begin_stop,
                drain_s=drain_s,
                steps=steps or [],
            )


async def fail(_: asyncio.Event) -> None:
    raise Broken("the part broke")


async def end(_: asyncio.Event) -> None:
    return None


def asked() -> asyncio.Event:
    stop = asyncio.Event()
    stop.set()
    return stop


# the contract


async def test_a_service_works_from_its_start_until_it_is_stopped() -> None:
    parts = Parts()
    part = parts.part("part")
    part.start()
    waiting = asyncio.create_task(part.stopped())
    await asyncio.sleep(0)
    assert parts.notes == []
    part.stop()
    part.stop()
    async with asyncio.timeout(LONG):
        await waiting
        await part.stopped()
    assert parts.notes == ["part finished"]


async def test_the_error_of_a_service_reaches_all_that_wait_for_its_end() -> None:
    part = Background("part", fail)
    part.start()
    for _ in range(2):
        with pytest.raises(Broken):
            await part.stopped()


async def test_a_service_that_is_cut_ends_in_the_middle_and_that_is_no_error() -> None:
    parts = Parts()
    part = parts.stubborn()
    part.start()
    await asyncio.sleep(0)
    part.stop()
    await asyncio.sleep(0)
    assert parts.notes == []
    part.cut()
    part.cut()
    async with asyncio.timeout(LONG):
        await part.stopped()
    assert parts.notes == ["stubborn cut"]


async def test_a_service_goes_on_when_one_that_waits_for_its_end_is_cancelled() -> None:
    parts = Parts()
    part = parts.part("part")
    part.start()
    waiting = asyncio.create_task(part.stopped())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    part.stop()
    await part.stopped()
    assert parts.notes == ["part finished"]


async def test_a_service_that_is_never_started_leaves_no_warning_behind() -> None:
    parts = Parts()
    part = parts.part("part")
    part.stop()
    part.cut()
    await part.stopped()
    assert parts.notes == []


async def test_a_service_that_was_stopped_before_its_start_ends_at_once() -> None:
    parts = Parts()
    part = parts.part("part")
    part.stop()
    part.start()
    async with asyncio.timeout(LONG):
        await part.stopped()
    assert parts.notes == ["part finished"]


# rounds


class Rounds:
    """What a periodic service does: counts, and fails as told."""

    def __init__(self) -> None:
        self.count = 0
        self.errors: list[Exception] = []
        self.made = asyncio.Semaphore(0)

    async def __call__(self) -> None:
        self.count += 1
        self.made.release()
        if self.errors:
            raise self.errors.pop(0)

    async def more(self, count: int) -> None:
        async with asyncio.timeout(LONG):
            for _ in range(count):
                await self.made.acquire()


async def ended(service: Service) -> None:
    service.stop()
    async with asyncio.timeout(LONG):
        await service.stopped()


async def test_rounds_are_made_from_the_start_until_the_stop_and_the_stop_waits_for_no_period() -> None:
    rounds = Rounds()
    quick, slow = Periodic("quick", rounds, every_s=0.001), Periodic("slow", Rounds(), every_s=LONG * 10)
    quick.start()
    slow.start()
    await rounds.more(5)
    await ended(quick)
    await ended(slow)
    made = rounds.count
    await asyncio.sleep(0.02)
    assert rounds.count == made


@pytest.mark.parametrize("at_once", [True, False])
async def test_the_first_round_comes_at_once_or_after_a_period(at_once: bool) -> None:
    rounds = Rounds()
    service = Periodic("rounds", rounds, every_s=LONG * 10, at_once=at_once)
    service.start()
    await asyncio.sleep(0.02)
    assert rounds.count == at_once
    await ended(service)


async def test_a_round_is_brought_forward_once_and_knows_it() -> None:
    rounds, woken = Rounds(), list[bool]()

    async def act() -> None:
        woken.append(service.woken)
        await rounds()

    sign = asyncio.Event()
    service = Periodic("rounds", act, every_s=LONG * 10, wake=sign)
    service.start()
    await rounds.more(1)
    service.wake()
    await rounds.more(1)
    sign.set()
    await rounds.more(1)
    assert not sign.is_set()
    await asyncio.sleep(0.02)
    assert woken == [False, True, True]
    await ended(service)


async def test_a_wake_during_a_round_makes_another_round() -> None:
    rounds, gate = Rounds(), asyncio.Event()

    async def act() -> None:
        await rounds()
        await gate.wait()

    service = Periodic("rounds", act, every_s=LONG * 10)
    service.start()
    await rounds.more(1)
    service.wake()
    gate.set()
    await rounds.more(1)
    await ended(service)


async def test_the_period_may_change_from_round_to_round() -> None:
    rounds = Rounds()
    service = Periodic("rounds", rounds, every_s=lambda: 0.001 if rounds.count < 3 else LONG * 10)
    service.start()
    await rounds.more(3)
    await asyncio.sleep(0.02)
    assert rounds.count == 3
    await ended(service)


async def test_an_error_that_the_policy_skips_costs_one_round_and_is_noted_once() -> None:
    rounds = Rounds()
    rounds.errors = [OSError(), OSError(), OSError()]
    service = Periodic("rounds", rounds, every_s=0.001, skip=lambda exc: isinstance(exc, OSError))
    with capture_logs() as lines:
        service.start()
        await rounds.more(5)
        await ended(service)
    assert [(line["event"], line["service"], line["error_class"]) for line in lines] == [
        ("round.skipped", "rounds", "OSError")
    ]


async def test_an_error_that_the_policy_does_not_skip_ends_the_service() -> None:
    rounds = Rounds()
    rounds.errors = [Broken()]
    service = Periodic("rounds", rounds, every_s=0.001, skip=lambda exc: isinstance(exc, OSError))
    service.start()
    with pytest.raises(Broken):
        async with asyncio.timeout(LONG):
            await service.stopped()
    assert rounds.count == 1


async def test_a_round_tells_how_late_the_loop_was_with_it() -> None:
    rounds, late = Rounds(), list[float]()

    async def act() -> None:
        late.append(service.late_s)
        await rounds()

    service = Periodic("rounds", act, every_s=0.01)
    service.start()
    await rounds.more(1)
    time.sleep(0.1)  # the loop stands still
    await rounds.more(1)
    await ended(service)
    assert late[0] == 0.0
    assert late[1] > 0.05


async def test_waiting_for_any_of_several_events_ends_with_the_first_or_with_the_time() -> None:
    one, two = asyncio.Event(), asyncio.Event()
    before = asyncio.all_tasks()
    assert not await any_set(one, two, timeout_s=0.01)
    waiting = asyncio.create_task(any_set(one, two))
    await asyncio.sleep(0)
    two.set()
    assert await waiting
    assert await any_set(one, two, timeout_s=0)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


# the whole process


async def test_the_start_is_announced_once_all_parts_run() -> None:
    parts = Parts()
    stop = asyncio.Event()
    begun = []

    def part(name: str) -> Background:
        async def run(end: asyncio.Event) -> None:
            begun.append(name)
            await end.wait()

        return Background(name, run)

    async def started() -> None:
        assert sorted(begun) == ["side", "work"]
        stop.set()

    await parts.serve([part("work")], [part("side")], stop, started=started)
    assert parts.notes == ["begin_stop"]


async def test_a_start_that_is_never_announced_does_not_delay_the_stop() -> None:
    parts = Parts()

    async def never() -> None:
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    await parts.serve([parts.worker()], [parts.side()], asked(), started=never)
    assert asyncio.all_tasks() == before
    assert "side finished" in parts.notes


async def test_an_announcement_that_fails_stops_the_rest_and_its_error_is_raised() -> None:
    parts = Parts()

    async def fails() -> None:
        raise Broken("the announcement broke")

    with pytest.raises(Broken, match="the announcement broke"):
        await parts.serve([parts.worker()], [parts.side()], asyncio.Event(), started=fails)
    assert parts.notes == ["begin_stop", "worker finished", "side finished"]


async def test_a_stop_lets_the_work_finish_and_then_the_sides() -> None:
    parts = Parts()
    await parts.serve([parts.worker()], [parts.side()], asked())
    assert parts.notes == ["begin_stop", "worker finished", "side finished"]


@pytest.mark.parametrize("place", ["work", "side"])
async def test_a_part_that_dies_stops_the_rest_in_order_and_its_error_is_raised(place: str) -> None:
    parts = Parts()
    dying: list[Service] = [Background("dying", fail)]
    work: list[Service] = [parts.worker()]
    side: list[Service] = [parts.side()]
    with pytest.raises(Broken, match="the part broke"):
        await parts.serve(work + dying * (place == "work"), side + dying * (place == "side"), asyncio.Event())
    assert parts.notes == ["begin_stop", "worker finished", "side finished"]


@pytest.mark.parametrize("place", ["work", "side"])
async def test_a_part_that_ends_by_itself_stops_the_rest(place: str) -> None:
    parts = Parts()
    ending: list[Service] = [Background("ending", end)]
    work: list[Service] = [parts.worker()]
    side: list[Service] = [parts.side()]
    await parts.serve(work + ending * (place == "work"), side + ending * (place == "side"), asyncio.Event())
    assert parts.notes == ["begin_stop", "worker finished", "side finished"]


async def test_work_that_is_late_is_cut_at_the_drain_limit_and_that_is_no_error() -> None:
    parts = Parts()
    with capture_logs() as lines:
        await parts.serve([parts.worker(), parts.stubborn()], [parts.side()], asked(), drain_s=0.2)
    assert parts.notes[:2] == ["begin_stop", "worker finished"]
    assert "stubborn cut" in parts.notes
    assert parts.notes[-1] == "side finished"
    assert [line["service"] for line in lines if line["event"] == "daemon.cut"] == ["stubborn"]


async def test_work_that_finishes_early_ends_the_drain_before_its_limit() -> None:
    parts = Parts()
    await parts.serve([parts.worker()], [parts.side()], asked(), drain_s=LONG * 10)  # LONG bounds it from outside
    assert "worker finished" in parts.notes


async def test_the_sides_go_on_while_the_work_drains() -> None:
    parts = Parts()
    beats = 0
    beaten = asyncio.Event()

    async def beat(stop: asyncio.Event) -> None:
        nonlocal beats
        while not stop.is_set():
            await asyncio.sleep(0)
            if parts.draining.is_set():
                beats += 1
                if beats == 10:
                    beaten.set()
        parts.notes.append("heart stopped")

    async def work(stop: asyncio.Event) -> None:
        await stop.wait()
        await beaten.wait()  # can only end if the side runs during the drain
        parts.notes.append("drained")

    await parts.serve([Background("work", work)], [Background("heart", beat)], asked())
    assert parts.notes == ["begin_stop", "drained", "heart stopped"]


async def test_a_begin_stop_that_hangs_counts_against_the_drain_limit() -> None:
    parts = Parts()

    async def hang() -> None:
        parts.notes.append("hanging")
        await asyncio.Event().wait()

    await parts.serve(
        [parts.worker(), parts.stubborn()], [parts.side()], asked(), begin_stop=hang, drain_s=0.2
    )  # LONG bounds it from outside
    assert sorted(parts.notes) == ["hanging", "side finished", "stubborn cut", "worker finished"]


class Unstoppable(Background):
    """A service that cannot be asked to stop."""

    def stop(self) -> None:
        raise Broken("stopping broke")


@pytest.mark.parametrize("moment", ["begin_stop", "work", "side"])
async def test_nothing_is_left_running_when_stopping_itself_breaks(moment: str) -> None:
    parts = Parts()

    async def begin_stop() -> None:
        if moment == "begin_stop":
            raise Broken("stopping broke")

    async def forever(_: asyncio.Event) -> None:
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    work: list[Service] = [parts.stubborn()]
    side: list[Service] = [parts.part("lasting", asyncio.Event())]
    broken: list[Service] = [Unstoppable("broken", forever)]
    with pytest.raises(Broken, match="stopping broke"):
        await parts.serve(
            broken * (moment == "work") + work,
            broken * (moment == "side") + side,
            asked(),
            begin_stop=begin_stop,
            drain_s=0.2,
        )
    assert asyncio.all_tasks() == before
    assert {"stubborn cut", "lasting cut"} <= set(parts.notes)


async def test_nothing_is_left_running_when_a_start_breaks() -> None:
    parts = Parts()

    class Unstartable(Background):
        def start(self) -> None:
            raise Broken("starting broke")

    before = asyncio.all_tasks()
    with pytest.raises(Broken, match="starting broke"):
        await parts.serve([parts.worker(), Unstartable("broken", end)], [parts.side()], asyncio.Event())
    assert asyncio.all_tasks() == before
    assert "begin_stop" not in parts.notes


async def test_an_error_that_comes_up_in_the_drain_is_raised() -> None:
    parts = Parts()

    async def late_failure(stop: asyncio.Event) -> None:
        await stop.wait()
        raise Broken("late")

    with pytest.raises(Broken, match="late"):
        await parts.serve([Background("late", late_failure)], [parts.side()], asked())
    assert parts.notes == ["begin_stop", "side finished"]


async def test_cancelling_serve_leaves_nothing_running() -> None:
    parts = Parts()
    before = asyncio.all_tasks()
    running = asyncio.create_task(parts.serve([parts.worker()], [parts.side()], asyncio.Event()))
    await asyncio.wait_for(parts.all_started.wait(), LONG)
    await asyncio.sleep(0)  # tasks begin in the order of their making; now each of them has
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert asyncio.all_tasks() == before
    assert sorted(parts.notes) == ["side cut", "worker cut"]


async def test_nothing_else_starts_before_the_steps_are_done() -> None:
    parts = Parts()
    stop, done = asyncio.Event(), asyncio.Event()
    first, worker = parts.part("first"), parts.worker()
    states: list[tuple[bool, bool]] = []

    async def one() -> None:
        await asyncio.sleep(0)
        states.append((parts.begun(first), parts.begun(worker)))
        done.set()

    async def two() -> None:
        states.append((parts.begun(first), parts.begun(worker)))

    async def started() -> None:
        states.append((parts.begun(first), parts.begun(worker)))
        stop.set()

    await parts.serve([worker], [], stop, started=started, steps=[Step([], one), Step([first], two)])
    assert states == [(False, False), (True, False), (True, True)]
    assert parts.notes == ["begin_stop", "worker finished", "first finished"]


async def test_a_stop_interrupts_a_step_and_nothing_more_starts() -> None:
    parts = Parts()
    stop, waiting = asyncio.Event(), asyncio.Event()

    async def never_done() -> None:
        waiting.set()
        await asyncio.Event().wait()

    serving = asyncio.create_task(
        parts.serve([parts.worker()], [parts.side()], stop, steps=[Step([parts.part("first")], never_done)])
    )
    await waiting.wait()
    stop.set()
    await serving
    assert parts.notes == ["begin_stop", "first finished"]
    assert not parts.all_started.is_set()


async def test_a_step_that_fails_ends_the_process_with_its_error() -> None:
    parts = Parts()

    async def fails() -> None:
        raise Broken("step")

    with pytest.raises(Broken, match="step"):
        await parts.serve([parts.worker()], [parts.side()], asyncio.Event(), steps=[Step([parts.part("first")], fails)])
    assert parts.notes == ["begin_stop", "first finished"]
    assert not parts.all_started.is_set()


async def test_a_service_of_a_step_that_breaks_ends_the_wait() -> None:
    parts = Parts()

    async def never_done() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Broken):
        await parts.serve([], [parts.side()], asyncio.Event(), steps=[Step([Background("first", fail)], never_done)])
    assert parts.notes == ["begin_stop"]
