"""What Liquid makes of the texts of the Chatwoot simulator, which evaluates outgoing ones."""

from __future__ import annotations

import re
from typing import Any, Final, Protocol

_BACKTICKS: Final = re.compile(r"`.*?`", re.S)
_FILLED: Final = re.compile(r"\{\{(.*?)\}\}|\{%.*?%\}", re.S)
_LITERALS: Final = {"'{'": "{", "'%60'|url_decode": "`"}


class Named(Protocol):
    """Whose members fill places."""

    name: str | None


def liquid(text: Any, contact: Named, *, code: bool = False) -> Any:
    """*text* as Liquid leaves it. *code*: what is between backticks stays as it is."""
    if not isinstance(text, str):
        return text

    def filled(found: re.Match[str]) -> str:
        what = (found[1] or "").strip()
        return _LITERALS.get(what, str(getattr(contact, what.removeprefix("contact."), "") or ""))

    if not code:
        return _FILLED.sub(filled, text)
    parts, at = [], 0
    for kept in _BACKTICKS.finditer(text):
        parts += [_FILLED.sub(filled, text[at : kept.start()]), kept[0]]
        at = kept.end()
    return "".join([*parts, _FILLED.sub(filled, text[at:])])


def each(value: Any, contact: Named) -> Any:
    """*value* with `liquid` on all its texts."""
    if isinstance(value, dict):
        return {name: each(one, contact) for name, one in value.items()}
    return [each(one, contact) for one in value] if isinstance(value, list) else liquid(value, contact)
