"""The load generator of `tests.bench.intake`: 64 kept connections that send prepared orders one after another."""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import uvloop
from standardwebhooks import Webhook

from daemon.sandbox.orders import make_order
from tests.bench.rig import obey

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.I)
_HEAD: Final = (
    "POST /webhooks/orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    "User-Agent: bench\r\nAccept: */*\r\nContent-Length: {}\r\n"
)


# Of the United States, with the exchange 555-01XX that is kept for fiction.
_AREAS: Final = (201, 202, 203, 205, 206, 207, 208, 209, 210, 212, 213, 214, 215, 216, 217, 218, 219, 224, 225, 228)


def _buyer(n: int) -> dict[str, Any]:
    """Branch and phone of the *n*-th order: no number is seen again before some thousand others."""
    branch = ("il", "ru", "kz", "co")[n % 4]
    if branch != "co":
        return {"branch": branch}
    return {"branch": branch, "phone": {"code": "1", "number": f"{_AREAS[n // 400 % 20]}55501{n // 4 % 100:02d}"}}


_PRODUCT: Final = ("name", "country", "docType", "docName", "intent", "entries", "validity")


def _brief(order: dict[str, Any]) -> dict[str, Any]:
    """*order* without its applicants and its form's details: some 600 bytes."""
    form = order["form"]
    kept = {name: form[name] for name in ("id", "country", "client", "quantity", "urgency")}
    return {"form": {**kept, "product": {name: form["product"][name] for name in _PRODUCT}}, "order": order["order"]}


def prepared(count: int, secret: str, key: str, *, brief: bool) -> list[tuple[bytes, bytes, bytes]]:
    """(signed head, head with the key, body) of *count* orders of different ids and buyers."""
    rng, webhook, now = random.Random(1), Webhook(secret), datetime.now(UTC)
    found = []
    for n in range(count):
        order = make_order(rng, n, order_id=f"BENCH-{n}", **_buyer(n))
        text = json.dumps(_brief(order) if brief else order, ensure_ascii=False, separators=(",", ":"))
        body = text.encode()
        head, message = _HEAD.format(len(body)), f"msg_{n:032x}"
        signed = (
            f"webhook-id: {message}\r\nwebhook-timestamp: {int(now.timestamp())}\r\n"
            f"webhook-signature: {webhook.sign(message, now, text)}\r\n\r\n"
        )
        found.append(((head + signed).encode(), f"{head}X-API-Key: {key}\r\n\r\n".encode(), body))
    return found


class Sender(asyncio.Protocol):
    """One connection: the next request goes out when the answer to the last one is whole."""

    def __init__(self, requests: Iterator[bytes], until: float, seen: Counter[int], waits: list[float]) -> None:
        self._requests = requests
        self._until = until
        self._seen = seen
        self._waits = waits
        self._held = b""
        self._sent = 0.0
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._held += data
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._held, 0, end)
        if length is None or len(self._held) < end + 4 + int(length[1]):
            return
        self._seen[int(self._held[9:12])] += 1
        self._waits.append(time.perf_counter() - self._sent)
        self._held = b""
        self._next()

    def _next(self) -> None:
        self._sent = time.perf_counter()
        request = next(self._requests, None) if self._sent < self._until else None
        if request is None:
            self._transport.close()
        else:
            self._transport.write(request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def _main(count: int, secret: str, key: str) -> None:
    both = {brief: prepared(count, secret, key, brief=brief) for brief in (False, True)}

    async def answer(question: dict[str, Any]) -> dict[str, Any]:
        orders = both[bool(question["brief"])]
        which = 1 if question.get("proof") == "key" else 0
        requests = iter([order[which] + order[2] for order in orders])
        seen, waits = Counter[int](), list[float]()
        loop, began = asyncio.get_running_loop(), time.perf_counter()
        until = began + float(question["seconds"])
        senders = [
            loop.create_connection(lambda: Sender(requests, until, seen, waits), "127.0.0.1", question["port"])
            for _ in range(question["connections"])
        ]
        made = await asyncio.gather(*senders)
        await asyncio.gather(*(sender.ended for _, sender in made))
        seconds = time.perf_counter() - began
        waits.sort()
        return {
            "requests": seen.total(),
            "seconds": seconds,
            "statuses": seen,
            "p50_ms": 1000 * waits[len(waits) // 2],
            "p99_ms": 1000 * waits[len(waits) * 99 // 100],
            "body_bytes": sum(len(order[2]) for order in orders) // len(orders),
        }

    await obey(answer)


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
