"""Files that people send through Twilio: at an address of its API, which asks for the account's password.

https://www.twilio.com/docs/messaging/api/media-resource. It redirects to another host, which gets no password. An
address of any other host gets none either, whoever has signed it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping

from yarl import URL

from adapters.conversation_ports import TokenFiles
from adapters.ports import FetchedFile


class TwilioMedia:
    """The `MediaSource` of an account. *account* gives its `url`, `account_sid` and `auth_token`."""

    def __init__(self, files: TokenFiles, *, account: Callable[[], Mapping[str, str]]) -> None:
        self._files = files
        self._account = account

    async def fetch(self, url: str | None, media_id: str | None, most_bytes: int) -> FetchedFile | None:
        """See `MediaSource`."""
        account = self._account()
        if url is None or not _is_of(url, account["url"]):
            return None
        password = b64encode(f"{account['account_sid']}:{account['auth_token']}".encode()).decode()
        return await self._files.fetch(url, most_bytes, {"Authorization": f"Basic {password}"})


def _is_of(url: str, own: str) -> bool:
    try:
        return URL(url).origin() == URL(own).origin()
    except ValueError:
        return False
