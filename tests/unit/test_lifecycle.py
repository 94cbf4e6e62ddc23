"""Start together, stop together: what `serve` promises about its parts."""

from __future__ import annotations

import asyncio

import pytest

from daemon.lifecycle import Service, serve

LONG = 30.0
"""Seconds that no test here waits out: the outer deadline of what must happen at once."""


class Parts:
    """Parts of a process that note what happens to them."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stop_work = asyncio.Event()
        self.stop_side = asyncio.Event()
        self.all_started = asyncio.Event()

    async def started(self) -> None:
        self.all_started.set()

    async def begin_stop(self) -> None:
        self.notes.append("begin_stop")
        self.stop_work.set()

    def end_side(self) -> None:
        self.notes.append("end_side")
        self.stop_side.set()

    async def until(self, event: asyncio.Event, name: str) -> None:
        try:
            await event.wait()
            self.notes.append(f"{name} finished")
        except asyncio.CancelledError:
            self.notes.append(f"{name} cut")
            raise

    def worker(self, name: str = "worker") -> Service:
        return Service(name, self.until(self.stop_work, name))

    def stubborn(self, name: str = "stubborn") -> Service:
        return Service(name, self.until(asyncio.Event(), name))

    def side(self, name: str = "side") -> Service:
        return Service(name, self.until(self.stop_side, name))

    async def serve(
        self, work: list[Service], side: list[Service], stop: asyncio.Event, drain_s: float = LONG * 2
    ) -> None:
        async with asyncio.timeout(LONG):
            await serve(
                work,
                side,
                stop,
                started=self.started,
                begin_stop=self.begin_stop,
                end_side=self.end_side,
                drain_s=drain_s,
            )


class Broken(Exception):
    """Raised by a part."""


async def fail(text: str = "the part broke") -> None:
    raise Broken(text)


async def end() -> None:
    return None


def asked() -> asyncio.Event:
    stop = asyncio.Event()
    stop.set()
    return stop


async def test_all_parts_run_before_it_is_said_that_they_have_started() -> None:
    parts = Parts()
    stop = asyncio.Event()
    begun = []

    async def part(name: str, end: asyncio.Event) -> None:
        begun.append(name)
        await end.wait()

    async def started() -> None:
        assert sorted(begun) == ["side", "work"]
        stop.set()

    async with asyncio.timeout(LONG):
        await serve(
            [Service("work", part("work", parts.stop_work))],
            [Service("side", part("side", parts.stop_side))],
            stop,
            started=started,
            begin_stop=parts.begin_stop,
            end_side=parts.end_side,
            drain_s=LONG * 2,
        )
    assert parts.notes == ["begin_stop", "end_side"]


async def test_a_start_that_is_never_announced_does_not_delay_the_stop() -> None:
    parts = Parts()

    async def never() -> None:
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    async with asyncio.timeout(LONG):
        await serve(
            [parts.worker()],
            [parts.side()],
            asked(),
            started=never,
            begin_stop=parts.begin_stop,
            end_side=parts.end_side,
            drain_s=LONG * 2,
        )
    assert asyncio.all_tasks() == before
    assert "side finished" in parts.notes


async def test_a_stop_lets_the_work_finish_and_then_the_sides() -> None:
    parts = Parts()
    await parts.serve([parts.worker()], [parts.side()], asked())
    assert parts.notes == ["begin_stop", "worker finished", "end_side", "side finished"]


@pytest.mark.parametrize("place", ["work", "side"])
async def test_a_part_that_dies_stops_the_rest_in_order_and_its_error_is_raised(place: str) -> None:
    parts = Parts()
    dying = [Service("dying", fail())]
    work, side = [parts.worker()], [parts.side()]
    with pytest.raises(Broken, match="the part broke"):
        await parts.serve(work + dying * (place == "work"), side + dying * (place == "side"), asyncio.Event())
    assert parts.notes == ["begin_stop", "worker finished", "end_side", "side finished"]


@pytest.mark.parametrize("place", ["work", "side"])
async def test_a_part_that_ends_by_itself_stops_the_rest(place: str) -> None:
    parts = Parts()
    ending = [Service("ending", end())]
    work, side = [parts.worker()], [parts.side()]
    await parts.serve(work + ending * (place == "work"), side + ending * (place == "side"), asyncio.Event())
    assert parts.notes == ["begin_stop", "worker finished", "end_side", "side finished"]


async def test_work_that_is_late_is_cut_at_the_drain_limit_and_that_is_no_error() -> None:
    parts = Parts()
    await parts.serve([parts.worker(), parts.stubborn()], [parts.side()], asked(), drain_s=0.2)
    assert parts.notes[:2] == ["begin_stop", "worker finished"]
    assert "stubborn cut" in parts.notes
    assert parts.notes[-1] == "side finished"


async def test_work_that_finishes_early_ends_the_drain_before_its_limit() -> None:
    parts = Parts()
    await parts.serve([parts.worker()], [parts.side()], asked(), drain_s=LONG * 10)  # LONG bounds it from outside
    assert "worker finished" in parts.notes


async def test_the_sides_go_on_while_the_work_drains() -> None:
    parts = Parts()
    beats = 0
    beaten = asyncio.Event()

    async def heart() -> None:
        nonlocal beats
        while not parts.stop_side.is_set():
            await asyncio.sleep(0)
            if parts.stop_work.is_set():
                beats += 1
                if beats == 10:
                    beaten.set()

    async def work() -> None:
        await parts.stop_work.wait()
        await beaten.wait()  # can only end if the side runs during the drain
        parts.notes.append("drained")

    await parts.serve([Service("work", work())], [Service("heart", heart())], asked())
    assert parts.notes == ["begin_stop", "drained", "end_side"]


async def test_a_begin_stop_that_hangs_counts_against_the_drain_limit() -> None:
    parts = Parts()

    async def hang() -> None:
        parts.notes.append("hanging")
        await asyncio.Event().wait()

    async with asyncio.timeout(LONG):
        await serve(
            [parts.worker()],
            [parts.side()],
            asked(),
            started=parts.started,
            begin_stop=hang,
            end_side=parts.end_side,
            drain_s=0.2,
        )
    assert sorted(parts.notes) == ["end_side", "hanging", "side finished", "worker cut"]


@pytest.mark.parametrize("moment", ["begin_stop", "end_side"])
async def test_nothing_is_left_running_when_stopping_itself_breaks(moment: str) -> None:
    parts = Parts()

    async def begin_stop() -> None:
        parts.stop_work.set()
        if moment == "begin_stop":
            await fail("stopping broke")

    def end_side() -> None:
        if moment == "end_side":
            raise Broken("stopping broke")

    before = asyncio.all_tasks()
    with pytest.raises(Broken, match="stopping broke"):
        async with asyncio.timeout(LONG):
            await serve(
                [parts.stubborn()],
                [parts.side()],
                asked(),
                started=parts.started,
                begin_stop=begin_stop,
                end_side=end_side,
                drain_s=0.2,
            )
    assert asyncio.all_tasks() == before
    assert {"stubborn cut", "side cut"} <= set(parts.notes)


async def test_an_error_that_comes_up_in_the_drain_is_raised() -> None:
    parts = Parts()

    async def late_failure() -> None:
        await parts.stop_work.wait()
        raise Broken("late")

    with pytest.raises(Broken, match="late"):
        await parts.serve([Service("late", late_failure())], [parts.side()], asked())
    assert parts.notes == ["begin_stop", "end_side", "side finished"]


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


async def test_a_service_that_is_discarded_leaves_no_warning_behind() -> None:
    parts = Parts()
    service = parts.worker()
    service.discard()
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await service.run
