"""Files that people send to a number of Meta's: first their place, then what is there, both with the token.

https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/media: an id is kept
for seven days, a place for five minutes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import orjson
from yarl import URL

from adapters.conversation_ports import TokenFiles
from adapters.http import coded
from adapters.ports import FetchedFile
from schemas.errors import Refused

HOSTS: Final = (".fbsbx.com", ".facebook.com", ".whatsapp.net", ".fbcdn.net")
"""How the hosts end that Meta keeps files at: the token goes to no other."""

_MOST_TOLD: Final = 65_536
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")


class MetaMedia:
    """The `MediaSource` of an account. *account* gives its `url` (with the version of the API) and `access_token`."""

    def __init__(self, files: TokenFiles, *, account: Callable[[], Mapping[str, str]]) -> None:
        self._files = files
        self._account = account

    async def fetch(self, url: str | None, media_id: str | None, most_bytes: int) -> FetchedFile | None:
        """See `MediaSource`."""
        if media_id is None or not _ID.fullmatch(media_id):
            return None
        account = self._account()
        headers = {"Authorization": f"Bearer {account['access_token']}"}
        told = await self._files.fetch(f"{account['url'].rstrip('/')}/{media_id}", _MOST_TOLD, headers)
        return await self._files.fetch(_place_in(told.body, account["url"]), most_bytes, headers)


def _place_in(body: bytes, own: str) -> str:
    """Where the file is. *own*: the address of the API. Raises: Refused."""
    try:
        place = URL(orjson.loads(body)["url"])
        sound = place.scheme == "https" and (place.host or "").endswith(HOSTS)
        if sound or place.origin() == URL(own).origin():
            return str(place)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        pass
    raise coded(Refused("Meta names no place of the file that is its own"), "no-place")
