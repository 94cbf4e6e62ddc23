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
_ITEM: Final = re.compile(r"(?:-|([1-9][0-9]{0,8})\.) +(?=\S)")
"""What begins an item of a list, which comes out as it went in."""

_OPENS_BLOCK: Final = re.compile(
    r"(?:[-=_*](?=(?:[\s*_=-])*$)|#(?=#{0,5}(?:\s|$))|[-+*](?=\s|$)|>|~(?=~~)|[0-9]{1,9}[.)](?=\s|$))"
)
"""Up to the character to which a backslash is given, so that it begins no block."""


def literal(text: str) -> str:
    """*text* as Liquid gives it back unchanged."""
    return _BEFORE.sub("{{'{'}}", text) if _LIQUID.search(text) else text


def stored(text: str) -> str:
    """*text* as the text of a message, where Liquid leaves alone what is between backticks."""
    return literal(text).replace(_CODE, _CODE_IN_LIQUID) if _LIQUID.search(text) else text


def written(text: str) -> str:
    """*text*, in WhatsApp's notation, as the text of a message: without control and bidirectional characters, and
    without indents, which are lost on the way."""
    lines, expected = [], 1
    for line in text.splitlines():
        line = visible(line).strip()
        item = _ITEM.match(line)
        if item is not None and item[1] == str(expected):
            expected += 1
        elif item is not None and item[1]:
            item = None  # numbers of a list are counted anew, so they stay only where they go up from 1 by one
        at = 0 if item is None else item.end()
        lines.append(line[:at] + _marked(line[at:]))
    return stored("\n".join(lines))


def _marked(line: str) -> str:
    """*line*, or the text of an item of a list, in Markdown."""
    opens = _OPENS_BLOCK.match(line)
    if opens is not None:
        at = opens.end() - 1
        return f"{line[:at]}\\{line[at]}{_inline(line[at + 1 :])}"
    return _inline(line)


def _inline(text: str) -> str:
    parts = _BOLD.split(text)  # a text, and then a bold one and a text in turn
    return "".join(f"**{part}**" if odd % 2 else _escaped(part) for odd, part in enumerate(parts))


def _escaped(text: str) -> str:
    return _INLINE.sub(lambda found: f"\\{found[0]}", text)
