"""Errors over HTTP: RFC 9457 problem documents that say what to do and repeat nothing of the request."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from aiohttp import web


def problem(status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> web.Response:
    """A problem document. *detail*: what is wrong and what to do."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return web.Response(
        body=orjson.dumps(body), status=status, content_type="application/problem+json", headers=headers
    )
