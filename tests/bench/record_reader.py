"""A program of its own that pulls records for the benchmarks, over one connection and as plainly as can be."""

from __future__ import annotations

import asyncio
import http.client
import time
from typing import Any
from urllib.parse import quote

import orjson

from tests.bench.rig import obey

BUFFER = 1 << 20


class _Connection:
    def __init__(self, port: int, token: str) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port)
        self._headers = {"Authorization": f"Bearer {token}"}

    def get(self, path: str) -> bytes:
        self._http.request("GET", path, headers=self._headers)
        answer = self._http.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {body[:300]!r}")
        return body


def pulled(connection: _Connection, path: str) -> int:
    """All changes of a first sync, each page parsed; returns how many there are."""
    query, count = "", 0
    while True:
        page = orjson.loads(connection.get(f"{path}?limit=1000{query}"))
        count += len(page["changes"])
        if not page["more"]:
            return count
        query = f"&since={quote(page['cursor'])}"


def copied(connection: _Connection, path: str) -> int:
    """All lines of an answer, each parsed; returns how many there are."""
    return sum(1 for line in connection.get(path).splitlines() if orjson.loads(line)["record_id"])


def repeated(connection: _Connection, path: str, count: int) -> list[float]:
    """Seconds of each of *count* equal requests."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        connection.get(path)
        took.append(time.perf_counter() - began)
    return took


async def answer(question: dict[str, Any]) -> dict[str, Any]:
    connection, path = _Connection(question["port"], question["token"]), question["path"]
    began = time.perf_counter()
    match question["what"]:
        case "pull":
            count = pulled(connection, path)
        case "copy":
            count = copied(connection, path)
        case "get":
            return {"body": connection.get(path).decode()}
        case _:
            return {"took": repeated(connection, path, question["count"])}
    return {"count": count, "seconds": time.perf_counter() - began}


if __name__ == "__main__":
    asyncio.run(obey(answer))
