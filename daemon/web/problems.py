"""Errors over HTTP: RFC 9457 problem documents that say what to do and repeat nothing of the request."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web


def problem(
    status: int,
    detail: str,
    *,
    type: str = "about:blank",
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> web.Response:
    """A problem document. *detail*: what is wrong and what to do. *type*: its short name, where programs tell it from
    others of its status. *members*: more of it, for programs."""
    body = {"type": type, "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    body |= members or {}
    return web.Response(
        body=orjson.dumps(body), status=status, content_type="application/problem+json", headers=headers
    )
