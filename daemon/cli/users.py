"""`ferryman users`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from daemon.cli.arguments import require_known
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import DryRun, Json, Yes, confirm, opened, operator, shown_time
from daemon.operator import users
from daemon.operator.faults import Unusable
from daemon.operator.passwords import LONGEST, Passwords
from daemon.operator.users import ROLES
from daemon.settings.model import Settings
from schemas.errors import UsageError

app = typer.Typer(help="Operators, who log in at the pages.", no_args_is_help=True)


def _role(text: str) -> str:
    """The parser of a role. Raises: typer.BadParameter."""
    require_known("ROLE", text, ROLES)
    return text


Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the operator; upper and lower case are equal.")]


@app.command()
def add(
    name: Name,
    role: Annotated[str, typer.Option("--role", metavar="ROLE", parser=_role, help=", ".join(ROLES) + ".")] = "read",
    json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Add an operator. The password is asked for on the terminal, or is the first line of the standard input."""
    run_async(_add(read_settings(), name, role, json, dry_run))


@app.command("list")
def list_(json: Json = False) -> None:
    """The operators: their roles, and when they have logged in last."""
    run_async(_list(read_settings(), json))


@app.command()
def role(
    name: Name,
    role: Annotated[str, typer.Argument(metavar="ROLE", parser=_role, help=", ".join(ROLES) + ".")],
    dry_run: DryRun = False,
) -> None:
    """Give an operator another role. Their sessions end."""
    run_async(_change(read_settings(), name, f"have the role {role}", dry_run, role=role))


@app.command()
def disable(name: Name, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Let an operator log in no more. Their sessions end."""
    run_async(_disable(read_settings(), name, dry_run, yes))


@app.command()
def enable(name: Name, dry_run: DryRun = False) -> None:
    """Let an operator who was disabled log in again."""
    run_async(_change(read_settings(), name, "log in again", dry_run))


@app.command()
def password(name: Name, dry_run: DryRun = False) -> None:
    """Give an operator another password, asked for as that of `users add`. Their sessions end."""
    run_async(_password(read_settings(), name, dry_run))


def _typed() -> str:
    """The password that is given. Raises: UsageError."""
    try:
        if sys.stdin.isatty():
            return users.checked_password(
                typer.prompt("password", hide_input=True, confirmation_prompt=True, show_default=False)
            )
        line = sys.stdin.buffer.readline(4 * LONGEST + 2)
        return users.checked_password(line.decode().rstrip("\r\n"))
    except UnicodeDecodeError:
        raise UsageError("the password is no text in UTF-8") from None
    except Unusable as exc:
        raise UsageError(f"{exc}: pipe it in, or type it on a terminal") from None


def _checked(name: str) -> str:
    """Raises: UsageError."""
    try:
        return users.checked_name(name)
    except Unusable as exc:
        raise UsageError(str(exc)) from None


async def _add(settings: Settings, name: str, role: str, json: bool, dry_run: bool) -> None:
    name = _checked(name)
    async with opened(settings) as (_, pool):
        if dry_run:
            say(f"{name} would be added, with the role {role}")
            return
        made = await users.add(pool, Passwords(), name, role, _typed(), operator())
    if json:
        show_json(made)
    else:
        say(f"{made['name']} may log in, with the role {made['role']}")


async def _list(settings: Settings, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await users.listed(pool)
    if json:
        show_json(found)
        return
    if found:
        columns = ("name", "role", "state", "logged in (UTC)", "added (UTC)", "by")
        show_table(columns, [_row(one) for one in found], fit=False)
    said = {0: "there is no operator: `ferryman users add NAME --role admin`", 1: "1 operator"}
    say(said.get(len(found), f"{len(found)} operators"))


def _row(one: dict[str, Any]) -> list[str]:
    when = (shown_time(one["logged_in_at"]) or "never", shown_time(one["created_at"]))
    return [one["name"], one["role"], one["state"], *when, one["created_by"]]


async def _change(settings: Settings, name: str, what: str, dry_run: bool, *, role: str | None = None) -> None:
    """Give *name* the role, or, where there is none, let them log in again."""
    async with opened(settings) as (_, pool):
        one = await users.shown(pool, _checked(name))
        if dry_run:
            say(f"{one['name']} would {what}")
            return
        if role is None:
            one = await users.enable(pool, one["name"], operator())
        else:
            one = await users.set_role(pool, one["name"], role, operator())
    say(f"{one['name']} may log in again" if role is None else f"{one['name']} has the role {role}")


async def _disable(settings: Settings, name: str, dry_run: bool, yes: bool) -> None:
    async with opened(settings) as (_, pool):
        one = await users.shown(pool, _checked(name))
        if dry_run:
            say(f"{one['name']} would be disabled")
            return
        confirm(f"disable {one['name']}?", f"disable {one['name']}", yes=yes)
        await users.disable(pool, one["name"], operator())
    say(f"{one['name']} is disabled")


async def _password(settings: Settings, name: str, dry_run: bool) -> None:
    async with opened(settings) as (_, pool):
        one = await users.shown(pool, _checked(name))
        if dry_run:
            say(f"{one['name']} would have another password")
            return
        await users.set_password(pool, Passwords(), one["name"], _typed(), operator())
    say(f"{one['name']} has another password; their sessions have ended")
