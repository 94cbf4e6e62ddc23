"""`ferryman records conflicts` and `ferryman records resolve`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, cast

import orjson
import typer

from adapters.json_guard import parse_object
from adapters.postgres.operator.record_conflicts import StoredConflict, Wanted
from daemon.cli.arguments import MOST_NUMBER, require_known
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import DryRun, Json, NotRead, Text, content_of, opened, operator, shown_time
from daemon.operator import records_conflicts
from daemon.operator.records_conflicts import MOST, TAKES, Plan
from daemon.records.deciding.resolving import Take
from daemon.records.models.rules import MODELS, models_of
from daemon.rules.files import load
from daemon.settings.model import Settings
from schemas.errors import FerrymanError, Malformed, UsageError
from schemas.principals import Principal
from schemas.records.operation import Operation

_COLUMNS: Final = ("conflict", "model", "record", "fields", "rule", "decision", "by", "of", "arose (UTC)")


class NotDecided(FerrymanError):
    """The record has changed since the conflict arose, and nobody has said that this is known."""


def _take(text: str) -> str:
    """The parser of what to take. Raises: typer.BadParameter."""
    require_known("--take", text, TAKES)
    return text


def conflicts(
    open: Annotated[bool, typer.Option("--open", help="Those that wait for a person.")] = False,
    model: Annotated[str | None, Text("--model", help="Of records of this model.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many at most.")] = 100,
    json: Json = False,
) -> None:
    """Values of records that met, the newest first. With --json also both values, and the record as it stands."""
    run_async(_conflicts(read_settings(), Wanted(open, model, limit), json))


def resolve(
    id: Annotated[int, typer.Argument(metavar="ID", min=1, max=MOST_NUMBER, help="As `conflicts` shows it.")],
    take: Annotated[
        str,
        typer.Option(
            "--take", metavar="WHICH", parser=_take, help="ours: as stored here; theirs: as was pushed; merge: FILE."
        ),
    ],
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Of merge: a JSON object of the fields to write.")
    ] = None,
    dry_run: DryRun = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Also where the record has changed since the conflict arose.")
    ] = False,
) -> None:
    """Decide a conflict. What is chosen is written as an operation, and reaches all replicas by their next pull."""
    fields = _fields(cast(Take, take), file)
    run_async(_resolve(read_settings(), id, cast(Take, take), fields, dry_run, yes))


def _fields(take: Take, file: Path | None) -> Mapping[str, Any] | None:
    """Of a merge, what to write. Raises: UsageError."""
    if (take == "merge") != (file is not None):
        raise UsageError("merge takes a FILE with the fields to write, as JSON: theirs and ours take none")
    if file is None:
        return None
    try:
        return parse_object(content_of(file))
    except Malformed as exc:
        raise NotRead(f'{file} has no fields to write ({exc}): write them as {{"stage": "won"}}') from None


async def _conflicts(settings: Settings, wanted: Wanted, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await records_conflicts.listed(pool, _me(), wanted)
        waiting = await records_conflicts.waiting_upstream(pool)
    if json:
        show_json(found)
    elif found:
        show_table(_COLUMNS, map(_cells, found), fit=False)
        say("both values: `ferryman records resolve ID --take ours --dry-run`")
    else:
        say("no conflict waits" if wanted.open else "no conflict")
    if waiting:
        where = f"at the upstream {settings.sync_upstream_url}"
        say(f"{waiting} operations of this edge wait for a decision {where}: they are resolved there", err=json)


def _cells(one: Mapping[str, Any]) -> list[str]:
    return [
        str(one["id"]),
        one["model"],
        one["record_id"],
        " ".join(one["fields"]) or one["operation"],
        one["strategy"],
        one["decision"],
        one["decided_by"] or "",
        one["user_id"],
        shown_time(one["created_at"]),
    ]


async def _resolve(
    settings: Settings, id: int, take: Take, fields: Mapping[str, Any] | None, dry_run: bool, yes: bool
) -> None:
    from daemon.operator.records_service import records_of

    upstream, me = settings.sync_upstream_url, _me()
    models = models_of(load(settings.ferryman_rules_dir, MODELS), settings.sync_conflict_strategy)
    async with opened(settings) as (addresses, pool):
        plan = await records_conflicts.plan(pool, me, id, take, fields, upstream)
        records_conflicts.require_fit(plan, models)
        for line in _plan_lines(plan):
            say(line)
        if dry_run:
            return
        if plan.changed and not yes:
            what = f"the record has changed since conflict {id} arose, in {', '.join(plan.changed)}"
            raise NotDecided(f"{what}: add --yes to decide all the same")
        version = None if plan.was.now is None else plan.was.now.version
        async with records_of(settings, addresses, pool) as records:
            answer = await records_conflicts.resolve(pool, records, plan, by=me.name, version=version)
    if answer is None:
        say("resolved: nothing was to be written")
        return
    next = "" if upstream is None else "; the upstream gets it with the next round"
    say(f"resolved: {plan.was.model} {plan.was.record_id} is at version {answer.version}{next}")


def _me() -> Principal:
    return Principal(kind="installation", name=operator(), role="admin")


def _plan_lines(plan: Plan) -> Iterator[str]:
    """The conflict with its values, which come last and as JSON, as anything may be in them."""
    was = plan.was
    yield f"conflict {was.id}  {was.model} {was.record_id}  {was.operation} of {was.user_id}  {was.decision or 'open'}"
    if was.now is None:
        yield "now: there is no record"
    else:
        yield f"now: version {was.now.version}{', deleted' if was.now.deleted else ''}"
    if was.ours is None or was.theirs is None:
        yield f"ours: {_side(was.ours)}"
        yield f"theirs: {_side(was.theirs)}"
    else:
        for name in was.fields:
            yield f"{name}: ours {_value(was.ours, name)}  theirs {_value(was.theirs, name)}  now {_now(was, name)}"
    yield f"{plan.take}: {_written(plan.operation)}"
    if plan.changed:
        yield f"changed since: {', '.join(plan.changed)}"


def _written(operation: Operation | None) -> str:
    if operation is None:
        return "writes nothing: it stands"
    return "deletes the record" if operation.operation == "DELETE" else f"writes {_json(operation.data)}"


def _side(values: Mapping[str, Any] | None) -> str:
    return "deleted, or not known" if values is None else _json(values)


def _now(was: StoredConflict, name: str) -> str:
    return "nothing" if was.now is None or was.now.deleted else _value(was.now.data, name)


def _value(values: Mapping[str, Any], name: str) -> str:
    return _json(values[name]) if name in values else "nothing"


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
