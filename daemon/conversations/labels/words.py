"""Words in what people write, whatever the script and the case: whole words, found in one pass over the text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from schemas.folding import accented

_TOKEN: Final = re.compile(r"[^\W_]+")


def tokens_of(text: str) -> list[str]:
    """The words of *text*, as they are compared: an accent makes another word."""
    return _TOKEN.findall(accented(text))


class _Phrase(NamedTuple):
    """A phrase of rule *name*. *rest*: its words after the first. *open*: its last word may go on."""

    name: str
    rest: tuple[str, ...]
    open: bool


class Phrases:
    """Phrases by the name that each stands for. A phrase that ends in a star may go on in its last word. *negations*:
    words that, right before a phrase, take it back."""

    def __init__(self, given: Mapping[str, Iterable[str]], negations: Iterable[str] = ()) -> None:
        self._closed: dict[str, list[_Phrase]] = {}
        self._open: dict[str, list[_Phrase]] = {}
        self._negations = frozenset(token for one in negations for token in tokens_of(one))
        for name, phrases in given.items():
            for phrase in phrases:
                self._add(name, phrase)
        self._lengths = sorted({len(stem) for stem in self._open})

    def _add(self, name: str, phrase: str) -> None:
        first, *rest = tokens_of(phrase.removesuffix("*"))
        is_open = phrase.endswith("*")
        where = self._open if is_open and not rest else self._closed
        where.setdefault(first, []).append(_Phrase(name, tuple(rest), is_open))

    def found_in(self, text: str) -> set[str]:
        """The names of which *text* has a phrase."""
        tokens = tokens_of(text)
        found: set[str] = set()
        for at, token in enumerate(tokens):
            if at and tokens[at - 1] in self._negations:
                continue
            for phrase in self._closed.get(token, ()):
                if phrase.name not in found and _follows(phrase, tokens, at + 1):
                    found.add(phrase.name)
            for length in self._lengths:
                found.update(phrase.name for phrase in self._open.get(token[:length], ()) if len(token) >= length)
        return found


def _follows(phrase: _Phrase, tokens: Sequence[str], at: int) -> bool:
    """Whether the rest of *phrase* stands at *at*."""
    if not phrase.rest:
        return True
    *middle, last = tokens[at : at + len(phrase.rest)] or ("",)
    if len(middle) + 1 != len(phrase.rest) or tuple(middle) != phrase.rest[:-1]:
        return False
    return last.startswith(phrase.rest[-1]) if phrase.open else last == phrase.rest[-1]
