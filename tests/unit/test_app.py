"""How the daemon is put together."""

from __future__ import annotations

import pytest

from daemon.app import calls_at_once
from daemon.settings.model import Settings
from daemon.workers import WORKERS


@pytest.mark.parametrize("concurrency", [1, 50, 1000])
def test_no_lane_waits_for_a_connection(concurrency: int) -> None:
    assert calls_at_once(Settings(cgb_sync_concurrency=concurrency), WORKERS) >= concurrency
    assert calls_at_once(Settings(), ()) == 1, "a process without calls has a client all the same"
