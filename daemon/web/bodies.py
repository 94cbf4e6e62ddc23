"""Reads the bodies of webhooks: bounded in bytes and in time, and in all for senders that are not proven yet."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import StreamReader, web

BODY_TIMEOUT_S: Final = 10.0

UNPROVEN_BYTES: Final = 32_000_000
"""Bytes of bodies that are being received for senders whose proof needs the whole body."""

SHARE: Final = 2
"""One address may use a SHARE-th of UNPROVEN_BYTES."""


@dataclass(frozen=True, slots=True)
class Refusal(Exception):
    """Why a request is not accepted. *reason*: from a closed set. *detail*: what the sender should do. *proven*:
    whether its sender was; then the body is kept."""

    status: int
    reason: str
    detail: str
    body: bytes | None = None
    proven: bool = False


class TooMuch(Exception):
    """The bodies of unproven senders take all the memory that they may take."""


class Bodies:
    """Reads bodies of *cap* bytes at most."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self._most = max(UNPROVEN_BYTES, 2 * SHARE * cap)
        self._total = 0
        self._of: Counter[str] = Counter()

    async def read(self, request: web.BaseRequest, *, proven: bool) -> bytes:
        """The whole body. *proven*: whether the sender is known to be true. Raises: Refusal; TooMuch."""
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Refusal(415, "malformed", "send the body without Content-Encoding")
        if request.content_length is not None and request.content_length > self.cap:
            raise self._too_large()
        content = request.content
        try:
            if content.is_eof():  # the body came together with its header: no need to wait
                body = content.read_nowait()
            else:
                async with asyncio.timeout(BODY_TIMEOUT_S):
                    body = await self._received(content, None if proven else request.remote or "")
        except TimeoutError:
            raise Refusal(408, "timeout", f"the body must arrive within {BODY_TIMEOUT_S:.0f} seconds") from None
        except (web.RequestPayloadError, ConnectionError):  # also when the sender went away
            raise Refusal(400, "malformed", "the body did not arrive whole; send it again") from None
        if len(body) > self.cap:
            raise self._too_large()
        return body

    def _too_large(self) -> Refusal:
        return Refusal(413, "too_large", f"the body may have {self.cap} bytes at most")

    async def _received(self, content: StreamReader, unproven: str | None) -> bytes:
        """The whole of *content*, or a little more than *cap* bytes of it. *unproven*: the address of a sender whose
        bytes count, until they are whole."""
        if unproven is None:
            return await _whole(content, self.cap, lambda _: None)
        counted = 0

        def count(size: int) -> None:
            nonlocal counted
            if self._total + size > self._most or (self._of[unproven] + size) * SHARE > self._most:
                raise TooMuch
            counted += size
            self._total += size
            self._of[unproven] += size

        try:
            return await _whole(content, self.cap, count)
        finally:
            self._total -= counted
            self._of[unproven] -= counted
            if not self._of[unproven]:
                del self._of[unproven]


async def _whole(content: StreamReader, cap: int, count: Callable[[int], None]) -> bytes:
    body = bytearray()
    async for chunk in content.iter_any():
        count(len(chunk))
        body += chunk
        if len(body) > cap:
            break
    return bytes(body)
