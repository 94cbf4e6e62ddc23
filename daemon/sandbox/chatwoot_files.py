"""The files of the Chatwoot simulator: an address that redirects to the store, which asks for no token."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from daemon.sandbox.chatwoot_account import Account
from daemon.sandbox.chatwoot_views import BLOBS

STORE: Final = "/rails/active_storage/disk"


@dataclass(slots=True, kw_only=True)
class FileSwitches:
    """*late*: so many requests for a file are answered 404 first, as it is still being uploaded. *target*: what is
    redirected to in place of the file in the store: any address; None: that file. *asked*: how often, by the file's
    id."""

    late: int = 0
    target: str | None = None
    asked: Counter[int] = field(default_factory=Counter)


class ChatwootFiles:
    """Serves what messages of *account* have."""

    def __init__(self, account: Account) -> None:
        self.switches = FileSwitches()
        self._account = account

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [
            web.get(f"{BLOBS}/{{signed}}/{{name}}", self._redirect),
            web.get(f"{STORE}/{{signed}}/{{name}}", self._file),
        ]

    async def _redirect(self, request: web.Request) -> web.StreamResponse:
        id, _ = self._found(request)
        self.switches.asked[id] += 1
        if self.switches.asked[id] <= self.switches.late:
            raise web.HTTPNotFound
        here = str(request.rel_url.with_query(None)).replace(BLOBS, STORE, 1)
        raise web.HTTPFound(self.switches.target or self._account.files_at + here)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        _, (_, kind, body) = self._found(request)
        return web.Response(body=body, headers={"Content-Type": kind})

    def _found(self, request: web.Request) -> tuple[int, tuple[str, str, bytes]]:
        """The file's id, and the file. Raises: web.HTTPNotFound."""
        id = request.match_info["signed"].removeprefix("signed-")
        number, at = divmod(int(id), 10) if id.isdecimal() else (0, 0)
        for _, message in self._account.messages():
            if message.id == number and at < len(message.attachments):
                return int(id), message.attachments[at]
        raise web.HTTPNotFound
