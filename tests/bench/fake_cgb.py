"""A CGB of a few microseconds per request, or of as many seconds as its argument says, for `tests.bench.contact_sync`
and `slow_cgb`: every order makes a new contact."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Any, Final

import orjson
import uvloop

from daemon.sandbox.cgb_account import Account
from tests.bench.rig import obey

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.I)
_FIELDS: Final = orjson.dumps([
    {"id": field_id, "name": name, "type": kind, "description": ""}
    for name, (field_id, kind) in Account().fields.items()
])  # fmt: skip


def _answer(body: bytes) -> bytes:
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\r\n"
    return head.format(len(body)).encode() + body


class FakeCgb(asyncio.Protocol):
    """One connection."""

    count = 0
    answer_s = 0.0

    def __init__(self) -> None:
        self._held = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._held, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._held) < whole:
                return
            head, body, self._held = self._held[:end], self._held[end + 4 : whole], self._held[whole:]
            FakeCgb.count += 1
            said = _answer(self._said(head.split(b" ", 2)[1], body))
            if self.answer_s:
                asyncio.get_running_loop().call_later(self.answer_s, self._transport.write, said)
            else:
                self._transport.write(said)

    @staticmethod
    def _said(path: bytes, body: bytes) -> bytes:
        if body:
            return b'{"success":true,"data":{"id":"%s"}}' % orjson.loads(body)["phone"].encode()
        if path.endswith(b"/custom_fields"):
            return _FIELDS
        return b'{"id":%s,"page_id":100001,"phone":"","first_name":"","custom_fields":[]}' % path.rsplit(b"/", 1)[1]


async def _main() -> None:
    server = await asyncio.get_running_loop().create_server(FakeCgb, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def answer(_: dict[str, Any]) -> dict[str, Any]:
        return {"url": f"http://127.0.0.1:{port}/api", "requests": FakeCgb.count}

    await obey(answer)


if __name__ == "__main__":
    FakeCgb.answer_s = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
    uvloop.run(_main())
