"""What the operator's verbs share: opened stores, options, questions, and how values are shown."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import orjson
import typer

from adapters.json_guard import without_mark
from adapters.postgres.pool import Pool, connect
from daemon.cli.arguments import parse_time, parse_time_ahead, parse_words
from daemon.settings.model import Settings
from daemon.stores.located import Addresses, located_stores, require_schema, require_sessions
from schemas.errors import FerrymanError, UsageError

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON document.")]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


NONE_YET: Final = "no daemon has run here yet, so there are no workers and no events: start one with `ferryman run`"


def Text(name: str, *, help: str) -> Any:  # noqa: N802 - declares an option, as typer.Option does
    """An option whose value is text that a database can be asked for."""
    return typer.Option(name, help=help, parser=parse_words, metavar="TEXT")


def When(name: str, *, help: str) -> Any:  # noqa: N802 - see Text
    """An option whose value is a point in time."""
    return typer.Option(name, help=f"{help} UTC, where it has no offset.", parser=parse_time, metavar="TIME")


def Ahead(name: str, *, help: str) -> Any:  # noqa: N802 - see Text
    """An option whose value is a point in time that is still to come."""
    return typer.Option(name, help=f"{help} As 2h (from now), or a time.", parser=parse_time_ahead, metavar="TIME")


class NotConfirmed(FerrymanError):
    """There is no terminal to ask on, and no --yes."""


class NotRead(UsageError):
    """A file that was named cannot be read."""


@asynccontextmanager
async def opened(settings: Settings, *, make: bool = False) -> AsyncIterator[tuple[Addresses, Pool]]:
    """The stores of an installation, those of a running daemon too, and a small pool. *make*: make the installation
    where there is none. Raises: StartError or EmbeddedError."""
    async with located_stores(settings, make=make, join=True) as addresses:
        await require_sessions(addresses.database_url)
        await require_schema(addresses.database_url)
        async with connect(addresses.database_url, size=2, name="ferryman-cli") as pool:
            yield addresses, pool


def confirm(question: str, would: str, *, yes: bool, ask: bool = True) -> None:
    """Return only with *yes*, or after a yes on the terminal. *ask* false: being on a terminal is enough.

    Raises: NotConfirmed ("this would *would* …") where there is no terminal; typer.Abort on a no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise NotConfirmed(f"this would {would}: add --yes, or --dry-run to look only")
    if ask and not typer.confirm(question):
        raise typer.Abort


def content_of(path: Path) -> bytes:
    """What a file of the operator's holds, without what editors put around it. Raises: NotRead."""
    try:
        return without_mark(path.read_bytes()).strip()
    except (OSError, ValueError) as exc:  # ValueError: no file can have such a name
        why = getattr(exc, "strerror", None) or "no such name"
        raise NotRead(f"{path} cannot be read ({why}): name a file that can be read") from exc


def operator() -> str:
    """The user who runs this command, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.geteuid()}"


def shown_time(at: datetime | None) -> str:
    """UTC, to the second; "" for None."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def shown_json(data: bytes) -> str:
    """Event data for reading: indented, with its characters as they are; what is not JSON as it came. For `say` with
    *lines*."""
    try:
        return orjson.dumps(orjson.loads(data), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        return data.decode(errors="replace").replace("\r\n", "\n")


def shown_ranges(partitions: list[int]) -> str:
    """[0, 1, 2, 5] as 0-2,5."""
    runs: list[list[int]] = []
    for p in sorted(partitions):
        if runs and runs[-1][1] == p - 1:
            runs[-1][1] = p
        else:
            runs.append([p, p])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs) or "nothing"
