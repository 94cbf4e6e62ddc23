"""A daemon that stops answers every long poll at once; and the verbs of the records' upkeep, on a real installation."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from aiohttp import ClientSession

from daemon.api.sync_pull import PATH
from tests.support.records_rig import ADMIN, Site, site
from tests.support.until import until

POLLS = 20
PROOF = {"Authorization": f"Bearer {ADMIN}"}


def create(id: str) -> dict[str, Any]:
    return {
        "op_id": str(uuid4()),
        "operation": "CREATE",
        "model": "Item",
        "record_id": id,
        "data": {"value": "x"},
        "base_version": 0,
    }


async def pull(here: Site, cursor: str = "") -> Any:
    query = f"?since={quote(cursor)}" if cursor else ""
    return await here.ask("GET", PATH + query)


async def waiting(here: Site) -> float:
    """How many wait, as its metrics tell."""
    async with ClientSession() as session, session.get(f"{here.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("ferryman_sync_waiters"))


async def test_a_stop_answers_all_who_wait_and_a_write_of_another_process_wakes_them(
    tmp_path: Path, postgres_url: str
) -> None:
    async with site(tmp_path, "hub", postgres_url) as hub, ClientSession() as session:
        page = (await pull(hub)).body

        async def poll() -> tuple[int, Any]:
            url = f"{hub.url}{PATH}?wait=30&since={quote(page['cursor'])}"
            async with session.get(url, headers=PROOF) as answer:
                return answer.status, await answer.json()

        polls = [asyncio.create_task(poll()) for _ in range(POLLS)]
        await until(lambda: _all_wait(hub))
        async with asyncio.timeout(15):
            await hub.stop()
            answers = await asyncio.gather(*polls)
        assert {status for status, _ in answers} == {200}
        assert all(body["changes"] == [] and body["cursor"] == page["cursor"] for _, body in answers)

        await hub.start()
        other = hub.beside()
        async with other.kept():
            polls = [asyncio.create_task(poll()) for _ in range(POLLS)]
            await until(lambda: _all_wait(hub))
            (answer,) = await other.push(create("i1"))
            assert answer["result"] == "applied"
            async with asyncio.timeout(10):
                answers = await asyncio.gather(*polls)
        assert all([one["id"] for one in body["changes"]] == ["i1"] for _, body in answers)
        await _upkeep(hub, answers[0][1]["cursor"])


async def _all_wait(hub: Site) -> bool:
    return await waiting(hub) == POLLS


async def _upkeep(hub: Site, cursor: str) -> None:
    """The verbs: a check, a compaction and a new epoch."""
    found = json.loads(await hub.verb("records", "check", "--json"))
    assert found == {"store": {"records": 1, "faults": 0, "first": []}, "upstream": None}
    assert "1 records: sound" in await hub.verb("records", "check")
    assert "would go: 0 tombstones" in await hub.verb("records", "compact", "--dry-run")
    assert json.loads(await hub.verb("records", "compact", "--json"))["tombstones"] == 0
    assert (await pull(hub, cursor)).status == 200
    await hub.verb("records", "new-epoch", "--dry-run")
    assert (await pull(hub, cursor)).status == 200
    assert "epoch 2 has begun" in await hub.verb("records", "new-epoch")
    told = await pull(hub, cursor)
    assert (told.status, told.body["type"], told.body["reason"]) == (410, "cursor-expired", "epoch")
    assert [one["id"] for one in (await pull(hub)).body["changes"]] == ["i1"]
