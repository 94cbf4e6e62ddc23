"""Server-sent events: what a page shows is rendered once for all who look at it, and sent when it has changed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import structlog
from aiohttp import web
from aiohttp_sse import EventSourceResponse

from daemon.pages.gate import HEADERS
from daemon.telemetry.failures import fields

Produce: TypeAlias = Callable[[], Awaitable[str]]
"""Renders a part of a page as it is now."""

MOST_STREAMS: Final = 50
RECHECK_S: Final = 60.0
"""So often a stream asks whether its session lives."""

LOOK_S: Final = 5.0
"""Longest time without a look whether the browser is there."""

log = structlog.get_logger(__name__)


class _Channel:
    """What all who look at one part share."""

    def __init__(self, key: str, produce: Produce, every_s: float) -> None:
        self.viewers = 0
        self.text: str | None = None
        self.changed = asyncio.Event()
        self.task = asyncio.create_task(self._run(key, produce, every_s), name=f"page-part-{key}")

    async def _run(self, key: str, produce: Produce, every_s: float) -> None:
        while True:
            try:
                text = await produce()
            except Exception as exc:  # the next round may succeed, and the page says how old it is
                log.warning("page.part_failed", part=key.partition(":")[0], **fields(exc))
            else:
                if text != self.text:
                    self.text = text
                    self.wake()
            await asyncio.sleep(every_s)

    def wake(self) -> None:
        """Let everybody who waits look."""
        self.changed.set()
        self.changed = asyncio.Event()


class Broadcaster:
    """The streams of one process."""

    def __init__(self) -> None:
        self._channels: dict[str, _Channel] = {}
        self._streams: set[EventSourceResponse] = set()
        self._stopped = False

    def stop(self) -> None:
        """End every stream, and begin none. Otherwise the end of the server would wait for each."""
        self._stopped = True
        for response in self._streams:
            with contextlib.suppress(RuntimeError):  # one that is only just beginning
                response.stop_streaming()
        for channel in self._channels.values():
            channel.wake()

    async def stream(
        self,
        request: web.Request,
        key: str,
        produce: Produce,
        *,
        every_s: float,
        goes_on: Callable[[], Awaitable[bool]],
    ) -> web.StreamResponse:
        """Send what *produce* renders to *request*, whenever it has changed, as long as *goes_on* is true."""
        if self._stopped or len(self._streams) >= MOST_STREAMS:
            return web.Response(status=503, text="Too many pages are open.\n", headers={"Retry-After": "10"})
        headers = {name: value for name, value in HEADERS.items() if name != "Cache-Control"}
        response = EventSourceResponse(headers=headers)
        self._streams.add(response)
        channel = self._channels.get(key) or _Channel(key, produce, every_s)
        self._channels[key] = channel
        channel.viewers += 1
        try:
            await response.prepare(request)
            async with response:
                await self._send(response, channel, goes_on)
        except (ConnectionResetError, TimeoutError):
            pass  # the browser has gone
        finally:
            self._streams.discard(response)
            channel.viewers -= 1
            if not channel.viewers:
                channel.task.cancel()
                self._channels.pop(key, None)
        return response

    async def _send(
        self, response: EventSourceResponse, channel: _Channel, goes_on: Callable[[], Awaitable[bool]]
    ) -> None:
        sent: str | None = None
        checked = time.monotonic()
        while response.is_connected() and not self._stopped:
            changed = channel.changed
            if channel.text is not None and channel.text != sent:
                sent = channel.text
                await response.send(sent)
                continue
            if time.monotonic() - checked >= RECHECK_S:
                checked = time.monotonic()
                if not await goes_on():
                    return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await changed.wait()
