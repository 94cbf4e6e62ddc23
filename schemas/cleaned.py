"""What is written to a provider: without invisible steering, and cut at a documented length.

A text field holds at most TEXT_LENGTH characters (Unicode code points), a name NAME_LENGTH. Control and bidirectional
characters could steer the terminal or the page of whoever reads the text; a value of any length could make an answer
longer than we read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from unicodedata import category, combining

from schemas.contacts import FieldValue

TEXT_LENGTH: Final = 1000
NAME_LENGTH: Final = 100
NAME_FIELDS: Final = frozenset({"customer_name"})
"""The custom fields that hold a name."""

_LONGEST_CLUSTER: Final = 64
"""A visible character of more code points than that is made up, and is cut like any text."""

_LINE_BREAKS: Final = re.compile("\r\n|[\t-\r\x1c-\x1f\x85\u2028\u2029]")
_STEERING: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_JOINER: Final = "\u200d"
_AS_EMOJI: Final = "\ufe0f"
_EXTENDING: Final = re.compile(
    "[\u0e33\u0eb3\u1160-\u11ff\u200c\u200d\uff9e\uff9f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]"
)
_PRECEDING: Final = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2]")
"""Signs that stand before the number which they belong to."""

_SYLLABLE: Final = re.compile("[\u1100-\u115f\ua960-\ua97c][\u1100-\u115f\ua960-\ua97c\uac00-\ud7a3]")
_VIRAMA: Final = 9
"""The combining class of the signs that join two letters of Indic scripts to one."""

_FLAG_HALF: Final = re.compile("[\U0001f1e6-\U0001f1ff]")


def visible(text: str) -> str:
    """*text* without control and bidirectional characters. Breaks of lines and tabs become blanks. Two surrogates that
    belong together become their character, and a lone one U+FFFD."""
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _STEERING.sub("", _LINE_BREAKS.sub(" ", text))


def cut(text: str, most: int) -> str:
    """The beginning of *text*, at most *most* characters long; it ends between two visible characters."""
    if len(text) <= most:
        return text
    end = most
    while end > max(0, most - _LONGEST_CLUSTER) and is_within_a_character(text, end):
        end -= 1
    return text[:end] if end and not is_within_a_character(text, end) else text[:most]


def is_one_emoji(text: str) -> bool:
    """Whether *text* is one visible character, and no letter, digit or sign of a keyboard. Of what that leaves, a few
    are no emoji."""
    if not text or text.isascii() or len(text) > _LONGEST_CLUSTER:
        return False
    kind = category(text[0])  # "Cn": an emoji that is newer than Python's table
    if kind[0] not in "SPN" and kind != "Cn" and text[1:] != _AS_EMOJI:
        return False
    return all(is_within_a_character(text, at) for at in range(1, len(text)))


def is_short_and_clean(value: FieldValue) -> bool:
    """Whether *value* surely stays as it is, in whatever field. Most values do, and this is the quickest way to know:
    none of the characters that `visible` removes is printable by Unicode."""
    return not isinstance(value, str) or (len(value) <= NAME_LENGTH and value.isprintable())


def length_of(name: str) -> int:
    """How many characters the custom field *name* may hold."""
    return NAME_LENGTH if name in NAME_FIELDS else TEXT_LENGTH


def cleaned(value: FieldValue, most: int = TEXT_LENGTH) -> FieldValue:
    """*value* as it is written to a provider; cleaned again it stays the same."""
    return cut(visible(value), most) if isinstance(value, str) else value


def cleaned_fields(fields: Mapping[str, FieldValue]) -> dict[str, FieldValue]:
    """Each of *fields* as it is written: what a directory holds after a write is compared with these."""
    return {
        name: value if is_short_and_clean(value) else cleaned(value, length_of(name)) for name, value in fields.items()
    }


def is_within_a_character(text: str, at: int) -> bool:
    """Whether *text* up to *at* ends amid a visible character: a base with its marks, an emoji of several, a flag."""
    before, after = text[at - 1], text[at]
    if category(after).startswith("M") or _EXTENDING.match(after) or before == _JOINER:
        return True
    if (before, after) == ("\r", "\n") or (combining(before) == _VIRAMA and category(after) == "Lo"):
        return True
    if _SYLLABLE.match(before + after) or (_PRECEDING.match(before) and after not in "\r\n"):
        return True
    if not (_FLAG_HALF.match(before) and _FLAG_HALF.match(after)):
        return False
    halves = 0
    while halves < at and _FLAG_HALF.match(text[at - 1 - halves]):
        halves += 1
    return halves % 2 == 1
