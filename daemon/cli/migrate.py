"""`ferryman migrate`."""

from __future__ import annotations

from typing import Annotated

import typer

from adapters.postgres.migrate import migrate as apply_migrations
from adapters.postgres.migrate import pending
from adapters.postgres.pool import single_connection
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say
from daemon.settings.model import Settings
from daemon.stores.located import located_stores, require_sessions


def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be applied, and apply nothing.")] = False,
) -> None:
    """Bring the database to this version's schema. Forward only; safe to run twice, and by two at once."""
    run_async(_migrate(read_settings(), dry_run))


async def _migrate(settings: Settings, dry_run: bool) -> None:
    async with located_stores(settings, make=not dry_run, join=True) as addresses:
        await require_sessions(addresses.database_url)
        async with single_connection(addresses.database_url) as connection:
            names = await (pending(connection) if dry_run else apply_migrations(connection))
    verb = "would apply" if dry_run else "applied"
    for name in names:
        say(f"{verb} {name}")
    if not names:
        say("the schema is up to date")
