"""The page of `ferryman demo --keep` as HTML: a chat, what one writes into it, and beside it what Ferryman has made of
it. Every text is escaped, and has no control or bidirectional characters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final, Literal

from schemas.cleaned import visible

LONGEST: Final = 4096
"""Characters of a message: WhatsApp takes no more."""

HINT: Final = (
    "Try “Write a post about sailing” and tap the answers; while you are asked, “no, Instagram”, “cancel”, or whatever"
    " comes to mind. A plain note stays without an answer."
)
_HEAD: Final = """<!doctype html><html lang=en><head><meta charset=utf-8>
<title>Ferryman: the demonstration’s chat</title><meta name=viewport content="width=device-width,initial-scale=1">
<link rel=icon href="data:,"><link rel=stylesheet href=/page.css><script src=/page.js defer></script></head><body>
"""
_FORMS: Final = f"""
<form class=write action=/say method=post><label class=hidden for=text>Your message</label>
<input id=text name=text required maxlength={LONGEST} autocomplete=off autofocus placeholder="Your message">
<button>Send</button><button name=voice value=1>Say it as a voice note</button></form>
<details><summary>Send a file</summary><form class=write action=/file method=post enctype=multipart/form-data>
<label class=hidden for=file>File</label><input id=file type=file name=file required><button>Send</button></form>
<p class=dim>An audio file counts as a voice note. The simulated OpenAI does not listen to it: it hears “a voice note of
… bytes”.</p></details>
<p id=state role=status></p><noscript><p><a href="/">Look for answers</a></p></noscript></section>
"""
_ORDERED: Final = ("platform", "length", "tone", "topic")


@dataclass(frozen=True, slots=True)
class Bubble:
    """A message of the chat. *by*: `agents`: a private note for those who answer in Chatwoot. *buttons*: titles.
    *beneath*: what was done with it."""

    id: int
    by: Literal["customer", "bot", "agents"]
    text: str
    buttons: Sequence[str] = ()
    beneath: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the page shows. *attributes*: of the contact; *of_talk*: of the conversation."""

    name: str
    phone: str
    bubbles: Sequence[Bubble]
    labels: Sequence[str]
    attributes: Mapping[str, Any]
    of_talk: Mapping[str, Any]
    orders: Sequence[Mapping[str, Any]]


def page(shown: Shown) -> str:
    """The whole page."""
    return "".join(_page(shown))


def parts(shown: Shown) -> str:
    """What of it changes."""
    return "".join((*_chat(shown.bubbles), *_side(shown)))


def _page(shown: Shown) -> Iterator[str]:
    yield _HEAD
    yield f"<header><h1>A chat with Ferryman’s bot</h1><p>You are {_t(shown.name)} ({_t(shown.phone)}), who does not"
    yield f" exist, and write by a simulated Chatwoot. {_t(HINT)}</p></header><main><section>"
    yield from _chat(shown.bubbles)
    yield _FORMS
    yield from _side(shown)
    yield "</main></body></html>"


def _chat(bubbles: Iterable[Bubble]) -> Iterator[str]:
    yield '<ol id=chat role=log aria-label="The conversation" tabindex=0>'
    for one in bubbles:
        yield f'<li id="m{one.id}" class={one.by}><span class=hidden>{one.by}: </span>'
        yield f"<p class=text dir=auto>{_t(one.text)}</p>"
        if one.buttons:
            yield "<form class=buttons action=/tap method=post>"
            yield f'<input type=hidden name=question value="{one.id}">'
            yield from (f'<button name=title value="{_t(title)}">{_t(title)}</button>' for title in one.buttons)
            yield "</form>"
        if one.beneath:
            yield f"<p class=dim>{_t(one.beneath)}</p>"
        yield "</li>"
    yield "</ol>"


def _side(shown: Shown) -> Iterator[str]:
    yield '<aside id=side aria-label="What Ferryman has made of it"><h2>Labels of the conversation</h2>'
    yield "<ul class=labels>"
    yield from (f"<li>{_t(label)}</li>" for label in shown.labels)
    yield "</ul><h2>Attributes of the contact</h2>"
    yield _pairs(sorted(shown.attributes.items()))
    if shown.of_talk:
        yield f"<h2>Attributes of the conversation</h2>{_pairs(sorted(shown.of_talk.items()))}"
    yield "<h2>Content orders</h2>"
    yield "".join(_pairs([(name, order[name]) for name in _ORDERED if name in order]) for order in shown.orders)
    yield "</aside>"


def _pairs(pairs: Iterable[tuple[str, Any]]) -> str:
    return "<dl>" + "".join(f"<dt>{_t(name)}</dt><dd dir=auto>{_t(value)}</dd>" for name, value in pairs) + "</dl>"


def _t(value: object) -> str:
    """*value* as text of the page, in its lines."""
    return "\n".join(escape(visible(text)) for text in str(value).split("\n"))
