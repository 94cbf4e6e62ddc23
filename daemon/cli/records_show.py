"""`ferryman records show`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import orjson
import typer

from daemon.cli.arguments import parse_words
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import Json, opened, shown_json, shown_time
from daemon.operator.records import shown
from daemon.records.edge.deriving import UP
from daemon.settings.model import Settings


def show(
    model: Annotated[str, typer.Argument(metavar="MODEL", parser=parse_words, help="As Lead.")],
    id: Annotated[str, typer.Argument(metavar="ID", parser=parse_words, help="Of the record.")],
    json: Json = False,
) -> None:
    """One record: its fields with who changed each last and through which replica or token, and in one line of time
    its operations, its conflicts and what goes to the upstream."""
    run_async(_show(read_settings(), model, id, json))


async def _show(settings: Settings, model: str, id: str, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await shown(pool, model, id)
    if json:
        show_json(found)
        return
    if found["record"] is not None:
        _say_record(found["record"], _authors(found["timeline"]))
    for entry in found["timeline"]:
        say(f"{shown_time(entry['at'])}  {entry['text']}")


def _authors(timeline: Sequence[dict[str, Any]]) -> dict[int, str]:
    """Version -> the user whose operation made it: of those that were answered with it, the first one."""
    made: dict[int, str] = {}
    for entry in timeline:
        if entry["what"] == "operation" and entry["version"]:
            made.setdefault(entry["version"], entry["user_id"])
    return made


def _say_record(record: dict[str, Any], authors: Mapping[int, str]) -> None:
    state = "erased" if record["erased"] else "deleted" if record["deleted"] else "there"
    up = "" if record["up_version"] is None else f", version {record['up_version']} of the upstream"
    say(f"{record['model']} {record['record_id']}: {state}, version {record['version']}{up}")
    say(f"owner {record['owner_id'] or '-'}, branch {record['branch'] or '-'}")
    stamps = record["stamps"]
    rows = [[name, *_cells(value, stamps.get(name), authors)] for name, value in sorted(record["data"].items())]
    if rows:
        show_table(("field", "value", "at version", "by", "through"), rows)


def _cells(value: Any, stamp: list[Any] | None, authors: Mapping[int, str]) -> list[str]:
    shown = value if isinstance(value, str) else shown_json(orjson.dumps(value))
    if stamp is None:
        return [shown, "", "", ""]
    version, peer = stamp[3], stamp[4]
    through = "the upstream" if peer == UP else peer
    return [shown, str(version), authors.get(version, ""), through]
