"""Whether a person wants messages: what they write, and what providers tell. Values in, values out."""

from __future__ import annotations

import unicodedata
from typing import Any, Final

from adapters.postgres.opt_outs import Scope

_ENGLISH: Final = ("stop", "stopall", "unsubscribe", "cancel", "end", "quit", "optout")
_OTHER_LATIN: Final = ("baja", "parar", "salir", "cancelar", "stopp", "abmelden", "arret", "arrêt", "sluta", "avsluta")
_OTHERS: Final = ("הסר", "הסירו", "עצור", "הפסק", "стоп", "отписаться", "отмена")

STOP: Final = frozenset({*_ENGLISH, *_OTHER_LATIN, *_OTHERS})
"""Words by which a person wants no more messages, where they write nothing else: English, Spanish and Portuguese,
German, French, Swedish, Hebrew, Russian."""

START: Final = frozenset(["start", "unstop", "subscribe", "alta", "iniciar", "התחל", "הצטרף", "старт", "подписаться"])
"""Words by which they want them again."""

CODES: Final[dict[str, Scope]] = {"21610": "all", "63014": "all", "63033": "all", "131050": "marketing"}
"""Error codes of providers that tell that a person wants no messages. 131026 and 63032 have other causes."""

_LONGEST: Final = 40


def wants(text: str | None) -> bool | None:
    """Whether *text*, all that a person wrote, asks for messages (True) or for none (False); None: neither. "Please
    stop by the office" is no stop."""
    if text is None or len(text) > _LONGEST:
        return None
    kept = (c for c in unicodedata.normalize("NFKC", text).casefold() if unicodedata.category(c)[0] in "LNZ")
    word = "".join(kept).strip()
    if word in STOP:
        return False
    return True if word in START else None


def told_preference(received: Any) -> tuple[Scope, bool] | None:
    """(what a person wants no more, or again; whether no more), as Meta's webhook `user_preferences` has it; None where
    it says something else."""
    value = received.get("value") if isinstance(received, dict) else None
    return ("marketing", value == "stop") if value in ("stop", "resume") else None
