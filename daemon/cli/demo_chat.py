"""The conversation of `ferryman demo` as a chat: the customer on the left, the bot on the right with its buttons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, Final

from daemon.cli.screen import say, width, wrapped

if TYPE_CHECKING:
    from daemon.demo.chat import Said

WIDEST: Final = 76
NARROWEST: Final = 24
"""Columns of a chat. A narrower terminal breaks the lines itself."""

_SHARE: Final = 0.8
"""Of the columns, that a message takes at most."""


def show_chat(said: Iterable[Said], document: Mapping[str, Any]) -> None:
    """Print the conversation, and what came of it. *document*: as `daemon.demo.chat.document` has it. Raises:
    OutputGone."""
    columns = max(NARROWEST, min(get_terminal_size().columns, WIDEST))
    say("Conversation")
    for text in chat_lines(said, columns):
        say(text)
    for text in _outcome(document):
        say(text)


def chat_lines(said: Iterable[Said], columns: int) -> Iterator[str]:
    """The lines of a chat that is *columns* wide, as a terminal counts them."""
    room = int(columns * _SHARE)
    for one in said:
        yield ""
        shown = [line for text in _texts(one) for line in wrapped(text, room)]
        left = "  " if one.by == "customer" else " " * (columns - max(map(width, shown), default=0))
        yield from (left + line for line in shown)


def _texts(one: Said) -> Iterator[str]:
    yield from f"{one.text} ({one.how})".splitlines() if one.how else one.text.splitlines()
    if one.buttons:
        yield " ".join(f"[{title}]".replace(" ", "\u00a0") for title in one.buttons)


def _outcome(document: Mapping[str, Any]) -> Iterator[str]:
    mine = sum(one["by"] == "customer" for one in document["messages"])
    yield ""
    yield (
        f"of {mine} messages: {document['notes']} notes, {document['objects']} objects in the archive,"
        f" {document['transcribed']} transcribed, {document['found_by_sweep']} found by the sweep"
    )
    for order in document["orders"]:
        fields = ", ".join(f"{name} {order[name]}" for name in ("platform", "length", "tone", "topic") if name in order)
        yield f"content order: {fields}"
    yield f"labels: {', '.join(document['labels'])}"
    yield f"attributes: {', '.join(f'{name} {value}' for name, value in sorted(document['attributes'].items()))}"
