"""A program of its own that pushes records for the benchmark: what it sends is made before the clock runs."""

from __future__ import annotations

import asyncio
import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import orjson

from tests.bench.rig import obey

OPERATIONS = 50


def body(client: int, turn: int) -> bytes:
    """The push of a turn: made in the first one, changed in the others."""
    operations = [
        {
            "op_id": str(uuid4()),
            "operation": "UPDATE" if turn else "CREATE",
            "model": "Lead",
            "record_id": f"lead_{client}_{n}",
            "base_version": turn,
            "changed_at": "2026-11-27T09:58:01.250Z",
            "data": {
                "name": f"Lead number {n}",
                "stage": f"stage {turn}",
                "amount": f"{turn * 100 + n}.50",
                "notes": "met at the fair, wants an offer " * 4,
                "phone": "+12025550143",
                "tags": ["export", "new"],
            },
        }
        for n in range(OPERATIONS)
    ]
    return orjson.dumps({"replica": f"phone-{client}-{turn}", "operations": operations})


def push(port: int, path: str, token: str, bodies: list[bytes]) -> list[bytes]:
    """The answers to *bodies*, one after the other over one connection."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", port)
    answers = []
    for one in bodies:
        connection.request("POST", path, one, headers)
        answer = connection.getresponse()
        answers.append(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {answers[-1][:300]!r}")
    return answers


async def answer(question: dict[str, Any]) -> dict[str, Any]:
    port, path, token = question["port"], question["path"], question["token"]
    turns = range(question["first"], question["first"] + question["count"])
    bodies = [[body(client, turn) for turn in turns] for client in range(question["clients"])]
    with ThreadPoolExecutor(len(bodies)) as threads:
        began = time.perf_counter()
        answers = list(threads.map(lambda one: push(port, path, token, one), bodies))
        seconds = time.perf_counter() - began
    results = [result for each in answers for one in each for result in orjson.loads(one)["results"]]
    return {"seconds": seconds, "applied": sum(1 for result in results if result["result"] == "applied")}


if __name__ == "__main__":
    asyncio.run(obey(answer))
