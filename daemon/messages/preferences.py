"""Whether a person wants messages: what they write, and what providers tell. Values in, values out."""

from __future__ import annotations

from typing import Any, Final
from unicodedata import category

from adapters.postgres.opt_outs import Scope
from schemas.folding import folded

_ENGLISH: Final = ("stop", "stopall", "stop all", "unsubscribe", "revoke", "optout", "opt out", "please stop")
_ROMANCE: Final = ("baja", "parar", "detener", "sair", "descadastrar", "arret", "arrêt", "arrêter", "désabonner")
_GERMANIC: Final = ("stopp", "abmelden", "abbestellen", "afmelden", "sluta", "stoppa", "avregistrera")
_OTHERS: Final = (
    "הסר",
    "הסירו",
    "הסירו אותי",
    "הסר אותי",
    "להסיר",
    "עצור",
    "עצרו",
    "הפסק",
    "הפסיקו",
    "стоп",
    "отписаться",
)
_FURTHER: Final = ("отпишите", "відписатися", "тоқтату", "إيقاف", "ايقاف", "توقف", "रोकें", "退订", "停止", "중지", "dur")
_BUTTONS: Final = ("stop promotions", "stop messages")

UNMISTAKABLE: Final = frozenset({*_ENGLISH, *_ROMANCE, *_GERMANIC, *_OTHERS, *_FURTHER, *_BUTTONS})
"""Words by which a person wants no more messages, also where they tap them: English, Spanish and Portuguese, French,
German, Dutch, Swedish, Hebrew, Russian, Ukrainian, Kazakh, Arabic, Hindi, Chinese, Korean, Turkish; and what the
buttons say that Meta puts below marketing templates."""

_ALSO: Final = ("cancel", "end", "quit", "salir", "cancelar", "отмена")

STOP: Final = UNMISTAKABLE | frozenset(_ALSO)
"""Those, and words that a person who writes nothing else means so, while a button with them cancels something else."""

START: Final = frozenset(["start", "unstop", "subscribe", "alta", "iniciar", "התחל", "הצטרף", "старт", "подписаться"])
"""Words by which they want them again."""

CODES: Final[dict[str, Scope]] = {"21610": "all", "63014": "all", "63033": "all", "131050": "marketing"}
"""Error codes of providers that tell that a person wants no messages. 131026 and 63032 have other causes."""

_LONGEST: Final = 40


def wants(text: str | None, *, tapped: bool = False) -> bool | None:
    """Whether *text*, all that a person wrote or *tapped*, asks for messages (True) or for none (False); None: neither.
    "Please stop by the office" is no stop."""
    if text is None or len(text) > _LONGEST:
        return None
    word = _plain(text)
    words = set(word.split())
    stops, starts = (_PLAIN_TAPPED if tapped else _PLAIN_STOP), _PLAIN_START
    if word in stops or (words and words <= stops):
        return False
    return True if word in starts or (words and words <= starts) else None


def _plain(text: str) -> str:
    """*text* without what does not tell words apart: case, accents, signs, pictures, and more than one blank."""
    kept = (c for c in folded(" ".join(text.split())) if category(c) == "Mc" or category(c)[0] in "LNZ")
    return " ".join("".join(kept).split())


_PLAIN_STOP: Final = frozenset(map(_plain, STOP))
_PLAIN_TAPPED: Final = frozenset(map(_plain, UNMISTAKABLE))
_PLAIN_START: Final = frozenset(map(_plain, START))


def told_preference(received: Any) -> tuple[Scope, bool] | None:
    """(what a person wants no more, or again; whether no more), as Meta's webhook `user_preferences` has it; None where
    it says something else."""
    value = received.get("value") if isinstance(received, dict) else None
    return ("marketing", value == "stop") if value in ("stop", "resume") else None
