"""`ferryman run`, `ferryman migrate`, `ferryman audit`."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Annotated

import asyncpg
import orjson
import structlog
import typer
from rich.console import Console

from adapters.postgres.migrate import migrate as apply_migrations
from adapters.postgres.migrate import pending
from adapters.postgres.pool import connect
from daemon import logs
from daemon.accounting import audit_workers, table
from daemon.app import assembled
from daemon.cli.context import read_settings, run_async
from daemon.lifecycle import stop_on_signals
from daemon.settings import Settings
from daemon.stores_located import located_stores, require_schema
from daemon.workers import WORKERS

log = structlog.get_logger(__name__)


def run() -> None:
    """Run the daemon until SIGTERM or SIGINT; a second signal ends it at once."""
    settings = read_settings()
    logs.configure(settings.ferryman_log_level)
    run_async(_run(settings))


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)

    def started(port: int) -> None:
        log.info("daemon.started", url=f"http://{settings.ferryman_host}:{port}")

    async with located_stores(settings) as addresses:
        await require_schema(addresses.database_url)
        if settings.ferryman_admin_token is None:
            log.info("daemon.admin_token", file=str(_admin_token(settings.ferryman_data_dir)))
        async with assembled(settings, addresses) as daemon:
            await daemon.run(stop, started)
    log.info("daemon.stopped")


def _admin_token(data_dir: Path) -> Path:
    """The file that keeps the token of an installation that was given none; made once, for its owner only."""
    path = data_dir / "admin-token"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32) + "\n")
    return path


def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be applied, and apply nothing.")] = False,
) -> None:
    """Bring the database to this version's schema. Forward only; safe to run twice, and by two at once."""
    run_async(_migrate(read_settings(), dry_run))


async def _migrate(settings: Settings, dry_run: bool) -> None:
    async with located_stores(settings, join=True) as addresses:
        connection = await asyncpg.connect(addresses.database_url, timeout=10)
        try:
            names = await (pending(connection) if dry_run else apply_migrations(connection))
        finally:
            await connection.close()
    verb = "would apply" if dry_run else "applied"
    for name in names:
        typer.echo(f"{verb} {name}")
    if not names:
        typer.echo("the schema is up to date")


def audit(json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Prove from the tables that every accepted event has ended, or is still open, once per worker. Exit code 1 if
    not."""
    run_async(_audit(read_settings(), json))


async def _audit(settings: Settings, json: bool) -> None:
    async with located_stores(settings, join=True) as addresses, connect(addresses.database_url, size=1) as pool:
        found = await audit_workers(pool, WORKERS)
    if json:
        typer.echo(orjson.dumps(found.document(), option=orjson.OPT_INDENT_2))
    else:
        Console().print(table(found))
    if not found.balanced:
        raise typer.Exit(1)
