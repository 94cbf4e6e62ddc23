"""`ferryman tokens`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from daemon.cli.arguments import MOST_NUMBER, require_known
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import DryRun, Json, Text, Yes, confirm, opened, operator, shown_time
from daemon.operator import tokens
from daemon.operator.faults import Unusable
from daemon.operator.tokens import MOST_DAYS, ROLES, Wanted
from daemon.settings.model import Settings
from schemas.errors import UsageError

app = typer.Typer(help="Bearer tokens of people and of edges, for records and their sync.", no_args_is_help=True)


def _role(text: str) -> str:
    """The parser of a role. Raises: typer.BadParameter."""
    require_known("--role", text, ROLES)
    return text


@app.command()
def create(
    user: Annotated[str | None, Text("--user", help="A person: reads and writes the records that they own.")] = None,
    edge: Annotated[str | None, Text("--edge", help="A branch office's daemon; with --owners or --branch.")] = None,
    owners: Annotated[str | None, Text("--owners", help="Whose records the edge carries, as a,b.")] = None,
    branch: Annotated[
        str | None, Text("--branch", help="Whose branch it carries; of a person, where they work.")
    ] = None,
    role: Annotated[str, typer.Option("--role", metavar="ROLE", parser=_role, help=", ".join(ROLES) + ".")] = "operate",
    expires: Annotated[
        int | None, typer.Option("--expires", metavar="DAYS", min=1, max=MOST_DAYS, help="How long it holds.")
    ] = None,
    json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Make a token and print it: it is shown this once, and only its SHA-256 is stored."""
    run_async(_create(read_settings(), _wanted(user, edge, owners, branch, role, expires), json, dry_run))


@app.command("list")
def list_(json: Json = False) -> None:
    """The tokens with whose they are and when they were used last; never themselves."""
    run_async(_list(read_settings(), json))


@app.command()
def revoke(
    id: Annotated[int, typer.Argument(metavar="ID", min=1, max=MOST_NUMBER, help="Of the token, as list shows it.")],
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Revoke a token. Running daemons refuse it within five seconds."""
    run_async(_revoke(read_settings(), id, dry_run, yes))


def _wanted(
    user: str | None, edge: str | None, owners: str | None, branch: str | None, role: str, days: int | None
) -> Wanted:
    """The token that is asked for. Raises: UsageError."""
    named = [] if owners is None else owners.split(",")
    try:
        return tokens.wanted(user=user, edge=edge, owners=named, branch=branch, role=role, days=days)
    except Unusable as exc:
        raise UsageError(str(exc)) from None


async def _create(settings: Settings, one: Wanted, json: bool, dry_run: bool) -> None:
    async with opened(settings) as (_, pool):
        if dry_run:
            if json:
                show_json({"dry_run": True, **one._asdict()})
            else:
                say(f"a token of the {one.kind} {one.name} with the role {one.role} would be made")
            return
        made = await tokens.create(pool, one, operator())
    if json:
        show_json(made)
        return
    say(made["token"])
    until = f" until {shown_time(made['expires_at'])} UTC" if made["expires_at"] else ""
    say(f"token {made['id']} of the {one.kind} {one.name}, role {one.role}{until}: keep it, it is shown once", err=True)


async def _list(settings: Settings, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await tokens.listed(pool)
    if json:
        show_json(found)
        return
    if found:
        columns = ("id", "of", "role", "records of", "ends in", "state", "expires (UTC)", "last used (UTC)")
        show_table(columns, [_row(one) for one in found], fit=False)
    say({0: "no token is stored", 1: "1 token"}.get(len(found), f"{len(found)} tokens"))


def _row(one: dict[str, Any]) -> list[str]:
    return [
        str(one["id"]),
        f"{one['kind']} {one['name']}",
        one["role"],
        _carried(one),
        one["hint"],
        one["state"],
        shown_time(one["expires_at"]),
        shown_time(one["used_at"]),
    ]


def _carried(one: dict[str, Any]) -> str:
    """Whose records it reads. The branch of a person is that of new records, and shows no others."""
    if one["kind"] == "user":
        whose = "everybody" if one["role"] == "admin" else one["name"]
        return f"{whose}; new ones: branch {one['branch']}" if one["branch"] else whose
    branch = f"branch {one['branch']}" if one["branch"] else ""
    return "; ".join(part for part in (", ".join(one["owners"]), branch) if part)


async def _revoke(settings: Settings, id: int, dry_run: bool, yes: bool) -> None:
    async with opened(settings) as (_, pool):
        one = await tokens.shown(pool, id)
        what = f"token {id} of the {one['kind']} {one['name']}"
        if one["state"] == "revoked":
            say(f"{what} was revoked before")
            return
        if dry_run:
            say(f"{what} would be revoked")
            return
        confirm(f"revoke {what}?", f"revoke {what}", yes=yes)
        done = await tokens.revoke(pool, id, operator())
    say(f"{what} is revoked" if done else f"{what} was revoked before")
