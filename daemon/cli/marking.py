"""`ferryman send read`."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

import typer

from adapters.redis import streams
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json
from daemon.cli.tools import DryRun, Json, Text, opened, shown_time
from daemon.operator.reading import marked_read, outside_of
from daemon.settings.model import Settings

_TIMEOUT_S: Final = 5.0


def read(
    message: Annotated[UUID, typer.Argument(metavar="MESSAGE", help="Ferryman's id of what the person has written.")],
    account: Annotated[str | None, Text("--account", help="By which, where the provider does not tell.")] = None,
    json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Show a person that their message was read, and those before it with it."""
    document = run_async(_mark(read_settings(), message, account, dry_run))
    if json:
        show_json(document)
    elif dry_run:
        say(f"would be marked as read by {document['provider']}, account {document['account']}")
    else:
        say(f"the message {message} was marked as read at {shown_time(document['read_at'])}")


async def _mark(settings: Settings, id: UUID, account: str | None, dry_run: bool) -> dict[str, Any]:
    async with opened(settings) as (addresses, pool):
        redis = streams.client(addresses.redis_url, timeout_s=_TIMEOUT_S, connections=2)
        try:
            async with outside_of(pool, settings, redis) as outside:
                return await marked_read(outside, id, account=account, dry_run=dry_run)
        finally:
            await redis.aclose()
