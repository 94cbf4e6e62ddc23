"""Words as they are compared: whatever the case, the width and the notation in which they were written."""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from unicodedata import category, normalize

_HEBREW_POINTS: Final = [n for n in range(0x0591, 0x05C8) if n not in (0x05BE, 0x05C0, 0x05C3, 0x05C6)]
_UNSEEN: Final = [*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0x00AD, 0xFEFF]
_LEFT_OUT: Final[dict[int, None]] = dict.fromkeys([*_HEBREW_POINTS, *_UNSEEN])
_NO_LETTERS: Final = frozenset({"Mn", "Me", "Cf"})


def plain(text: str) -> str:
    """*text* in one notation of its characters (NFKC), without vowel points of Hebrew and what nobody sees."""
    return normalize("NFKC", text).translate(_LEFT_OUT)


def accented(text: str) -> str:
    """*text* without regard to case, width and vowel points; a letter with an accent is another one than without."""
    return normalize("NFKC", plain(text).casefold())


def folded(text: str) -> str:
    """*text* without regard to case, width, vowel points and accents."""
    bare = "".join(c for c in normalize("NFKD", text) if category(c) not in _NO_LETTERS)
    return normalize("NFKC", bare.casefold())


@lru_cache(maxsize=8192)
def word_folded(word: str) -> str:
    """`folded`, remembered: of a single word, as the same ones come again and again."""
    return folded(word)
