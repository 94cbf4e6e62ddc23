"""What people write, in words that can be compared: in any case and script, without marks, emoji and punctuation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias
from unicodedata import category, digit

from schemas.cleaned import cut, visible
from schemas.folding import word_folded

MOST_READ: Final = 2000
"""Characters of a message that are read for answers. What is longer is no answer to a question with options."""

_LONGEST_WORD: Final = 60
_WITHIN: Final = frozenset("'’ʼ׳״\"`´")
"""Signs that stand within a word, between two letters, and are no part of it."""

_HEBREW: Final = range(0x05D0, 0x05EB)
_HEBREW_PREFIXES: Final = frozenset("בהוכלמש")
"""Letters that Hebrew writes before a word and together with it: in, the, and, as, to, from, that."""

Phrase: TypeAlias = tuple[str, ...]


class Token(NamedTuple):
    """A word of a text. *word*: as it is compared. *start*, *end*: where it stands."""

    word: str
    start: int
    end: int


class Meaning(NamedTuple):
    """What a phrase says. *kind*: `option`, `field`, `lead`, `fill`, `correct`, or `negate`."""

    kind: str
    field: str = ""
    value: str = ""


class Hit(NamedTuple):
    """Words of a text that say something; *meanings* is empty where a word says nothing that is known."""

    at: int
    length: int
    meanings: tuple[Meaning, ...]

    def of(self, kind: str) -> Meaning | None:
        """Its first meaning of that kind."""
        return next((one for one in self.meanings if one.kind == kind), None)


Lexicon: TypeAlias = Mapping[Phrase, Sequence[Meaning]]
"""What each phrase says."""


def readable(text: str) -> str:
    """*text* without control characters, cut at what is read of it. Breaks of lines become blanks."""
    return visible(cut(text, MOST_READ)).strip()


def tokens(text: str) -> list[Token]:
    """The words of *text*."""
    found, start = [], None
    for at, char in enumerate(text):
        if _is_of_word(text, at, char):
            start = at if start is None else start
        elif start is not None:
            found.append(Token(folded(text[start:at]), start, at))
            start = None
    if start is not None:
        found.append(Token(folded(text[start:]), start, len(text)))
    return [token for token in found if token.word]


def _is_of_word(text: str, at: int, char: str) -> bool:
    if char.isascii():
        if char.isalnum():
            return True
        return char in _WITHIN and 0 < at < len(text) - 1 and text[at - 1].isalnum() and text[at + 1].isalnum()
    if char.isalnum() or category(char)[0] == "M" or category(char) == "Cf":
        return True
    return char in _WITHIN and 0 < at < len(text) - 1 and text[at - 1].isalnum()


def folded(word: str) -> str:
    """*word* as it is compared: without marks and signs; digits of any script are ASCII ones."""
    plain = word_folded(word[:_LONGEST_WORD])
    return "".join(str(digit(c)) if c.isdecimal() else c for c in plain if c.isalnum())


@lru_cache(maxsize=4096)
def phrase(text: str) -> Phrase:
    """The words of a text of the rules."""
    return tuple(token.word for token in tokens(text))


def same(one: str, other: str) -> bool:
    """Whether two texts are the same in words; where neither has any, in characters (emoji, with or without the
    selector of their form)."""
    words = phrase_of(one)
    if words or phrase(other):
        return words == phrase(other)
    return one.replace("\ufe0f", "").strip() == other.replace("\ufe0f", "").strip() != ""


def phrase_of(text: str) -> Phrase:
    """The words of a text that a person wrote; it is not remembered, as those of rules are."""
    return tuple(token.word for token in tokens(text))


def hits(words: Sequence[str], lexicon: Lexicon, longest: int) -> Iterator[Hit]:
    """What *words* say, from the first to the last; of phrases that begin at one word the longest counts. *longest*:
    no phrase has more words."""
    at = 0
    while at < len(words):
        hit = _longest_at(words, at, lexicon, longest)
        yield hit
        at += hit.length


def _longest_at(words: Sequence[str], at: int, lexicon: Lexicon, longest: int) -> Hit:
    for length in range(min(longest, len(words) - at), 0, -1):
        for first in _spellings(words[at]):
            found = lexicon.get((first, *words[at + 1 : at + length]))
            if found:
                return Hit(at, length, tuple(found))
    return Hit(at, 1, ())


def _spellings(word: str) -> Iterator[str]:
    """*word*, and what it is without letters that Hebrew puts before it."""
    yield word
    for prefixes in (1, 2):
        if len(word) < prefixes + 2 or word[prefixes - 1] not in _HEBREW_PREFIXES or ord(word[prefixes]) not in _HEBREW:
            return
        yield word[prefixes:]


def ordinal(words: Sequence[str], ordinals: Mapping[str, int], fill: frozenset[str], count: int) -> int | None:
    """Which of *count* options, from 0, *words* name by its number; None where they name none, or say more.

    *ordinals*: word -> its number from 1, -1: the last one. *fill*: words that mean nothing beside a number. One of
    them may itself be an ordinal, as in "the first one"; alone it counts as the last word, as in "option a": before
    another one it is an article, as in "write a post".
    """
    words = [_known(word, ordinals, fill) for word in words]
    numbers = {word: n for word in words if (n := _number(word, ordinals)) is not None}
    if not numbers or any(word not in numbers and word not in fill for word in words):
        return None
    last = {numbers[words[-1]]} if words[-1] in numbers else set()
    meant = {n for word, n in numbers.items() if word not in fill} or last
    if len(meant) != 1:
        return None
    number = meant.pop()
    at = count - 1 if number == -1 else number - 1
    return at if 0 <= at < count else None


def _known(word: str, ordinals: Mapping[str, int], fill: frozenset[str]) -> str:
    """The spelling of *word* that means something beside options, else the word."""
    return next((one for one in _spellings(word) if one in ordinals or one in fill), word)


def _number(word: str, ordinals: Mapping[str, int]) -> int | None:
    if word in ordinals:
        return ordinals[word]
    return int(word) if word.isascii() and word.isdecimal() and len(word) <= 2 else None
