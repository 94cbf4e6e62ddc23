"""The load generator of `tests.bench.status_intake`: kept connections that post prepared batches of Meta's statuses."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from itertools import cycle
from typing import Any, Final

import uvloop

from daemon.sandbox.meta_webhooks import PATH, batch, contact, escaped, signature, status, value
from tests.bench.load import Sender
from tests.bench.rig import obey

KINDS: Final = ("sent", "delivered", "read")
_HEAD: Final = (
    f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    "User-Agent: facebookexternalua\r\nAccept: */*\r\nContent-Length: {}\r\nX-Hub-Signature-256: {}\r\n\r\n"
)


def _status(n: int) -> tuple[str, dict[str, Any]]:
    """The person and the status of the *n*-th message: of a person of their own among some thousands."""
    wa_id = f"1{201 + n // 100 % 40:03d}55501{n % 100:02d}"
    more = {
        "biz_opaque_callback_data": f"0d41f00d-0000-4000-8000-{n:012d}",
        "conversation": {"id": f"{n:032x}", "origin": {"type": "utility"}},
        "pricing": {"billable": True, "pricing_model": "PMP", "type": "regular", "category": "utility"},
    }
    return wa_id, status(wa_id, f"wamid.HBgLMTIwMTU1NTAxMDAVAgARGBI{n:020d}AA==", KINDS[n % 3], **more)


def prepared(bodies: int, size: int, secret: str) -> list[bytes]:
    """Requests of *size* statuses each, all different, signed."""
    found = []
    for first in range(0, bodies * size, size):
        made = [_status(n) for n in range(first, first + size)]
        contacts = [contact(wa_id) for wa_id in dict.fromkeys(wa_id for wa_id, _ in made)]
        body = escaped(batch(value(contacts=contacts, statuses=[one for _, one in made])))
        found.append(_HEAD.format(len(body), signature(secret, body)).encode() + body)
    return found


async def _main(count: int, secret: str) -> None:
    made = {size: prepared(count // size, size, secret) for size in (1, 50)}  # more than a measurement takes of one

    async def answer(question: dict[str, Any]) -> dict[str, Any]:
        bodies = made[question["size"]]
        requests = cycle(bodies)
        seen, waits = Counter[int](), list[float]()
        loop, began = asyncio.get_running_loop(), time.perf_counter()
        until = began + float(question["seconds"])
        senders = [
            loop.create_connection(lambda: Sender(requests, until, seen, waits), "127.0.0.1", question["port"])
            for _ in range(question["connections"])
        ]
        ended = await asyncio.gather(*senders)
        await asyncio.gather(*(sender.ended for _, sender in ended))
        seconds = time.perf_counter() - began
        waits.sort()
        return {
            "requests": seen.total(),
            "seconds": seconds,
            "statuses": seen,
            "p50_ms": 1000 * waits[len(waits) // 2],
            "p99_ms": 1000 * waits[len(waits) * 99 // 100],
            "body_bytes": sum(map(len, bodies)) // len(bodies),
        }

    await obey(answer)


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1]), sys.argv[2]))
