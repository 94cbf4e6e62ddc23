"""Start together, stop together: services, signals, and the drain between them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from schemas.errors import FerrymanError

log = structlog.get_logger(__name__)


class StartError(FerrymanError):
    """The daemon cannot start: one line that says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Service:
    """A part that runs until it is told to stop."""

    name: str
    run: Coroutine[Any, Any, None]

    def discard(self) -> None:
        """It will not be run after all."""
        self.run.close()


async def serve(
    work: Sequence[Service],
    side: Sequence[Service],
    stop: asyncio.Event,
    *,
    started: Callable[[], Awaitable[None]],
    begin_stop: Callable[[], Awaitable[None]],
    end_side: Callable[[], None],
    drain_s: float,
) -> None:
    """Run everything until *stop*, or until any part ends by itself.

    *started* is awaited meanwhile, to say that all is in place. Then *begin_stop*, and up to *drain_s* seconds for the
    *work* to finish what is in hand; the *side* services (leases, health) go on during the drain. What is late is
    cancelled; it stays pending and costs no attempt. Raises the first error of any part.
    """
    working = {asyncio.create_task(service.run, name=service.name) for service in work}
    beside = {asyncio.create_task(service.run, name=service.name) for service in side}
    stopped = asyncio.create_task(_until(stop), name="stop")
    starting = asyncio.ensure_future(started())
    try:
        await asyncio.wait({*working, *beside, stopped}, return_when=asyncio.FIRST_COMPLETED)
        log.info("daemon.draining", seconds=drain_s, asked=stop.is_set())
        loop = asyncio.get_running_loop()
        deadline = loop.time() + drain_s
        try:
            async with asyncio.timeout(drain_s):
                await begin_stop()
        except TimeoutError:
            log.warning("daemon.intake_cut")
        if working:
            _, late = await asyncio.wait(working, timeout=max(0.0, deadline - loop.time()))
            for task in late:
                log.warning("daemon.cut", service=task.get_name())
                task.cancel()
        end_side()
        _, late = await asyncio.wait(beside, timeout=3)
        for task in late:
            task.cancel()
    finally:
        everything = [*working, *beside, stopped, starting]
        for task in everything:
            task.cancel()
        results = await asyncio.gather(*everything, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


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
