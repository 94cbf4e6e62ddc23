"""A server of files that behaves as it is told to, and a network in which made-up names lead to it."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Self

import aiohappyeyeballs
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

JPEG: Final = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01" + b"\x00" * 200 + b"\xff\xd9"
PNG: Final = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + b"\x00" * 100
PDF: Final = b"%PDF-1.7\n1 0 obj\n%%EOF\n"
HTML: Final = b"<!DOCTYPE html><html><body>Please log in</body></html>"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FileServer:
    """The server, as an async context manager. *files*: path -> the body that is answered, or what answers. *asked*:
    how often each path was asked for. *headers*: of the last request."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | Handler] = {}
        self.asked: Counter[str] = Counter()
        self.headers: dict[str, str] = {}
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Its address, which is a private one."""
        return f"http://127.0.0.1:{self.port}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked[request.path] += 1
        self.headers = dict(request.headers)
        found = self.files.get(request.path)
        if found is None:
            return web.Response(status=404)
        if isinstance(found, bytes):
            return web.Response(body=found, content_type="application/octet-stream")
        return await found(request)


def redirect(to: str, status: int = 302) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": to})

    return handler


def answering(status: int = 200, body: bytes = b"", **headers: str) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return handler


def endless(first: bytes = JPEG, pause_s: float = 0.0) -> Handler:
    """A body of no declared length that never ends."""

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(first)
        while True:
            await asyncio.sleep(pause_s)
            await answer.write(b"\0" * 65536)

    return handler


def broken(body: bytes = JPEG) -> Handler:
    """A body that ends before the length that it declares."""

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": str(len(body) + 100)})
        await answer.prepare(request)
        await answer.write(body)
        assert request.transport is not None
        request.transport.close()
        return answer

    return handler


class Names(AbstractResolver):
    """Resolves made-up names. *answers*: name -> the addresses of each answer in turn; the last one stays."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.answers = {name.replace("_", "."): list(given) for name, given in answers.items()}
        self.asked: Counter[str] = Counter()

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        given = self.answers.get(host.rstrip("."))
        if given is None:
            raise OSError(f"no such name: {host}")
        addresses = given[min(self.asked[host], len(given) - 1)]
        self.asked[host] += 1
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None: ...


def internet(monkeypatch: pytest.MonkeyPatch, server: FileServer) -> list[str]:
    """From now on every connection of this process's client ends at *server*, whatever address it is to. Returns the
    addresses that were dialled, which grow."""
    dialled: list[str] = []
    start = aiohappyeyeballs.start_connection

    async def connect(addr_infos: Sequence[Any], **how: Any) -> socket.socket:
        dialled.append(addr_infos[0][4][0])
        here = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", server.port))
        return await start([here], **how)

    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", connect)
    return dialled
