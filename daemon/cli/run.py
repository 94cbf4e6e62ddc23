"""`ferryman run`."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from pathlib import Path

import structlog

from daemon.app import assembled
from daemon.cli.context import read_settings, run_async
from daemon.lifecycle import stop_on_signals
from daemon.settings.hints import ignored_options
from daemon.settings.model import Settings
from daemon.stores.located import located_stores
from daemon.telemetry import logs
from daemon.telemetry.outlet import Outlet
from daemon.web.place import place

log = structlog.get_logger(__name__)


def run() -> None:
    """Run the daemon until SIGTERM or SIGINT; a second signal ends it at once. Its log has lines for people on a
    terminal, and JSON elsewhere."""
    settings = read_settings()
    terminal = sys.stdout.isatty()
    colors = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    with Outlet(sys.stdout.fileno()) as outlet:
        logs.configure(settings.ferryman_log_level, stream=outlet, human=terminal, colors=colors)
        for name, option in ignored_options(settings):
            log.warning("settings.option_ignored", setting=name, option=option)
        run_async(_run(settings, outlet))


async def _run(settings: Settings, outlet: Outlet) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)

    def started(port: int) -> None:
        log.info("daemon.started", url=f"http://{place(settings.ferryman_host, port)}")

    async with located_stores(settings, make=True) as addresses:
        if settings.ferryman_admin_token is None:
            log.info("daemon.admin_token", file=str(admin_token(settings.ferryman_data_dir)))
        async with assembled(settings, addresses, lines_dropped=outlet.take_dropped) as daemon:
            await daemon.run(stop, started)
    log.info("daemon.stopped")


def admin_token(data_dir: Path) -> Path:
    """The file with the admin token of an installation whose settings name none: made once, readable by its owner
    alone. It is there with its token or not at all, also when the process ends while it is made."""
    path = data_dir / "admin-token"
    if not path.exists() or not path.stat().st_size:
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        new.write_text(secrets.token_urlsafe(32) + "\n")
        new.replace(path)
    return path
