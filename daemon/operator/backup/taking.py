"""Taking a backup of an installation on an embedded database, also while its daemon runs."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from adapters.postgres.operator import restored
from adapters.postgres.pool import Pool
from daemon.bus.worker import utc_now
from daemon.operator.backup.container import DUMP, EVENTS, FILES, FORMAT, Manifest, Writer
from daemon.operator.backup.waiting import Count, lines
from daemon.operator.replay import open_bus
from daemon.settings.model import Settings
from daemon.stores.embedded import dumps
from daemon.stores.embedded.layout import beside_the_stores
from daemon.version import version
from schemas.errors import FerrymanError, UsageError

_CHUNK: Final = 1 << 20


class NotEmbedded(UsageError):
    """The database is one of the operator's own, which has its own backups."""


class NotWritten(FerrymanError):
    """The backup cannot be written; the text says why and what to do."""


def require_embedded(settings: Settings) -> None:
    """Raises: NotEmbedded."""
    if settings.database_url is not None:
        raise NotEmbedded(
            "DATABASE_URL names a database of your own, which pg_dump backs up: see *Back up and restore* in"
            " deploy/README.md"
        )


def require_fit(settings: Settings, path: Path) -> None:
    """Raises: NotEmbedded; NotWritten where *path* is there already, or a part of what is to be copied."""
    require_embedded(settings)
    try:
        if path.exists():
            raise NotWritten(f"{path} is there already: name another file")
    except OSError as exc:
        raise NotWritten(f"{path} cannot be written ({exc.strerror}): name a file that can be written") from exc
    if path.resolve().is_relative_to(settings.ferryman_data_dir.resolve()):
        raise NotWritten(f"{path} is in the data directory, which it is a copy of: name a file elsewhere")


async def back_up(settings: Settings, pool: Pool, database_url: str, redis_url: str, path: Path) -> Manifest:
    """Write a backup to *path*, where there is no file yet: it is there whole or not at all, for its owner alone.

    The streams come first and the tables after them: what was accepted before `taken_at` is in one of them. Of what
    came meanwhile some is in it. Raises: NotEmbedded, NotWritten, EmbeddedError, ReplayError during a change of
    partitions; StreamErrors.
    """
    require_fit(settings, path)
    system = settings.ferryman_embedded == "system"
    with _made(path) as file:
        writer, count, taken_at = Writer(file), Count(), utc_now()
        async with open_bus(pool, redis_url, settings.ferryman_partitions) as bus:
            await writer.add(EVENTS, lines(bus, count))
            await writer.add(DUMP, dumps.dump(database_url, system=system))
            for one in beside_the_stores(settings.ferryman_data_dir):
                name = FILES + str(one.relative_to(settings.ferryman_data_dir))
                if (content := _opened(one)) is not None:
                    await writer.add(name, _read(content))
            manifest = Manifest(
                format=FORMAT,
                taken_at=taken_at,
                ferryman=version(),
                postgres=await dumps.major(system=system),
                schema=await restored.schema(pool),
                partitions=bus.partitions,
                events=count.events,
                unread=count.unread,
                parts=writer.parts,
            )
        writer.close(manifest)
    return manifest


@contextmanager
def _made(path: Path) -> Iterator[IO[bytes]]:
    """A new file for *path*, under another name until it is whole and on the disk. What an earlier backup that was
    killed has left there is replaced."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise NotWritten(f"another backup to {path} is under way: wait for its end") from None
            try:
                os.fchmod(fd, 0o600)
                file.truncate()
                yield file
                file.flush()
                os.fsync(fd)
                os.link(partial, path)  # unlike a rename it replaces nothing
            finally:
                partial.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as exc:
        do = "make room there" if exc.errno in (errno.ENOSPC, errno.EDQUOT) else "name a file that can be written"
        raise NotWritten(f"{path} cannot be written ({exc.strerror or type(exc).__name__}): {do}") from exc


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _opened(path: Path) -> IO[bytes] | None:
    """The file, or None where it was deleted since it was seen."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


async def _read(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk
