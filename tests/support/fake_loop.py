"""An event loop on a clock that a test moves."""

from __future__ import annotations

import asyncio


class FakeLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers follow *now*."""

    now = 1000.0

    def time(self) -> float:
        return self.now
