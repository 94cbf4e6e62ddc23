"""Files that pages load: style, scripts. A name holds the digest of its file, so that a browser keeps it for ever."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web

if TYPE_CHECKING:
    from daemon.pages.visit import Visit

FOLDER: Final = Path(__file__).parent / "static"

_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Asset(NamedTuple):
    """*name*: with the digest."""

    name: str
    type: str
    body: bytes


@cache
def assets() -> dict[str, Asset]:
    """File name -> asset."""
    found = {}
    for file in sorted(FOLDER.iterdir()):
        if (kind := _TYPES.get(file.suffix)) is not None:
            body = file.read_bytes()
            found[file.name] = Asset(f"{file.stem}.{sha256(body).hexdigest()[:12]}{file.suffix}", kind, body)
    return found


def address(name: str) -> str:
    """Where a page finds the file *name*."""
    return f"/static/{assets()[name].name}"


async def file(visit: Visit) -> web.Response:
    """A file by the name that `address` gives."""
    wanted = visit.request.match_info["name"]
    for asset in assets().values():
        if asset.name == wanted:
            headers = {"Cache-Control": "public, max-age=31536000, immutable"}
            return web.Response(body=asset.body, content_type=asset.type, charset="utf-8", headers=headers)
    raise web.HTTPNotFound(text="There is no such file.")
