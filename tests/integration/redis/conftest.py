"""A cluster, and the settings of a real process on it that syncs to a simulated CGB."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.redis.limits import RateLimiter
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from tests.support.cluster import ClusterNodes, cluster_of_six


@pytest.fixture(autouse=True)
async def ended_limiters(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The limiters of a test end with it: a look of theirs must not outlive the loop."""
    made: list[RateLimiter] = []
    begin = RateLimiter.__init__

    def noted(self: RateLimiter, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        made.append(self)

    monkeypatch.setattr(RateLimiter, "__init__", noted)
    yield
    for limiter in made:
        limiter.close()


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[ClusterNodes]:
    async with cluster_of_six(tmp_path / "cluster") as started:
        yield started


@pytest.fixture
def redis_address(nodes: ClusterNodes) -> str:
    """Where the process of `settings` finds Redis; a module with another Redis has a fixture of its own."""
    return nodes.url


@pytest.fixture
async def cgb() -> AsyncIterator[CgbSandbox]:
    async with CgbSandbox("live") as sandbox:
        sandbox.switches.limit = None
        yield sandbox


@pytest.fixture
def settings(redis_address: str, database_url: str, cgb: CgbSandbox) -> dict[str, Any]:
    return {
        "REDIS_URL": redis_address,
        "DATABASE_URL": database_url,
        "FERRYMAN_ADMIN_TOKEN": "an-invented-admin-token",
        "CGB_API_URL": cgb.url,
        "CGB_API_KEY": TOKEN,
        "CGB_RATE_PER_MINUTE": 1_000_000,
        "FERRYMAN_LEASE_SECONDS": 2,
    }
