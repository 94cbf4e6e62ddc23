"""`ferryman run`."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from functools import partial
from pathlib import Path

import structlog

from daemon.app import assembled
from daemon.cli.context import read_settings, run_async
from daemon.lifecycle import stop_on_signals
from daemon.opening import OtherPartitions
from daemon.reload import Reloading, reload_on_hangup
from daemon.rules.files import Rules, load_all
from daemon.settings.hints import ignored_options
from daemon.settings.model import Settings
from daemon.stores.located import located_stores
from daemon.telemetry import logs
from daemon.telemetry.outlet import Outlet
from daemon.web.handed import handed_over
from daemon.web.place import place
from daemon.workers import rule_files

log = structlog.get_logger(__name__)


def run() -> None:
    """Run the daemon until SIGTERM or SIGINT; a second signal ends it at once. SIGHUP is `ferryman reload`. Its log has
    lines for people on a terminal, and JSON elsewhere."""
    settings = read_settings()
    rules = load_all(settings.ferryman_rules_dir, rule_files())
    terminal = sys.stdout.isatty()
    colors = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    with Outlet(sys.stdout.fileno()) as outlet:
        logs.configure(settings.ferryman_log_level, stream=outlet, human=terminal, colors=colors)
        for name, option in ignored_options(settings):
            log.warning("settings.option_ignored", setting=name, option=option)
        run_async(_run(settings, rules, outlet))


async def _run(settings: Settings, rules: Rules, outlet: Outlet) -> None:
    stop, reload_asked = asyncio.Event(), asyncio.Event()
    stop_on_signals(stop)
    with reload_on_hangup(reload_asked, stop):
        await _serve(settings, rules, outlet, stop, reload_asked)
    log.info("daemon.stopped")


async def _serve(
    settings: Settings, rules: Rules, outlet: Outlet, stop: asyncio.Event, reload_asked: asyncio.Event
) -> None:
    def started(port: int) -> None:
        log.info("daemon.started", url=f"http://{place(settings.ferryman_host, port)}")

    handed = handed_over(os.environ)
    async with located_stores(settings, make=True) as addresses:
        made = None
        if settings.ferryman_admin_token is None and not (settings.redis_url and settings.database_url):
            made = admin_token(settings.ferryman_data_dir)
            log.info("daemon.admin_token", file=str(made))
        token = "" if made is None else made.read_text().strip()
        whole = False
        while not whole:
            put_together = partial(assembled, rules=rules, lines_dropped=outlet.take_dropped, made_token=token)
            async with put_together(settings, addresses) as daemon:
                reloading = Reloading(reload_asked, read_settings, daemon.take, settings.ferryman_data_dir)
                try:
                    await daemon.run(stop, started, also=[reloading], handed=handed)
                    whole = True
                except OtherPartitions as found:
                    log.warning("daemon.assembled_anew", reason=str(found))
                    settings = daemon.in_force.settings  # a reload may have come meanwhile


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
