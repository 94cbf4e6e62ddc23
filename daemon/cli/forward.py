"""`ferryman forward`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Final

import typer

from adapters.registry import SOURCES
from daemon.cli.addresses import parse_address
from daemon.cli.arguments import require_known
from daemon.cli.context import read_settings, run_async
from daemon.cli.following import until_stopped_do
from daemon.cli.screen import say, say_coloured
from daemon.cli.tools import Text, When, opened, operator, shown_time
from daemon.operator.forwarding import Copied, is_here, made_secret
from daemon.operator.forwarding import forward as copied
from daemon.settings.model import Settings
from schemas.errors import UsageError

BY_NAME: Final = {source.name: source for source in SOURCES}


def _sources(incomplete: str) -> list[str]:
    return [name for name in BY_NAME if name.startswith(incomplete)]


def forward(
    url: Annotated[str, typer.Argument(metavar="URL", parser=parse_address, help="Where each webhook is posted to.")],
    source: Annotated[str, Text("--source", help=f"Whose webhooks: {', '.join(BY_NAME)}.", completes=_sources)],
    since: Annotated[datetime | None, When("--since", help="Also those that arrived since then, 1000 at most.")] = None,
    anywhere: Annotated[bool, typer.Option("--anywhere", help="URL may be on another machine.")] = False,
) -> None:
    """Copy one source's webhooks to a developer's machine, until Ctrl-C. Nothing is acknowledged, and nothing here
    changes; people's data go there, so it is audited.

    The body is that of the source, byte for byte, of orders and issues. Of other sources the journal keeps each event
    by itself, and so it is posted. The headers are not kept: each request is signed anew, by Standard Webhooks, with
    a secret that is printed at the start."""
    require_known("--source", source, list(BY_NAME))
    if not anywhere and not is_here(url):
        raise UsageError("the address is not on this machine: name one of 127.0.0.1, or add --anywhere")
    run_async(_forward(read_settings(), url, source, since))


async def _forward(settings: Settings, url: str, source: str, since: datetime | None) -> None:
    async with opened(settings) as (_, pool):
        secret = made_secret()
        say(f"signed by Standard Webhooks with {secret}", err=True)
        if not BY_NAME[source].keeps_body:
            say(f"the journal keeps each event of {source} by itself: these are posted, not the bodies", err=True)
        await until_stopped_do(_print_each(copied(pool, source, url, secret, since=since, actor=operator())))


async def _print_each(posted: AsyncIterator[Copied]) -> None:
    async for one in posted:
        told = str(one.status) if one.status is not None else f"no answer ({one.error})"
        well = one.status is not None and 200 <= one.status < 300
        text = f"{shown_time(one.event.time)}  {one.event.id}  {one.event.type}  "
        say_coloured(text, told, "green" if well else "red", f"  {one.ms} ms")
