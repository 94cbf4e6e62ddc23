"""Answers that are made often: to a webhook that was accepted, 202 and the ids of its events; to replicas."""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from adapters.ports import Answer

_HEAD: Final = "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nDate: {date}\r\n\r\n"


class Whole(web.Response):
    """JSON as an answer. On an ordinary HTTP/1.1 connection it writes head and body in one piece: to build an answer
    header by header takes as long as to read an order."""

    def __init__(self, body: bytes, status: HTTPStatus) -> None:
        super().__init__(body=body, status=status, content_type="application/json")
        self._line = f"{int(status)} {status.phrase}"
        self._whole = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the answer, or leave it to the server where the connection is to end. Raises: ConnectionResetError."""
        plain = request.version == HttpVersion11 and request.keep_alive and request.method != "HEAD"
        if not plain or self.keep_alive is False:
            return await super().prepare(request)
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the sender is gone")
        body = self.body
        assert isinstance(body, bytes)
        head = _HEAD.format(status=self._line, length=len(body), date=_date(int(time.time())))
        transport.write(head.encode() + body)
        self._whole = True
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """End the answer."""
        if not self._whole:
            await super().write_eof(data)

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection stays open."""
        return True if self._whole else super().keep_alive


class Accepted(Whole):
    """Says which events are durable."""

    def __init__(self, event_ids: Sequence[str]) -> None:
        super().__init__(orjson.dumps({"event_ids": event_ids}), HTTPStatus.ACCEPTED)


def plain(answer: Answer) -> web.Response:
    """*answer* of a source as a response."""
    if not answer.body:
        return web.Response(status=answer.status)
    return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
