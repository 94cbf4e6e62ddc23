"""Restoring a backup: made whole beside what is there, and put in its place only then."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from adapters.postgres import audit_log
from adapters.postgres.audit_log import Logged
from adapters.postgres.bus import pauses
from adapters.postgres.migrate import migrate, migrations
from adapters.postgres.pool import connect, single_connection
from daemon.operator.backup import container, hooks
from daemon.operator.backup.container import DUMP, EVENTS, FILES, Manifest, NotABackup
from daemon.operator.backup.hooks import Restored
from daemon.operator.backup.taking import require_embedded
from daemon.operator.backup.waiting import Count, put_back
from daemon.settings.model import Settings
from daemon.stores.embedded import dumps, layout
from daemon.stores.embedded.servers import embedded, owned, usable

SENDS: Final = "outbound-messaging"
"""The worker that stands still after a restore: it cannot know what was sent since the backup."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a restore has done. *events*: how many wait in the spool. *lacking*: events whose payload is nowhere.
    *held*: whether messages are held back. *replaced*: where what was there is now; None: nothing was there."""

    manifest: Manifest
    events: int
    lacking: int
    held: bool
    replaced: Path | None


async def fit(settings: Settings, path: Path) -> Manifest:
    """The manifest of the backup at *path*, once it has proved whole and fit for this program. Changes nothing. Raises:
    NotABackup, NotEmbedded, EmbeddedError."""
    require_embedded(settings)
    manifest = container.check(path)
    known, programs = migrations()[-1].version, await dumps.major(system=settings.ferryman_embedded == "system")
    if manifest.schema > known:
        raise NotABackup(f"{path} is of a newer Ferryman ({manifest.ferryman}): restore it with that version")
    if manifest.postgres > programs:
        raise NotABackup(f"{path} is of PostgreSQL {manifest.postgres}, and this is {programs}: update PostgreSQL")
    return manifest


def there(settings: Settings) -> list[str]:
    """What a restore would replace."""
    found = sorted(path.name for path in layout.own(settings.ferryman_data_dir))
    return found or [layout.READY] * layout.restored(settings.ferryman_data_dir)


async def restore(settings: Settings, path: Path, manifest: Manifest, *, actor: str, now: datetime, hold: bool) -> Done:
    """Put the backup at *path*, whose *manifest* `fit` gave, in the place of the installation of *settings*: all of it
    or nothing, also when this process is killed. *hold*: no message is sent until the worker is resumed.

    Raises: EmbeddedError where a daemon runs there, or there is no room; NotABackup; what the hooks raise.
    """
    data_dir = settings.ferryman_data_dir
    with usable(data_dir), owned(data_dir):
        layout.settle(data_dir)
        partial = data_dir / layout.PARTIAL
        try:
            with container.opened(path) as tar:
                count = await _make(settings, partial, tar, manifest, actor, hold)
            layout.commit(data_dir, replaced := f"{now:%Y%m%dT%H%M%SZ}")
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        layout.settle(data_dir)
        aside = data_dir / (layout.REPLACED + replaced)
        return Done(manifest, count.events, count.unread, hold, aside if aside.is_dir() else None)


async def _make(
    settings: Settings, partial: Path, tar: tarfile.TarFile, manifest: Manifest, actor: str, hold: bool
) -> Count:
    """Make the installation of the backup in *partial*; its servers have ended when it is made."""
    system, own_redis = settings.ferryman_embedded == "system", settings.redis_url is None
    async with embedded(partial, redis=own_redis, system=system) as servers:
        assert servers.database_url is not None
        parts = {member.name: member for member in tar}
        for name in manifest.files:
            _write(partial / name, container.chunks(tar, parts[FILES + name]))
        await dumps.load(servers.database_url, container.chunks(tar, parts[DUMP]), system=system)
        async with single_connection(servers.database_url) as connection:
            await migrate(connection)
        async with connect(servers.database_url, size=2, name="ferryman-restore") as pool:
            count = await put_back(pool, container.chunks(tar, parts[EVENTS]))
            if hold:
                await pauses.pause(pool, SENDS)
            redis_url = servers.redis_url or (settings.redis_url.get_secret_value() if settings.redis_url else "")
            here = settings.model_copy(update={"ferryman_data_dir": partial})
            for again in hooks.AFTER_RESTORE:
                await again(Restored(here, pool, redis_url, settings.ferryman_data_dir, actor))
            detail = {"taken_at": manifest.taken_at.isoformat(), "events": count.events, "held": hold}
            async with pool.acquire() as conn, conn.transaction():
                await audit_log.add(
                    conn, [Logged(actor, "restore", f"backup:{manifest.taken_at:%Y%m%dT%H%M%SZ}", detail)]
                )
        return count


def _write(path: Path, content: Iterable[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        for chunk in content:
            file.write(chunk)


def telling(done: Done) -> list[str]:
    """What an operator has to know after a restore, a line each."""
    said = [f"restored as of {done.manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC: all that was accepted before is here"]
    if done.events:
        said.append(f"{done.events} events that were in no table go to the workers first")
    if done.lacking:
        said.append(f"{done.lacking} events lack their payload: the backup does not have it")
    if done.held:
        said.append(
            "no message goes out yet, as some may have been sent since the backup: look,"
            f" then `ferryman resume {SENDS}`"
        )
    if done.replaced is not None:
        said.append(f"what was there is in {done.replaced}: delete it when it is not needed any more")
    return said
