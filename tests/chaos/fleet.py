"""The processes of Ferryman under test, by number."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests.support.daemons import Running, running


class Fleet:
    """Starts, ends and asks the processes."""

    def __init__(self, cwd: Path, settings: Mapping[str, Any]) -> None:
        self._cwd = cwd
        self.settings = dict(settings)
        self._stacks: dict[int, AsyncExitStack] = {}
        self.running: dict[int, Running] = {}
        self.lines: list[str] = []

    async def start(self, number: int, *, module: str = "daemon", **settings: object) -> Running:
        """Start process *number*; returns once it is ready."""
        stack = AsyncExitStack()
        try:
            here = await stack.enter_async_context(running(self._cwd, module=module, **self.settings | settings))
        except BaseException:
            await stack.aclose()
            raise
        self._stacks[number], self.running[number] = stack, here
        return here

    async def end(self, number: int, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to process *number* and wait for its end; returns its exit code."""
        here, stack = self.running.pop(number), self._stacks.pop(number)
        try:
            return await here.stop(how)
        finally:
            await stack.aclose()
            self.lines += here.lines

    async def died(self, number: int, within_s: float = 30.0) -> int:
        """Wait until process *number* has ended by itself; returns its exit code."""
        await asyncio.wait_for(self.running[number].process.wait(), within_s)
        return await self.end(number)

    async def close(self) -> None:
        """Kill every process that runs. The log lines go to the directory that CHAOS_LOGS names, if it is set."""
        for number in list(self.running):
            await self.end(number, signal.SIGKILL)
        if place := os.environ.get("CHAOS_LOGS"):
            (Path(place) / f"{self._cwd.name}.log").write_text("\n".join(self.lines))

    def urls(self) -> list[str]:
        """Where an order may be sent."""
        return [here.url for here in self.running.values() if here.process.returncode is None]

    def said(self, event: str) -> int:
        """How often the processes, ended ones included, have logged *event*."""
        wanted = f'"{event}"'
        alive = (line for here in self.running.values() for line in here.lines)
        return sum(wanted in line for line in (*self.lines, *alive))
