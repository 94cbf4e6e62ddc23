"""`ferryman conversations`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
import typer

from adapters.postgres.operator.conversations import Wanted
from daemon.bus.worker import utc_now
from daemon.cli.arguments import parse_words
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import Json, opened, operator, shown_time
from daemon.operator import conversations
from daemon.operator.conversations import NoSuchConversation
from daemon.settings.model import Settings

app = typer.Typer(help="Conversations with people: what was said, what is asked, what waits.", no_args_is_help=True)

HELP: Final = (
    "A phone in any notation; Chatwoot's number of the conversation, as 481 or 3:481 with its account; an id that a"
    " list shows; the id of a message, ours or another system's; a content order's id; or beginnings of words of the"
    " name."
)
Reveal = Annotated[
    bool, typer.Option("--reveal", help="What people have written, and who they are; the audit log keeps who asked.")
]

_LISTS: Final = ("timeline", "waits", "content_orders", "dead_letters", "dialog", "earlier", "revealed")
_COLUMNS: Final = ("newest (UTC)", "conversation", "phone", "name", "status", "question", "handed over", "found by")


@app.command()
def find(
    words: Annotated[str | None, typer.Argument(help=HELP, parser=parse_words, metavar="WORDS")] = None,
    open: Annotated[bool, typer.Option("--open", help="Those in which a question waits for its answer.")] = False,
    escalated: Annotated[bool, typer.Option("--escalated", help="Those that a person has to go on with.")] = False,
    waiting: Annotated[bool, typer.Option("--waiting", help="Those in which something of ours waits.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=conversations.MOST_LISTED, help="How many at most.")] = 20,
    reveal: Reveal = False,
    json: Json = False,
) -> None:
    """The newest conversations first: all, those that WORDS may mean, those of a kind; several kinds: of any of
    them."""
    run_async(_find(read_settings(), words, Wanted(open, escalated, waiting), limit, reveal, json))


@app.command()
def show(
    conversation: Annotated[str, typer.Argument(help=HELP, parser=parse_words, metavar="ID")],
    limit: Annotated[int, typer.Option(min=1, max=conversations.MOST_LISTED, help="How many messages at most.")] = 50,
    reveal: Reveal = False,
    json: Json = False,
) -> None:
    """One conversation: its messages both ways with their archive and files, its dialog, and what waits and why."""
    run_async(_show(read_settings(), conversation, limit, reveal, json))


async def _find(settings: Settings, words: str | None, wanted: Wanted, limit: int, reveal: bool, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found, more = await conversations.find(pool, words, wanted, limit, reveal=reveal, actor=operator())
    if json:
        show_json(found)
    elif found:
        show_table(_COLUMNS, map(_cells, found), fit=False)
    if more:
        how = "raise --limit, or say which: by WORDS, --open, --escalated or --waiting"
        say(f"there are more than {limit}: {how}", err=json)
    if not found and words is not None:
        raise NoSuchConversation(conversations.NONE)
    if not found and not json:
        say("there is no such conversation")


def _cells(one: Mapping[str, Any]) -> list[str]:
    return [
        shown_time(one["newest_at"]),
        one["id"],
        one["phone"] or "",
        one["name"] or "",
        one["status"] or "",
        one["question"] or "",
        shown_time(one["escalated_at"]),
        one["found_by"] or "",
    ]


async def _show(settings: Settings, wanted: str, limit: int, reveal: bool, json: bool) -> None:
    async with opened(settings) as (_, pool):
        document = await conversations.show(pool, wanted, limit, utc_now(), reveal=reveal, actor=operator())
    if json:
        show_json(document)
        return
    for name, value in document.items():
        if name not in _LISTS and value is not None:
            say(_row(name, _shown(value)))
    for name, value in (document["dialog"] or {}).items():
        if value not in (None, {}):
            say(_row(f"dialog {name}", _shown(value)))
    for one in document["waits"]:
        say(_row("waits", one))
    for order in document["content_orders"]:
        say(_row("content order", _order(order)))
    for letter in document["dead_letters"]:
        say(_row("dead letter", f"{letter['number']}  {letter['worker']}  {letter['type']}  {letter['error_text']}"))
    if document["earlier"]:
        say(_row("earlier", f"there are more messages before these {limit}: raise --limit"))
    for said in document["timeline"]:
        for name, text in _said(said):
            say(_row(name, text))
    if not reveal:
        say("with --reveal: what was said, and by whom; the audit log keeps who asked")


def _said(one: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The lines of a message: how it stands, its archive, its files, what it says."""
    why = " ".join(str(one[name]) for name in ("error_code", "error") if one[name])
    facts = (one["id"] or one["message_key"], one["kind"], one["status"], one["purpose"], one["understanding"], why)
    by = one["provider"] or ""
    yield one["direction"], "  ".join([shown_time(one["at"]), by, *(str(fact) for fact in facts if fact)])
    if (note := one["note"]) is not None:
        intent = note["intent"] and f"{note['intent']} ({note['reason'] or 'no reason'})"
        yield "  note", _joined(note["status"], intent, note["storage_path"], note["error"])
    for file in one["files"]:
        spoken = file["transcription"] and _joined(
            f"transcription {file['transcription']}", file["transcription_error"]
        )
        size = file["bytes"] and f"{file['bytes']} bytes"
        yield "  file", _joined(file["kind"], file["status"], size, file["storage_path"], file["error"], spoken)
        if file["text"] is not None:
            yield "  text", _json(file["text"])
    if one["content"] is not None:
        yield "  says", _json({name: value for name, value in one["content"].items() if value is not None})


def _order(one: Mapping[str, Any]) -> str:
    ready = f"ready {shown_time(one['ready_at'])}" if one["ready_at"] else "not ready yet"
    return _joined(one["id"], shown_time(one["created_at"]), ready, _json(one["params"]))


def _joined(*parts: str | None) -> str:
    return "  ".join(part for part in parts if part)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _row(name: str, text: str) -> str:
    return f"{name:24} {text}"


def _shown(value: Any) -> str:
    if isinstance(value, datetime):
        return shown_time(value)
    return _json(value) if isinstance(value, dict | list) else str(value)
