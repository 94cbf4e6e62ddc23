"""The link by which the first operator of an installation on embedded stores is made."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

import structlog

from adapters.postgres.pool import connect, store_is_down
from adapters.postgres.sessions import LINK_MINUTES
from daemon.cli.screen import say
from daemon.lifecycle import Background
from daemon.telemetry.failures import fields

FILE: Final = "first-login"

log = structlog.get_logger(__name__)


class Inviting(Background):
    """A service that, where there is no operator yet, makes a link for the first one: shown on a terminal, or written
    to a file that its owner alone may read. A log is read by many, so the link is not there."""

    def __init__(self, database_url: str, data_dir: Path) -> None:
        super().__init__("inviting", self._run)
        self._database_url = database_url
        self._file = data_dir / FILE
        self._url = ""
        self._known = asyncio.Event()

    def at(self, url: str) -> None:
        """The daemon is reached at *url* now."""
        self._url = url
        self._known.set()

    def stop(self) -> None:
        """See Service."""
        self._known.set()
        super().stop()

    async def _run(self, stop: asyncio.Event) -> None:
        await self._known.wait()
        if not stop.is_set():
            try:
                await self._invite()
            except Exception as exc:  # the daemon serves without: `ferryman users add` makes an operator too
                if not store_is_down(exc):
                    raise
                log.warning("daemon.first_login_failed", **fields(exc))
        await stop.wait()

    async def _invite(self) -> None:
        from daemon.operator.logins import first_link  # with the library of passwords, which a start need not wait for

        async with connect(self._database_url, size=1, name="ferryman-inviting") as pool:
            token = await first_link(pool)
        if token is None:
            self._file.unlink(missing_ok=True)
            return
        link = f"{self._url}/link/{token}"
        if sys.stderr.isatty():
            say(f"make the first operator within {LINK_MINUTES} minutes: {link}", err=True)
            return
        write_for_owner(self._file, link + "\n")
        log.info("daemon.first_login", file=str(self._file), minutes=LINK_MINUTES)


def write_for_owner(path: Path, text: str) -> None:
    """Put *text* in the place of the file *path*, which nobody but its owner could read at any time."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
