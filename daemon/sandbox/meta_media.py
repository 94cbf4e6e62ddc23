"""The files of the Meta simulator: what an upload may be, and messages that name one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, Final, NamedTuple

from aiohttp.web import FileField

from daemon.sandbox.meta_rules import Wrong

_MB: Final = 1024 * 1024
MOST_BYTES: Final = 101 * _MB
"""Of a request."""

_MOST: Final[Mapping[str, int]] = {"image": 5 * _MB, "video": 16 * _MB, "audio": 16 * _MB}
_OPENXML: Final = "application/vnd.openxmlformats-officedocument"
_TYPES: Final = (
    "audio/aac", "audio/mp4", "audio/mpeg", "audio/amr", "audio/ogg", "audio/opus", "application/vnd.ms-powerpoint",
    "application/msword", f"{_OPENXML}.wordprocessingml.document", f"{_OPENXML}.presentationml.presentation",
    f"{_OPENXML}.spreadsheetml.sheet", "application/pdf", "text/plain", "application/vnd.ms-excel", "image/jpeg",
    "image/png", "image/webp", "video/mp4", "video/3gpp",
)  # fmt: skip


class File(NamedTuple):
    """A file that was uploaded."""

    name: str
    type: str
    body: bytes


class MetaMedia:
    """*kept*: the files by their ids. *taken*: all that were ever uploaded."""

    def __init__(self) -> None:
        self.kept: dict[str, File] = {}
        self.taken: list[File] = []
        self._ids = count(730011)

    def take(self, form: Mapping[str, Any]) -> str | Wrong:
        """The id of the file of an upload, or why there is none."""
        part = form.get("file")
        if form.get("messaging_product") != "whatsapp" or not isinstance(part, FileField):
            return Wrong(100, "The parameters messaging_product and file are required.")
        if part.content_type not in _TYPES or form.get("type") != part.content_type:
            received = f"Received file of type '{part.content_type}'."
            return Wrong(
                100, f"Param file must be a file with one of the following types: {', '.join(_TYPES)}. {received}"
            )
        file = File(part.filename, part.content_type, part.file.read())
        if not 0 < len(file.body) <= _MOST.get(file.type.partition("/")[0], 100 * _MB):
            return Wrong(131053, "Media upload error: the size of the file is not supported")
        id = str(next(self._ids))
        self.kept[id] = file
        self.taken.append(file)
        return id

    def expire(self) -> None:
        """All files are too old now."""
        self.kept.clear()

    def wrong(self, body: Mapping[str, Any]) -> Wrong | None:
        """Why a message is not taken that names a file which is not here."""
        for kind, part in _files(body):
            if "id" in part and part["id"] not in self.kept:
                return Wrong(100, f"Param {kind}['id'] is not a valid whatsapp business account media attachment ID")
        return None


def _files(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    kinds = ("image", "video", "audio", "document")
    for component in body.get("template", {}).get("components", ()):
        yield from ((kind, one[kind]) for one in component["parameters"] for kind in kinds if kind in one)
    if (kind := str(body.get("type"))) in kinds:
        yield kind, body[kind]
