"""The doors of the process, apart from it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daemon.settings.load import load_settings
from daemon.web import doors
from daemon.web.doors import Doors


class NeverDrained:
    async def drained(self) -> None:
        await asyncio.Event().wait()


async def test_what_no_store_takes_does_not_hold_up_the_end_of_a_process_that_leaves_its_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doors, "ANSWER_S", 0.01)
    intake: Any = NeverDrained()
    unused: Any = None
    async with asyncio.timeout(30):
        await Doors(load_settings({}, None), unused, intake, unused, unused, ()).leave()
