"""A daemon stands still (SIGSTOP) in the middle of its pushes: nobody waits for it, no reader misses what it wrote."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.records_rig import Site, site
from tests.support.until import until


class Feed:
    """What a reader has got, page by page, while others write."""

    def __init__(self, here: Site, token: str) -> None:
        self.here, self.token, self.cursor = here, token, ""
        self.seen: list[str] = []

    async def read(self) -> bool:
        """Read a page; whether there is more."""
        since = f"&since={self.cursor}" if self.cursor else ""
        told = await self.here.ask("GET", f"/api/v1/sync/pull?limit=20{since}", token=self.token)
        assert told.status == 200, told
        self.cursor = told.body["cursor"]
        self.seen += [one["id"] for one in told.body["changes"]]
        return bool(told.body["more"])


async def _push(here: Site, token: str, over: asyncio.Event, done: Callable[[list[str]], None]) -> None:
    """Push new records until it is over."""
    while not over.is_set():
        ids = [str(uuid4()) for _ in range(5)]
        operations = [
            {"op_id": str(uuid4()), "operation": "CREATE", "model": "Item", "record_id": id, "data": {"value": id}}
            for id in ids
        ]
        answers = await here.push(*operations, token=token)
        assert [one["result"] for one in answers] == ["applied"] * 5
        done(ids)


async def _longer(found: list[str], than: int, what: str) -> None:
    await until(lambda: len(found) > than, what, 10)


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(200)])])
async def test_nobody_waits_for_a_daemon_that_stands_still_and_nothing_is_skipped(
    tmp_path: Path, postgres_url: str, times: int
) -> None:
    rng, over = random.Random(times), asyncio.Event()
    async with site(tmp_path, "hub", postgres_url) as hub:
        other = hub.beside()
        async with other.kept():
            token = await hub.token("--user", "noa")
            feed, made, of_other = Feed(hub, token), list[str](), list[str]()

            async def read() -> None:
                while not over.is_set():
                    await feed.read()

            tasks = [
                asyncio.create_task(_push(hub, token, over, made.extend)),
                *(asyncio.create_task(_push(other, token, over, of_other.extend)) for _ in range(4)),
                asyncio.create_task(read()),
            ]
            for _ in range(times):
                before = len(of_other)
                await _longer(of_other, before, "pushes of the one that will stand still")
                await asyncio.sleep(rng.random() * 0.02)  # anywhere in a push
                with other.frozen():
                    still = len(of_other)
                    await asyncio.gather(
                        _longer(made, len(made) + 100, "pushes beside it"),
                        _longer(feed.seen, len(feed.seen) + 50, "reads beside it"),
                    )
                    assert len(of_other) <= still + 20  # answers that were on their way
            over.set()
            await asyncio.gather(*tasks)
            while await feed.read():
                pass
            assert sorted(feed.seen) == sorted([*made, *of_other])
