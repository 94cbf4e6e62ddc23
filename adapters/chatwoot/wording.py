"""What is written to Chatwoot so that the person gets it as it stands.

Chatwoot makes something of a text twice. When the message is stored, Liquid fills `{{ … }}` and `{% … %}` in its text
and in the variables of a template (chatwoot/chatwoot: app/models/concerns/liquidable.rb). When it goes out by WhatsApp,
its text is read as Markdown and written as WhatsApp has it: `**x**` becomes `*x*`, and `*x*`, which is bold at
WhatsApp, `_x_` (app/services/messages/markdown_renderers/whats_app_renderer.rb). A text in which nothing of that
happens stays as it is, character by character.
"""

from __future__ import annotations

import re
from typing import Final

from schemas.cleaned import visible

_LIQUID: Final = re.compile(r"\{[{%]")
_BEFORE: Final = re.compile(r"\{(?=[{%`])")
_CODE: Final = "`"
_CODE_IN_LIQUID: Final = "{{'%60'|url_decode}}"

_BOLD: Final = re.compile(r"(?<!\S)\*(\w(?:[^*\n_\\`]*\w)?)\*(?=[\s.,;:!?)]|$)")
_INLINE: Final = re.compile(
    r"`|\\(?=[!-/:-@\[-`{-~]|$)"
    r"|<(?=[A-Za-z/!?])|&(?=#?\w{1,32};)|\[(?=[^\]]*\][(\[:])"
    r"|(?<=_)_|_(?=_)|(?<!\s)\*|\*(?!\s|$)",
    re.A,
)
_RULE: Final = re.compile(r"([-=_*])(?:\s*\1)*")
_OPENS_BLOCK: Final = re.compile(r"#{1,6}(?=\s|$)|[+*](?=\s|$)|>|~~~|-$")
_NUMBERED: Final = re.compile(r"([0-9]{1,9})([.)])(?=\s|$)")


def literal(text: str) -> str:
    """*text* as Liquid gives it back unchanged."""
    return _BEFORE.sub("{{'{'}}", text) if _LIQUID.search(text) else text


def stored(text: str) -> str:
    """*text* as the text of a message, where Liquid leaves alone what is between backticks."""
    return literal(text).replace(_CODE, _CODE_IN_LIQUID) if _LIQUID.search(text) else text


def written(text: str) -> str:
    """*text*, in WhatsApp's notation, as the text of a message: without control and bidirectional characters."""
    lines, expected = [], 1
    for line in text.splitlines():
        line = visible(line).rstrip()
        bare = line.lstrip()
        if len(line) - len(bare) > 3:
            line = bare  # four blanks begin a block of code, and fewer are lost on the way
        numbered = _NUMBERED.match(bare)
        if numbered is not None and (int(numbered[1]), numbered[2]) == (expected, "."):
            lines.append(_marked(line, 0))
            expected += 1
        else:
            lines.append(_marked(line, _opening(bare)))
    return stored("\n".join(lines))


def _opening(bare: str) -> int:
    """Which character of a line, without its indent, begins a block; 0: none, counted from 1. Numbers of a list are
    counted anew, so they begin none unless they go up from 1 by one."""
    if (numbered := _NUMBERED.match(bare)) is not None:
        return len(numbered[0])
    return 1 if bare and (_RULE.fullmatch(bare) or _OPENS_BLOCK.match(bare)) else 0


def _marked(line: str, opening: int) -> str:
    """*line* in Markdown. *opening*: as `_opening` gives it."""
    indent = len(line) - len(line.lstrip())
    at = indent + opening - 1
    head, mark, rest = (line[:at], line[at], line[at + 1 :]) if opening else ("", "", line)
    parts = _BOLD.split(rest)  # a text, and then a bold one and a text in turn
    marked = "".join(f"**{part}**" if odd % 2 else _escaped(part) for odd, part in enumerate(parts))
    return f"{head}\\{mark}{marked}" if opening else marked


def _escaped(text: str) -> str:
    return _INLINE.sub(lambda found: f"\\{found[0]}", text)
