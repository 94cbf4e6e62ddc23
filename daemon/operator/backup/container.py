"""The file of a backup: a tar with the dump, the events that no table has, the other files, and last the manifest.

Parts are written as they come: their length is put into their header afterwards, so a backup needs its room once. The
manifest has the length and the SHA-256 of each, and nothing is believed of a file without one that fits.
"""

from __future__ import annotations

import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final

import orjson

from schemas.errors import FerrymanError

FORMAT: Final = 1
DUMP: Final = "database.dump"
EVENTS: Final = "events.jsonl"
FILES: Final = "files/"
MANIFEST: Final = "manifest.json"

_BLOCK: Final = 512
_MOST_MANIFEST: Final = 256 << 20


class NotABackup(FerrymanError):
    """The file is no backup that can be restored here; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a backup, as the manifest has it."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself. *taken_at*: everything that was accepted before is in it. *ferryman*: the version
    of the program. *postgres*: the major version of pg_dump. *schema*: the number of the last migration. *partitions*:
    of the bus. *events*: how many wait in no table; *unread*: entries of the streams that are no events."""

    format: int
    taken_at: datetime
    ferryman: str
    postgres: int
    schema: int
    partitions: int
    events: int
    unread: int
    parts: dict[str, Part]

    @property
    def files(self) -> list[str]:
        """The other files, by their paths in the data directory."""
        return [name.removeprefix(FILES) for name in self.parts if name.startswith(FILES)]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Writer:
    """Writes a backup into *file*, which is empty."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.parts: dict[str, Part] = {}

    async def add(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """Add the part *name*. Raises: OSError, and what *chunks* raise."""
        start = self._file.tell()
        self._file.write(_header(name, 0))
        size, digest = 0, sha256()
        async for chunk in chunks:
            size += len(chunk)
            digest.update(chunk)
            self._file.write(chunk)
        self._file.write(bytes(-size % _BLOCK))
        end = self._file.tell()
        self._file.seek(start)
        self._file.write(_header(name, size))
        self._file.seek(end)
        self.parts[name] = Part(size, digest.hexdigest())

    def close(self, manifest: Manifest) -> None:
        """Add the manifest, and end the file."""
        text = orjson.dumps(manifest.document(), option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z)
        self._file.write(_header(MANIFEST, len(text)) + text + bytes(-len(text) % _BLOCK + 2 * _BLOCK))


def _header(name: str, size: int) -> bytes:
    """The header of a part: equally long whatever *size* is."""
    told = tarfile.TarInfo(name)
    told.size, told.mode = size, 0o600
    return told.tobuf(tarfile.GNU_FORMAT)


@contextmanager
def opened(path: Path) -> Iterator[tarfile.TarFile]:
    """The backup at *path*. Raises: NotABackup, also for what reading it raises."""
    try:
        with tarfile.open(path, "r:") as tar:
            yield tar
    except OSError as exc:
        raise NotABackup(f"{path} cannot be read ({exc.strerror or type(exc).__name__}): name a backup") from exc
    except (tarfile.TarError, EOFError) as exc:
        raise NotABackup(f"{path} is no backup, or was cut short: take another one") from exc


def check(path: Path) -> Manifest:
    """The manifest of the backup at *path*, after every part of it has proved whole. Raises: NotABackup."""
    found: dict[str, Part] = {}
    manifest: Manifest | None = None
    with opened(path) as tar:
        for member in tar:
            if manifest is not None or not member.isreg() or not _plain(member.name) or member.name in found:
                raise NotABackup(f"{path} holds what no backup holds: take another one")
            if member.name == MANIFEST and member.size <= _MOST_MANIFEST:
                manifest = _manifest(path, b"".join(chunks(tar, member)))
            else:
                found[member.name] = _measured(chunks(tar, member))
    if manifest is None:
        raise NotABackup(f"{path} is no backup, or was cut short: take another one")
    changed = sorted(name for name, _ in set(manifest.parts.items()) ^ set(found.items()))
    if changed:
        raise NotABackup(f"{path} is damaged ({changed[0]} is not what it was): take another one")
    return manifest


def chunks(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    """The content of a part. Raises: tarfile.ReadError where there is less than its header says."""
    file = tar.extractfile(member)
    assert file is not None
    left = member.size
    while left:
        chunk = file.read(min(1 << 20, left))
        if not chunk:
            raise tarfile.ReadError("cut short")
        left -= len(chunk)
        yield chunk


def _measured(content: Iterator[bytes]) -> Part:
    size, digest = 0, sha256()
    for chunk in content:
        size += len(chunk)
        digest.update(chunk)
    return Part(size, digest.hexdigest())


def _plain(name: str) -> bool:
    """Whether a part of this name stays where it is put."""
    return not name.startswith("/") and all(word not in ("", ".", "..") for word in name.split("/"))


def _manifest(path: Path, text: bytes) -> Manifest:
    try:
        told = orjson.loads(text)
        if told["format"] > FORMAT:
            raise NotABackup(f"{path} is of a newer Ferryman ({told['ferryman']}): restore it with that version")
        parts = {str(name): Part(int(one["size"]), str(one["sha256"])) for name, one in told.pop("parts").items()}
        return Manifest(parts=parts, taken_at=datetime.fromisoformat(told.pop("taken_at")), **told)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as exc:
        raise NotABackup(f"{path} has no manifest that can be read: take another one") from exc
