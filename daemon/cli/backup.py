"""`ferryman backup` and `ferryman restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from daemon.bus.worker import utc_now
from daemon.cli.arguments import parse_words
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json
from daemon.cli.tools import DryRun, Json, Yes, confirm, opened, operator, shown_time
from daemon.operator.backup import restoring, taking
from daemon.operator.backup.container import Manifest
from daemon.settings.model import Settings


def _path(text: str) -> Path:
    """The parser of a file's name. Raises: typer.BadParameter."""
    return Path(parse_words(text))


BackupFile = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.", parser=_path)]


def backup(file: BackupFile, dry_run: DryRun = False, json: Json = False) -> None:
    """Write all that an installation on embedded stores has into one new file, readable by its owner alone, also while
    the daemon runs. Whoever has the file has the stored credentials too."""
    settings = read_settings()
    taking.require_fit(settings, file)
    if dry_run:
        say(f"would write all that is in {settings.ferryman_data_dir.absolute()} to {file}")
        return
    manifest = run_async(_back_up(settings, file))
    if json:
        show_json(manifest.document())
        return
    size = sum(part.size for part in manifest.parts.values())
    say(f"{file}: {size} bytes, as of {shown_time(manifest.taken_at)} UTC: all that was accepted before is in it")


def restore(
    file: BackupFile,
    send: Annotated[bool, typer.Option("--send", help="Messages go out at once: none was sent since.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Put a backup in the place of what is in the data directory, while no daemon runs there: all of it or nothing.
    Messages wait until `ferryman resume outbound-messaging`, as some may have been sent since the backup."""
    settings = read_settings()
    manifest = run_async(restoring.fit(settings, file))
    found = restoring.there(settings)
    where = settings.ferryman_data_dir.absolute()
    if dry_run:
        say(f"would restore {_named(manifest)} to {where}" + (", in the place of what is there" if found else ""))
        return
    if found:
        confirm(f"replace what is in {where} by {_named(manifest)}?", f"replace what is in {where}", yes=yes)
    making = restoring.restore(settings, file, manifest, actor=operator(), now=utc_now(), hold=not send)
    for line in restoring.telling(run_async(making)):
        say(line)


async def _back_up(settings: Settings, file: Path) -> Manifest:
    async with opened(settings) as (addresses, pool):
        return await taking.back_up(settings, pool, addresses.database_url, addresses.redis_url, file)


def _named(manifest: Manifest) -> str:
    return f"the backup of {shown_time(manifest.taken_at)} UTC"
