"""The addresses of the pages that an operator can come to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import unescape
from typing import Final
from urllib.parse import urlsplit

from aiohttp import ClientSession, ClientTimeout

from daemon.pages.routes import ROUTES, PageRoute

OF_A_ROUTE: Final = 1
"""So many pages of a route with a place in its path are enough."""

STREAM: Final = re.compile(r"/live$|\.csv$")
"""Routes of parts that a page streams, and of files, which are no pages."""


def page_routes(table: Sequence[PageRoute] = ROUTES) -> list[PageRoute]:
    """The routes that are pages for somebody who has logged in."""
    return [one for one in table if one.method == "GET" and one.role != "anybody" and not STREAM.search(one.path)]


def is_of(route: PageRoute, path: str) -> bool:
    """Whether *path* is an address of *route*."""
    parts = re.split(r"(\{[^}]*\})", route.path)
    return (
        re.fullmatch("".join("[^/?#]+" if part.startswith("{") else re.escape(part) for part in parts), path)
        is not None
    )


async def crawled(url: str, cookies: Mapping[str, str], known: Sequence[str] = ()) -> tuple[str, ...]:
    """The pages at *url* for whom *cookies* are of: each without a place in its path, and of the others those *known*
    and those that links lead to, but no more than OF_A_ROUTE of each. What answers with a file is none."""
    routes = page_routes()
    found = {path: route for path in known for route in routes if "{" in route.path and is_of(route, path)}
    found |= {one.path: one for one in routes if "{" not in one.path}
    waiting = list(found)
    pages = []
    async with ClientSession(cookies=cookies, timeout=ClientTimeout(30)) as session:
        while waiting:
            path = waiting.pop(0)
            async with session.get(url + path) as answer:
                if answer.content_type != "text/html":
                    continue
                pages.append(path)
                text = await answer.text()
            for link in re.findall(r'<a [^>]*href="([^"]+)"', text):
                to = urlsplit(unescape(link)).path
                if to in found or any(one.path == to for one in ROUTES):
                    continue
                route = next((one for one in routes if "{" in one.path and is_of(one, to)), None)
                if route is not None and [*found.values()].count(route) < OF_A_ROUTE:
                    found[to] = route
                    waiting.append(to)
    return tuple(pages)
