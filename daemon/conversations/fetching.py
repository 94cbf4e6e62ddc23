"""Fetching the files of messages, from wherever a message says that they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from yarl import URL

from adapters.ports import Files
from schemas.errors import Transient

if TYPE_CHECKING:
    from adapters.channel import Channel
    from adapters.ports import FetchedFile
    from daemon.settings.model import Settings

CHATWOOT_FILES: Final = "chatwoot-files"
"""The channel of the files of our own Chatwoot, which its redirects may take from another server."""

_AWAY: Final = frozenset({"no-connection", "no-answer", "connection-broke", "http-502", "http-503", "http-504"})
"""Codes that tell of a server that is away. Any other failure is the file's own."""

_HOSTLESS: Final = re.compile(r"https?:///|/(?!/)")
"""How an address begins that Chatwoot has made without knowing its own."""


class Fetching:
    """Fetches files by *files*. Those of our own Chatwoot go through *channel*: an outage of it costs no attempt."""

    def __init__(self, files: Files, channel: Channel, settings: Settings) -> None:
        self._files = files
        self._channel = channel
        self._most = settings.ferryman_attachment_max_bytes
        self._base = settings.chatwoot_base_url
        self._own = None if self._base is None else URL(self._base).origin()

    async def fetch(self, system: str, url: str | None, media_id: str | None) -> FetchedFile | None:
        """The file of *system* at *url*, or by its *media_id* there; None where it is not fetched so.

        Raises: Transient, Refused; ChannelClosed where our own Chatwoot is away.
        """
        if url is None:
            return None
        whole = with_host(url, self._base)
        if not self._is_own(whole):
            return await self._files.fetch(whole, self._most)
        return await self._channel.call("read", lambda: self._marked(whole))

    async def _marked(self, url: str) -> FetchedFile:
        try:
            return await self._files.fetch(url, self._most)
        except Transient as error:
            error.answered = error.code not in _AWAY
            raise

    def _is_own(self, url: str) -> bool:
        try:
            return URL(url).origin() == self._own
        except ValueError:
            return False


def with_host(url: str, base: str | None) -> str:
    """*url*, with *base* before it where Chatwoot did not know its own address."""
    found = _HOSTLESS.match(url)
    return url if found is None or base is None else f"{base}/{url[found.end() :]}"
