"""`/api/v1/openapi.json` and `/api/v1/docs`: the document of the API, for programs and for people.

Neither asks for a token. They say what this version of the program can do, and nothing of the installation; a browser
that opens the page has no bearer token to send, nor have the tools that read the document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import orjson
from aiohttp import web

from daemon.api.description import JSON, described, described_routes
from daemon.api.openapi import document
from daemon.api.page import INDEX, POLICY, pages
from daemon.version import version
from daemon.web.problems import problem

DOCUMENT_PATH: Final = "/api/v1/openapi.json"
PAGE_PATH: Final = "/api/v1/docs"
_KEPT: Final = "public, max-age=300"


class Reference:
    """Serves the document of *routes* and of itself. It is made when it is first asked for."""

    def __init__(self, routes: Sequence[web.RouteDef]) -> None:
        self._routes = [*routes, *self.routes()]

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.get(DOCUMENT_PATH, self._document),
            web.get(PAGE_PATH, self._page),
            web.get(PAGE_PATH + "/{group}", self._group),
        ]

    @cached_property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return document(described_routes(self._routes), version())

    @cached_property
    def _pages(self) -> Mapping[str, bytes]:
        return {name: page.encode() for name, page in pages(self.document).items()}

    @described("This API as an OpenAPI document", gives=JSON)
    async def _document(self, request: web.Request) -> web.Response:
        headers = {"Cache-Control": _KEPT, "X-Content-Type-Options": "nosniff"}
        return web.Response(body=orjson.dumps(self.document), content_type=JSON, headers=headers)

    @described("This API as a page for people: every route", gives="text/html")
    async def _page(self, request: web.Request) -> web.Response:
        return self._html(INDEX)

    @described("The routes of one group, with what they take and give", gives="text/html")
    async def _group(self, request: web.Request) -> web.Response:
        group = request.match_info["group"]
        if group not in self._pages:
            return problem(404, f"there is no group of this name: see {PAGE_PATH}")
        return self._html(group)

    def _html(self, name: str) -> web.Response:
        headers = {
            "Cache-Control": _KEPT,
            "Content-Security-Policy": POLICY,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }
        return web.Response(body=self._pages[name], content_type="text/html", charset="utf-8", headers=headers)
