"""A file that replaces what is stored: the new data alone, or the document that `show --json` printed, mended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from schemas.errors import FerrymanError

_OF_AN_EVENT: Final = {"id", "type", "source", "endings", "data"}
"""Members that only the document of an event has all of."""


class OtherDocument(FerrymanError):
    """The file is the document of something else."""


def new_data(file: bytes, document_of: Mapping[str, object], member: str) -> bytes:
    """The data that *file* holds: its *member* where it is a document, else all of it. *document_of*: what such a
    document says of the thing that is edited. Raises: OtherDocument."""
    try:
        document = orjson.loads(file)
    except orjson.JSONDecodeError:
        return file
    if isinstance(document, dict) and document.keys() >= _OF_AN_EVENT:
        raise OtherDocument("the file is what `events show --json` prints: take what `show --json` prints of this one")
    if not isinstance(document, dict) or not {*document_of, member} <= document.keys():
        return file
    if any(document[name] != value for name, value in document_of.items()):
        raise OtherDocument("the file is the document of another one: take what `show --json` prints of this one")
    data = document[member]
    return data.encode() if isinstance(data, str) else orjson.dumps(data)
