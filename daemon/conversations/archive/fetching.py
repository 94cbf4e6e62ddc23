"""Fetching the files of messages, from wherever a message says that they are."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from yarl import URL

from adapters.channel import channel_of
from adapters.ports import Files
from daemon.conversations.archive.media import Source
from schemas.conversations import CHATWOOT
from schemas.credentials import DEFAULT
from schemas.errors import ChannelDown, Refused, Transient

if TYPE_CHECKING:
    from adapters.channel import Channels
    from adapters.ports import FetchedFile
    from daemon.settings.model import Settings

FILE_CHANNELS: Final[Mapping[str, str]] = {name: f"{name}-files" for name in (CHATWOOT, "meta", "twilio", "whapi")}
"""System -> the channel of the files that it keeps, which its redirects may take from another server. It is another one
than that of its messages: a file server that is away holds up no message."""

_AWAY: Final = frozenset({"no-connection", "no-answer", "connection-broke", "http-502", "http-503", "http-504"})
"""Codes that tell of a server that is away. Any other failure is the file's own."""

_HOSTLESS: Final = re.compile(r"https?:///|/(?!/)")
"""How an address begins that Chatwoot has made without knowing its own."""


class Fetching:
    """Fetches files by *files*, and what providers keep as *media* says. Those of our own Chatwoot and of providers go
    through *channels*: an outage of such a system costs no attempt. An account has a channel of its own."""

    def __init__(
        self,
        files: Files,
        channels: Channels,
        settings: Settings,
        media: Callable[[str, str | None, str | None], Awaitable[Source | None]] | None = None,
    ) -> None:
        self._files = files
        self._channels = channels
        self._media = media
        self._most = settings.ferryman_attachment_max_bytes
        self._base = settings.chatwoot_base_url
        self._own = None if self._base is None else URL(self._base).origin()

    async def fetch(
        self, system: str, url: str | None, media_id: str | None, number: str | None = None
    ) -> FetchedFile | None:
        """The file of *system* at *url*, or by its *media_id* there; None where it is not fetched so. *number*: ours,
        that it came to.

        Raises: Transient, Refused; ChannelClosed, ChannelDown where the system is away, or refuses our token.
        """
        source = None if self._media is None else await self._media(system, number, url)
        if source is not None:
            files, most = source.files, self._most
            found = await self._through(system, lambda: files.fetch(url, media_id, most), source.account)
            if found is not None:
                return found
        if url is None:
            return None
        whole = with_host(url, self._base if system == CHATWOOT else None)
        if not self._is_own(whole):
            return await self._files.fetch(whole, self._most)
        return await self._through(CHATWOOT, lambda: self._files.fetch(whole, self._most))

    async def _through(
        self, system: str, make: Callable[[], Awaitable[FetchedFile | None]], account: str = DEFAULT
    ) -> FetchedFile | None:
        channel = self._channels[channel_of(FILE_CHANNELS[system], account)]

        async def marked() -> FetchedFile | None:
            try:
                return await make()
            except Transient as error:
                error.answered = error.code not in _AWAY
                raise
            except Refused as error:
                if error.code != "http-401" or system == CHATWOOT:
                    raise
                raise ChannelDown(f"{system} refuses our token for its files", channel=channel.name) from None

        return await channel.call("read", marked)

    def _is_own(self, url: str) -> bool:
        try:
            return URL(url).origin() == self._own
        except ValueError:
            return False


def with_host(url: str, base: str | None) -> str:
    """*url*, with *base* before it where Chatwoot did not know its own address."""
    found = _HOSTLESS.match(url)
    return url if found is None or base is None else f"{base}/{url[found.end() :]}"
