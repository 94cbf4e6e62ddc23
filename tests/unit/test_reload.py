"""The reload, apart from the process: what it does where it cannot write its card."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon import reload
from daemon.card import Card
from daemon.reload import Reloading
from daemon.settings.in_force import Change
from daemon.settings.load import load_settings
from tests.support.until import until

FULL_DISK = Path("/dev/full")


@pytest.mark.skipif(not FULL_DISK.exists(), reason="this system has no /dev/full")
async def test_a_full_disk_ends_no_process_and_stops_no_reload(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @contextmanager
    def card(_: Path) -> Iterator[Card]:
        with FULL_DISK.open("r+b", buffering=0) as file:
            yield Card(file)

    monkeypatch.setattr(reload, "card", card)
    settings = load_settings({}, None)
    asked, taken = asyncio.Event(), list[int]()

    def take(_: object) -> Change:
        taken.append(1)
        return Change(settings=settings, taken=(), waiting=(), overruled=())

    service = Reloading(asked, lambda: settings, take, tmp_path)
    service.start()
    for _ in range(2):
        asked.set()
        await until(lambda: taken, "the settings are read again")
        taken.clear()
    service.stop()
    await service.stopped()
