"""Files that people send to a Whapi channel: those that its webhooks name by an id alone.

https://whapi.readme.io/reference/getmedia: `GET /media/{id}` answers the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from adapters.conversation_ports import TokenFiles
from adapters.ports import FetchedFile

_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,150}")


class WhapiMedia:
    """The `MediaSource` of a channel. *account* gives its `url` and `token`."""

    def __init__(self, files: TokenFiles, *, account: Callable[[], Mapping[str, str]]) -> None:
        self._files = files
        self._account = account

    async def fetch(self, url: str | None, media_id: str | None, most_bytes: int) -> FetchedFile | None:
        """See `MediaSource`: a file that has an address of its own is fetched there."""
        if url is not None or media_id is None or not _ID.fullmatch(media_id) or set(media_id) <= {"."}:
            return None
        account = self._account()
        headers = {"Authorization": f"Bearer {account['token']}"}
        return await self._files.fetch(f"{account['url'].rstrip('/')}/media/{media_id}", most_bytes, headers)
