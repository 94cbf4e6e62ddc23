"""`/api/v1/openapi.json` and `/api/v1/docs`: the document of the API, for programs and for people.

Neither asks for a token. They say what this version of the program can do, and nothing of the installation; a browser
that opens the page has no bearer token to send, nor have the tools that read the document.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

import orjson
from aiohttp import web

from daemon.api.description import JSON, described, described_routes
from daemon.api.openapi import document
from daemon.api.page import POLICY, page
from daemon.version import version

DOCUMENT_PATH: Final = "/api/v1/openapi.json"
PAGE_PATH: Final = "/api/v1/docs"
_KEPT: Final = "public, max-age=300"


class Reference:
    """Serves the document of *routes* and of itself. It is made when it is first asked for."""

    def __init__(self, routes: Sequence[web.RouteDef]) -> None:
        self._routes = [*routes, *self.routes()]

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [web.get(DOCUMENT_PATH, self._document), web.get(PAGE_PATH, self._page)]

    @cached_property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return document(described_routes(self._routes), version())

    @cached_property
    def _html(self) -> bytes:
        return page(self.document).encode()

    @described("This API as an OpenAPI document", gives=JSON)
    async def _document(self, request: web.Request) -> web.Response:
        headers = {"Cache-Control": _KEPT, "X-Content-Type-Options": "nosniff"}
        return web.Response(body=orjson.dumps(self.document), content_type=JSON, headers=headers)

    @described("This API as a page for people", gives="text/html")
    async def _page(self, request: web.Request) -> web.Response:
        headers = {
            "Cache-Control": _KEPT,
            "Content-Security-Policy": POLICY,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }
        return web.Response(body=self._html, content_type="text/html", charset="utf-8", headers=headers)
