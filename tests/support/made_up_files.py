"""A `Files` without a network: it has the files that it is given."""

from __future__ import annotations

from collections import Counter
from typing import Final

from adapters.file_types import content_type
from adapters.files import name_of
from adapters.ports import FetchedFile
from schemas.errors import FerrymanError, Refused


class MadeUpFiles:
    """*files*: address -> the bytes there, or the error. *fetched*: how often each address was asked for."""

    def __init__(self, **files: bytes | FerrymanError) -> None:
        self.files: dict[str, bytes | FerrymanError] = dict(files)
        self.fetched: Counter[str] = Counter()
        self.caps: list[int] = []

    async def fetch(self, url: str, most_bytes: int) -> FetchedFile:
        """See `Files`."""
        self.fetched[url] += 1
        self.caps.append(most_bytes)
        found = self.files.get(url, Refused("the file's server answers HTTP 404"))
        if isinstance(found, FerrymanError):
            raise found
        if len(found) > most_bytes:
            raise Refused("the file is larger than it may be")
        kind = content_type(found)
        return FetchedFile(name_of(url, kind), kind, found)


NO_FILES: Final = MadeUpFiles()
"""For tests in which nothing is fetched."""
