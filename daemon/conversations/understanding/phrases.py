"""Phrases of rule files: words, some of them optional or one of several, found in a text. Values in, values out.

An operator writes no regular expressions: one that takes hours over a customer's text is easily written. A phrase is
followed word by word through all its ways at once, so its time is bounded by its own length for each word of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

from schemas.folding import plain, word_folded

GAP: Final = 3
"""Words that `...` stands for at most."""

MOST_PARTS: Final = 24
MOST_WORDS: Final = 1500
"""Words of a text that are looked at."""

_SHORTEST_REST: Final = 3
"""Letters that must be left of a word without its prefixes: a shorter rest is mostly another word."""

_MOST_PREFIXES: Final = 3

_APOSTROPHES: Final = dict.fromkeys(map(ord, "’ʼ‘`´"), "'")

_LETTER: Final = r"(?:[^\W_]|[\u0300-\u036f])"
_TOKEN: Final = re.compile(
    rf"(?P<tag>\#(?:{_LETTER}|_)+)|(?P<word>{_LETTER}+(?:'{_LETTER}+)*(?:\.com(?!\w))?)"
    r"|(?P<comma>[,()–—])|(?P<end>[.!?:;\n\r。؟।]+)"
)
_PART: Final = re.compile(r"\(([^()\[\]]*)\)|\[([^()\[\]]*)\]|(\.\.\.)|(\$)|([^\s()\[\]|$]+)")

Token: TypeAlias = Literal["word", "tag", "comma", "end"]


class Word(NamedTuple):
    """A word of a text, or what parts it. *folded*: without case and accents. *start*, *end*: where it stands."""

    kind: Token
    folded: str
    start: int
    end: int


class Part(NamedTuple):
    """A part of a phrase. *kind*: word: one of *words*, or one that begins with one of *stems*; any: whatever word;
    end: of the sentence, which takes no word."""

    kind: Literal["word", "any", "end"]
    words: frozenset[str] = frozenset()
    stems: tuple[str, ...] = ()
    optional: bool = False


Phrase: TypeAlias = tuple[Part, ...]


def cleaned(text: str) -> str:
    """*text* in one notation of its characters and apostrophes, without vowel points and what is not seen."""
    return plain(text).translate(_APOSTROPHES)


def words_of(text: str) -> list[Word]:
    """The words of a *cleaned* text, the first MOST_WORDS."""
    found: list[Word] = []
    for match in _TOKEN.finditer(text):
        kind: Token = match.lastgroup  # type: ignore[assignment]  # the groups have the names of the kinds
        found.append(Word(kind, word_folded(match[0]) if kind == "word" else "", match.start(), match.end()))
        if len(found) == MOST_WORDS:
            break
    return found


def phrase_of(text: str) -> Phrase:
    """The phrase that *text* writes. Raises: ValueError, with what is wrong in an operator's words."""
    if _PART.sub("", text).strip():
        raise ValueError("has a bracket or a bar that is not paired: write (a|b) or [a|b]")
    parts: list[Part] = []
    for group, maybe, gap, end, single in _PART.findall(text):
        if gap:
            parts += [Part("any", optional=True)] * GAP
        elif end:
            parts.append(Part("end"))
        else:
            parts.append(_one_of(group or maybe or single, optional=bool(maybe)))
    if not parts or all(part.optional or part.kind == "end" for part in parts):
        raise ValueError("needs a word that must be there")
    if parts[0].kind != "word":
        raise ValueError("must begin with a word")
    if len(parts) > MOST_PARTS:
        raise ValueError(f"has more than {MOST_PARTS} parts, of which ... counts {GAP}: write two phrases")
    return tuple(parts)


def _one_of(text: str, *, optional: bool) -> Part:
    words, stems = set(), []
    for word in text.split("|"):
        bare = word_folded(cleaned(word.strip().removesuffix("*")))
        found = words_of(bare)
        if len(found) != 1 or found[0].kind != "word" or found[0].folded != bare:
            raise ValueError('must have single words, without signs: between ( and | for one of several, "*" at an end')
        if word.strip().endswith("*"):
            stems.append(bare)
        else:
            words.add(bare)
    return Part("word", frozenset(words), tuple(stems), optional)


class Hit(NamedTuple):
    """A phrase was found: the number that it was given, and the words from *start* to before *end*."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Phrases:
    """Phrases of one language by the words that they may begin with, each with a number. *stems*: the same for
    beginnings of words. *prefixes*: letters that words may begin with beside the word itself."""

    words: Mapping[str, Sequence[tuple[int, Phrase]]]
    stems: Mapping[str, Sequence[tuple[int, Phrase]]]
    prefixes: frozenset[str]

    @classmethod
    def of(cls, numbered: Sequence[tuple[int, Phrase]], prefixes: str = "") -> Phrases:
        """Those of *numbered*, ready to be looked for."""
        words: dict[str, list[tuple[int, Phrase]]] = {}
        stems: dict[str, list[tuple[int, Phrase]]] = {}
        for number, phrase in numbered:
            for part in _beginnings(phrase):
                for word in part.words:
                    words.setdefault(word, []).append((number, phrase))
                for stem in part.stems:
                    stems.setdefault(stem, []).append((number, phrase))
        return cls(words, stems, frozenset(word_folded(letter) for letter in prefixes))

    def found_in(self, text: Sequence[Word]) -> Iterator[Hit]:
        """Every place where one of the phrases is, as long as it goes there."""
        forms = [self._forms(word) for word in text]
        lengths = sorted({len(stem) for stem in self.stems})
        for at, several in enumerate(forms):
            begun = {id(one): one for form in several for one in self._begun(form, lengths)}
            for number, phrase in begun.values():
                end = _followed(phrase, text, forms, at)
                if end is not None:
                    yield Hit(number, at, end)

    def _begun(self, form: str, lengths: Sequence[int]) -> Iterator[tuple[int, Phrase]]:
        yield from self.words.get(form, ())
        for length in lengths:
            if length <= len(form):
                yield from self.stems.get(form[:length], ())

    def _forms(self, word: Word) -> tuple[str, ...]:
        """The word, and what is left of it without its prefixes."""
        if word.kind != "word":
            return ()
        found = [word.folded]
        while len(found) <= _MOST_PREFIXES and found[-1][:1] in self.prefixes and len(found[-1]) > _SHORTEST_REST:
            found.append(found[-1][1:])
        return tuple(found)


def _beginnings(phrase: Phrase) -> Iterator[Part]:
    """The parts that the phrase may begin with."""
    for part in phrase:
        if part.kind == "word":
            yield part
        if not part.optional:
            return


def _followed(phrase: Phrase, text: Sequence[Word], forms: Sequence[tuple[str, ...]], at: int) -> int | None:
    """Where the longest way of *phrase* from the word *at* on ends; None where there is none."""
    best = None
    states = _open({0}, phrase, text, at)
    while states:
        if len(phrase) in states:
            best = at
        if at == len(text):
            break
        inner = [n for n in states if n < len(phrase)]
        if text[at].kind == "comma":
            states = {n for n in inner if phrase[n].kind == "any"}  # it counts for no word
        else:
            states = {n + 1 for n in inner if _takes(phrase[n], text[at].kind, forms[at])}
        at += 1
        states = _open(states, phrase, text, at)
    return best


def _open(states: set[int], phrase: Phrase, text: Sequence[Word], at: int) -> set[int]:
    """*states* with all that follows from them without a word."""
    ended = at == len(text) or text[at].kind != "word"
    for n in range(min(states, default=len(phrase)), len(phrase)):
        if n in states and (phrase[n].optional or (phrase[n].kind == "end" and ended)):
            states.add(n + 1)
    return states


def _takes(part: Part, kind: Token, forms: tuple[str, ...]) -> bool:
    if part.kind == "any":
        return kind == "word"
    return part.kind == "word" and any(form in part.words or form.startswith(part.stems) for form in forms)
