"""The load generator of `tests.bench.chatwoot_webhooks`: Chatwoot's webhooks at a steady rate, whatever is answered.

Each request has its moment; what is late to be sent or answered counts from there. So a stall shows in all requests
that it delays, and not in one.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from typing import Any, Final

import uvloop

from adapters.chatwoot.source import signed
from daemon.sandbox.chatwoot_webhooks import PATH, contact, conversation, escaped, last, message
from tests.bench.rig import obey

PEOPLE: Final = 4_000


def bodies(count: int, first: int) -> list[bytes]:
    """Messages of their own ids, as Chatwoot writes them, of some thousand people."""
    found = []
    for n in range(first, first + count):
        digits = f"1{201 + n % PEOPLE // 100:03d}55501{n % 100:02d}"
        who = contact(900 + n % PEOPLE, f"+{digits}")
        talk = conversation(400 + n % PEOPLE, who, digits) | {"messages": [last(n, "sent")]}
        found.append(escaped(message(n, "Write a short post on tidal power", talk)))
    return found


def request(body: bytes, secret: str) -> bytes:
    """The whole request, signed now."""
    headers = signed(body, secret, int(time.time())).headers
    told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n{told}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Lines:
    """Kept connections; a request takes one that is idle, or makes another."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, whole: bytes) -> int:
        """The status of the answer, when all of it is there."""
        line = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = line
        writer.write(whole)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(row.split(b":")[1]) for row in head.lower().split(b"\r\n") if row.startswith(b"content-length")
        )
        await reader.readexactly(length)
        self._idle.append(line)
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


async def _main(secret: str) -> None:
    made = 7_000

    async def answer(question: dict[str, Any]) -> dict[str, Any]:
        nonlocal made
        rate, count = float(question["per_second"]), int(question["count"])
        some, lines = bodies(count, made), Lines(question["port"])
        made += count
        seen, waits = Counter[str](), list[float]()
        began = time.perf_counter() + 0.1

        async def one(place: int) -> None:
            due = began + place / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            seen[str(await lines.post(request(some[place], secret)))] += 1
            waits.append(time.perf_counter() - due)

        await asyncio.gather(*(one(place) for place in range(count)))
        lines.close()
        return {"statuses": seen, "waits_ms": [1000 * wait for wait in waits], "body_bytes": len(some[0])}

    await obey(answer)


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1]))
