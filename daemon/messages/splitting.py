"""A long text as several messages: values in, values out."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import takewhile
from typing import Final, NamedTuple

from schemas.cleaned import cut, is_within_a_character

_GAPS: Final = re.compile(r"[^\S\xa0\u202f\u2007]+|(?<=[。！？｡])")
"""Where a text may be parted without tearing a word: white space that is none of those that hold words together, and
behind the end of a sentence in scripts that write none."""

_SENTENCE_ENDS: Final = re.compile(r"[.!?…。！？｡؟۔।॥։][\"'”’»)\]]*$")
_LONGEST_END: Final = 8


class _Gap(NamedTuple):
    """A place where a text may be parted. *rank*: 3 between paragraphs, 2 lines, 1 sentences, 0 words. What is from
    *start* to *end* is left out."""

    rank: int
    start: int
    end: int


def split(text: str, takes: Callable[[str], bool]) -> list[str] | None:
    """*text* in parts that *takes* holds for, in their order: parted between paragraphs, else lines, else sentences,
    else words, else visible characters, each part as long as that allows. They hold all of *text* but the white space
    at its ends and between them. None: there are no such parts.

    *takes*: whether a text can be sent; where one can, so can its beginnings that show something.
    """
    parts, rest = [], text.strip()
    while rest and not takes(rest):
        most = _longest(rest, takes)
        start, end = _parted(rest, most)
        if start == 0:
            return None
        parts.append(rest[:start].rstrip())
        rest = rest[end:].lstrip()
    if rest:
        parts.append(rest)
    return parts if parts and all(map(takes, parts)) else None


def _longest(text: str, takes: Callable[[str], bool]) -> int:
    """The length of the longest beginning of *text*, which is too long itself, that *takes* holds for; 0: there is
    none. Its first character counts as one that shows: a text may begin with marks of direction, which show nothing.
    """
    shown = f"x{text[1:]}"
    low, high = 0, 1
    while high < len(text) and takes(shown[:high]):
        low, high = high, high * 2
    high = min(high, len(text))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if takes(shown[:middle]) else (low, middle)
    return low


def _parted(text: str, most: int) -> tuple[int, int]:
    """Where the first part of *text* ends, at most *most* characters long, and where the rest begins."""
    reached = takewhile(lambda match: match.start() <= most, _GAPS.finditer(text))
    best = max((gap for match in reached if (gap := _gap(text, match)) is not None), default=None)
    if best is not None:
        return best.start, best.end
    end = len(cut(text, most))
    return end, end


def _gap(text: str, match: re.Match[str]) -> _Gap | None:
    """The gap at *match*; None where no part can end there."""
    start, end = match.span()
    if start == 0 or (end < len(text) and is_within_a_character(text, end)):
        return None
    breaks = len(f"x{match[0]}x".splitlines()) - 1
    if breaks:
        return _Gap(3 if breaks > 1 else 2, start, end)
    ends = start == end or _SENTENCE_ENDS.search(text[max(0, start - _LONGEST_END) : start]) is not None
    return _Gap(1 if ends else 0, start, end)
