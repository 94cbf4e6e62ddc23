"""Services: the one contract by which the parts of the process start and stop, and the drain between the two.

`Background` turns a coroutine function into a Service. `Periodic` is a Service that does one thing again and again.
`serve` runs all Services of the process.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import structlog

from adapters.postgres.pool import installation_is_wrong
from schemas.errors import FerrymanError

SIDE_STOP_S: Final = 3.0
"""Longest wait for the side services to end after they were asked to."""

Skip: TypeAlias = Callable[[Exception], bool]
"""A policy: whether an error costs one round only. An error that it does not skip ends the service."""

log = structlog.get_logger(__name__)


class StartError(FerrymanError):
    """The daemon cannot start: one line that says what is wrong and what to do."""


class Service(Protocol):
    """A part of the process that works in tasks of its own, from `start` until it has stopped."""

    @property
    def name(self) -> str:
        """What logs call it."""
        ...

    def start(self) -> None:
        """Begin its tasks. A service is started once."""
        ...

    def stop(self) -> None:
        """Ask it to finish what it has in hand and to end. Returns at once; asking again changes nothing."""
        ...

    def cut(self) -> None:
        """End it now: what it has in hand is cancelled. Returns at once; a second call changes nothing."""
        ...

    async def stopped(self) -> None:
        """Return when it has ended, or at once when it was never started. Raises what broke it; being cut is no error.

        Cancelling this wait does not end the service.
        """
        ...


class Step(NamedTuple):
    """A part of the start: *services* start, and nothing else does before *done* has returned."""

    services: Sequence[Service]
    done: Callable[[], Coroutine[Any, Any, None]]


class Background:
    """A Service that runs one coroutine function in a task. *run* must return soon after its event is set."""

    def __init__(self, name: str, run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
        self.name = name
        self._main = run
        self._stop_asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """See Service."""
        assert self._task is None, f"the service {self.name} was started twice"
        self._task = asyncio.create_task(self._main(self._stop_asked), name=self.name)

    def stop(self) -> None:
        """See Service."""
        self._stop_asked.set()

    def cut(self) -> None:
        """See Service."""
        self._stop_asked.set()  # redis-py now and then swallows a cancellation: then the event ends the service
        if self._task is not None:
            self._task.cancel()

    async def stopped(self) -> None:
        """See Service."""
        if self._task is None:
            return
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()


def never(_: Exception) -> bool:
    """The policy that skips nothing: every error ends the service."""
    return False


class Periodic(Background):
    """A Service that awaits *act* every *every_s* seconds, counted from the end of one round to the next.

    *every_s*: seconds, or a function that is asked for them after each round. *at_once*: whether the first round comes
    at the start or one period later. *skip*: which errors cost one round only. *wake*: an event that brings the next
    round forward; `wake` sets it.
    """

    def __init__(
        self,
        name: str,
        act: Callable[[], Awaitable[None]],
        *,
        every_s: float | Callable[[], float],
        at_once: bool = True,
        skip: Skip = never,
        wake: asyncio.Event | None = None,
    ) -> None:
        super().__init__(name, self.run)
        self._act = act
        self._every_s = every_s
        self._at_once = at_once
        self._skip = skip
        self._wake = wake or asyncio.Event()
        self.woken = False
        """Whether the round under way was brought forward."""

        self.late_s = 0.0
        """By how many seconds the event loop was late with the round under way; 0 when it was brought forward."""

    def wake(self) -> None:
        """Begin the next round now; when one is under way, right after it."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Make rounds until *stop*. Raises what *act* raises and *skip* does not skip."""
        if not self._at_once:
            await self._pause(stop)
        skipping = False
        while not stop.is_set():
            try:
                await self._act()
                skipping = False
            except Exception as exc:
                if not self._skip(exc):
                    raise
                if not skipping:
                    # a store that is away has its line from the watcher; one that serves and refuses has not
                    tell = log.warning if installation_is_wrong(exc) else log.debug
                    tell("round.skipped", service=self.name, error_class=type(exc).__name__)
                skipping = True
            await self._pause(stop)

    async def _pause(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        period_s = self._every_s() if callable(self._every_s) else self._every_s
        due = loop.time() + period_s
        early = await any_set(stop, self._wake, timeout_s=period_s)
        self.late_s = 0.0 if early else max(0.0, loop.time() - due)
        self.woken = self._wake.is_set()
        self._wake.clear()


async def any_set(*events: asyncio.Event, timeout_s: float | None = None) -> bool:
    """Wait until one of *events* is set; false when *timeout_s* passed first."""
    if any(event.is_set() for event in events):
        return True
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return bool(done)


class _Run:
    """The services that were started, and what else has to end."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stopped: asyncio.Task[Any] = asyncio.create_task(stop.wait(), name="stop")
        self._helpers = [self._stopped]
        self.ends: dict[asyncio.Future[None], Service] = {}

    async def passed(self, services: Sequence[Service], then: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Start *services* and await *then*. False where the stop came first, *then* failed or a service ended."""
        for service in services:
            service.start()
            self.ends[asyncio.create_task(service.stopped(), name=service.name)] = service
        helper = asyncio.create_task(then())
        self._helpers.append(helper)
        await asyncio.wait({*self.ends, self._stopped, helper}, return_when=asyncio.FIRST_COMPLETED)
        over = any(end.done() for end in (*self.ends, self._stopped))
        helper.cancel()
        return not over and helper.exception() is None

    async def cut(self) -> list[Any]:
        """Cut every service; returns the results of all."""
        for service in self.ends.values():
            service.cut()
        for helper in self._helpers:
            helper.cancel()
        return await asyncio.gather(*self.ends, *self._helpers, return_exceptions=True)


async def serve(
    work: Sequence[Service],
    side: Sequence[Service],
    stop: asyncio.Event,
    *,
    started: Callable[[], Awaitable[None]],
    begin_stop: Callable[[], Awaitable[None]],
    drain_s: float,
    steps: Sequence[Step] = (),
) -> None:
    """Start every service and run until *stop*, or until a service ends by itself or *started* fails; then drain.

    *steps* come one after the other, before all *work* and *side*; their services are side services too. After a step
    that the stop interrupts, or that fails, nothing more starts. *started* is awaited when all has started, to announce
    that all is in place. The drain stops the *work* and awaits *begin_stop*; both together may take *drain_s* seconds.
    The *side* services (leases, health) go on during the drain and are stopped after it. A service that is late is cut:
    what it has in hand stays pending and costs no attempt. Raises the first error of any service, of a step or of
    *started*.
    """

    async def announced() -> None:  # ends at the stop, or with the error of the announcement
        await started()
        await stop.wait()

    run = _Run(stop)
    try:
        for step in steps:
            if not await run.passed(step.services, step.done):
                break
        else:
            await run.passed([*work, *side], announced)
        log.info("daemon.draining", seconds=drain_s, asked=stop.is_set())
        await _drain({end: service for end, service in run.ends.items() if service in work}, begin_stop, drain_s)
        for service in (service for service in run.ends.values() if service not in work):
            service.stop()
        if run.ends:
            await asyncio.wait(run.ends, timeout=SIDE_STOP_S)
    finally:
        results = await run.cut()
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result


async def _drain(
    working: dict[asyncio.Future[None], Service], begin_stop: Callable[[], Awaitable[None]], drain_s: float
) -> None:
    """Stop what is *working*, and cut what has not ended after *drain_s* seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + drain_s
    for service in working.values():
        service.stop()
    try:
        async with asyncio.timeout(drain_s):
            await begin_stop()
    except TimeoutError:
        log.warning("daemon.intake_cut")
    if not working:
        return
    _, late = await asyncio.wait(working, timeout=max(0.0, deadline - loop.time()))
    for end in late:
        log.warning("daemon.cut", service=working[end].name)
        working[end].cut()


def stop_on_signals(stop: asyncio.Event) -> None:
    """The first SIGTERM or SIGINT sets *stop*; a second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def received(name: str) -> None:
        if stop.is_set():
            log.warning("daemon.ended_now", signal=name)
            os._exit(1)
        log.info("daemon.stop_asked", signal=name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received, number.name)
