"""`ferryman credentials`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from adapters.json_guard import parse_object, without_mark
from daemon.cli.arguments import require_known
from daemon.cli.context import read_settings, run_async
from daemon.cli.exits import FAILED
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import DryRun, Json, Text, Yes, confirm, content_of, opened, operator, shown_time
from daemon.operator import credentials
from daemon.operator.credentials import Given, NotUsable
from daemon.settings.model import Settings
from schemas.credentials import DEFAULT, SECRETS, fields_of
from schemas.errors import Malformed, UsageError

app = typer.Typer(help="Accounts at providers, stored encrypted.", no_args_is_help=True)

_MOST: Final = 64 * 1024


def _known(name: str) -> str:
    """The parser of a provider. Raises: typer.BadParameter."""
    require_known("PROVIDER", name, list(SECRETS))
    return name


Provider = Annotated[str, typer.Argument(metavar="PROVIDER", parser=_known, help=f"{', '.join(SECRETS)}.")]
Account = Annotated[str, Text("--account", help="Which of the provider's accounts.")]


@app.command("set")
def set_(
    provider: Provider,
    account: Account = DEFAULT,
    source: Annotated[
        str | None,
        Text("--from", help="The file with its fields as a JSON object, or as one token; - is the standard input."),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Store an account, in the place of a former one: from a file, the standard input, or asked for on the terminal.
    Running daemons use it within five seconds."""
    run_async(_set(read_settings(), provider, account, source, dry_run))


@app.command("list")
def list_(json: Json = False) -> None:
    """The accounts that are stored, with the last characters of their secrets; and those of the settings."""
    run_async(_list(read_settings(), json))


@app.command()
def delete(provider: Provider, account: Account = DEFAULT, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Delete a stored account. Messages that wait for it fail, but those of an account `default` that the settings
    name too."""
    run_async(_delete(read_settings(), provider, account, dry_run, yes))


@app.command()
def rotate(dry_run: DryRun = False) -> None:
    """Encrypt by the first key of FERRYMAN_SECRET_KEY what another one has encrypted. Exit code 1 where no key decrypts
    something."""
    run_async(_rotate(read_settings(), dry_run))


async def _set(settings: Settings, provider: str, account: str, source: str | None, dry_run: bool) -> None:
    one = _given(provider, account, source)
    async with opened(settings) as (_, pool):
        if dry_run:
            say(f"the account {provider}/{account} would be stored, with {', '.join(one.values)}")
            return
        document, made = await credentials.store(pool, settings, one, operator())
    shown = ", ".join(f"{name} {value}" for name, value in document["secret"].items())
    say(f"the account {provider}/{account} is {'stored' if made else 'replaced'}: {shown}")


def _given(provider: str, account: str, source: str | None) -> Given:
    """What the operator gives. Raises: UsageError."""
    try:
        if source is None and sys.stdin.isatty():
            return credentials.given(provider, account, _asked(provider))
        content = _piped() if source in (None, "-") else content_of(Path(source))
        if content.startswith(b"{"):
            return credentials.given(provider, account, parse_object(content))
        token = content.decode().strip()
        return credentials.given_token(token, provider=provider, account=account)
    except (NotUsable, Malformed) as exc:
        told = str(exc).replace("secret.", "")
        needs = ", ".join(name for name, must in fields_of(provider).items() if must)
        how = f": {provider} needs a JSON object of {needs}" if "is missing" in told else ""
        raise UsageError(f"{told}{how}") from None
    except UnicodeDecodeError:
        raise UsageError("what --from names is no text in UTF-8") from None


def _piped() -> bytes:
    """What is piped in. Raises: UsageError."""
    content = without_mark(sys.stdin.buffer.read(_MOST + 1)).strip()
    if len(content) > _MOST:
        raise UsageError(f"the standard input has more than {_MOST // 1024} KiB")
    if not content:
        raise UsageError("there is nothing on the standard input: pipe the fields in, or give --from FILE")
    return content


def _asked(provider: str) -> dict[str, str]:
    """The fields, asked for on the terminal, which shows nothing of what is typed."""
    answers = {}
    for name, needed in fields_of(provider).items():
        hint = "" if needed else " (may be empty)"
        answers[name] = typer.prompt(
            f"{name}{hint}", hide_input=True, default=None if needed else "", show_default=False
        )
    return {name: text for name, text in answers.items() if text}


async def _list(settings: Settings, json: bool) -> None:
    async with opened(settings) as (_, pool):
        stored = await credentials.listed(pool, settings)
    if json:
        show_json(stored)
        return
    of_settings = credentials.by_settings(settings, stored)
    rows = [_row(one) for one in stored]
    rows += [[provider, DEFAULT, "", "", "by the settings"] for provider, used in of_settings.items() if used]
    if rows:
        show_table(("provider", "account", "fields", "changed (UTC)", "notes"), rows, fit=False)
    say(f"{len(stored)} stored" if stored else "no account is stored")


def _row(one: dict[str, Any]) -> list[str]:
    fields = ", ".join(f"{name} {value}" for name, value in (one["secret"] or {}).items())
    return [one["provider"], one["account"], fields, shown_time(one["updated_at"]), one["error"] or ""]


async def _delete(settings: Settings, provider: str, account: str, dry_run: bool, yes: bool) -> None:
    async with opened(settings) as (_, pool):
        waiting = await credentials.open_messages(pool, provider, account)
        waits = {0: "no message waits", 1: "1 message waits"}.get(waiting, f"{waiting} messages wait")
        what = f"the account {provider}/{account}, which {waits} for"
        if dry_run:
            say(f"{what}, would be deleted")
            return
        confirm(f"delete {what}?", f"delete {what}", yes=yes)
        await credentials.delete(pool, provider, account, operator())
    say(f"the account {provider}/{account} is deleted")


async def _rotate(settings: Settings, dry_run: bool) -> None:
    async with opened(settings) as (_, pool):
        done = await credentials.rotate(pool, settings, operator(), dry_run=dry_run)
    if done.names:
        would = "would be encrypted anew" if dry_run else "are encrypted anew"
        count = "1 account" if len(done.names) == 1 else f"{len(done.names)} accounts"
        say(f"{count} {would}, by the first key: {', '.join(done.names)}")
    elif not done.lost:
        say("nothing to do: all that is stored is encrypted by the first key")
    if done.lost:
        say(f"no key decrypts {', '.join(done.lost)}: add its key to FERRYMAN_SECRET_KEY, or set the account anew")
        raise typer.Exit(FAILED)
