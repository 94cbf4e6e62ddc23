"""Titles of labels, as Chatwoot takes them.

Of an account label Chatwoot asks: letters and digits of any script, hyphens and underscores, the first of them a letter
or a digit, two at least (chatwoot/chatwoot: app/models/label.rb, lib/regex_helper.rb), 255 at most
(app/models/application_record.rb), all in small letters. Labels of conversations it takes in any shape, but for commas,
which part them; one that no account label can have would never be seen.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from schemas.errors import Malformed

LONGEST: Final = 255

_RUN: Final = re.compile(r"-* [- ]*")
"""What becomes one hyphen: a blank stands for every character that no title has."""


class NoTitle(Malformed):
    """A text of which no title can be made."""


def title_of(text: str) -> str:
    """The title that *text* stands for: `journey:first-contact` is `journey-first-contact`. A text that is a title
    stays as it is, but for capitals. What no title may hold becomes a hyphen.

    Raises: NoTitle with the reason: nothing is left, a single character is, it is too long, or it has marks without
    which it would be another word.
    """
    folded = _folded(text)
    if any(unicodedata.category(char) in ("Mn", "Mc", "Me") for char in folded):
        raise NoTitle("a label has a mark that Chatwoot takes in no label: write it without vowel signs and accents")
    plain = "".join(char if _may_stand(char) else " " for char in folded)
    title = _RUN.sub("-", plain.strip(" ").lstrip(" _-"))
    if len(title) < 2:
        raise NoTitle("a label needs two letters or digits at least")
    if len(title) > LONGEST:
        raise NoTitle(f"a label has more than {LONGEST} characters")
    return title


def is_title(text: str) -> bool:
    """Whether *text* is a title as it is."""
    try:
        return title_of(text) == text
    except NoTitle:
        return False


def same(one: str, other: str) -> bool:
    """Whether Chatwoot takes both for one label: it keeps the capitals that a label had first."""
    return one.casefold() == other.casefold()


def _folded(text: str) -> str:
    """*text* in one notation and in small letters. Small letters may have another notation, so it is done anew until
    nothing changes."""
    while (folded := unicodedata.normalize("NFKC", text).lower()) != text:
        text = folded
    return text


def _may_stand(char: str) -> bool:
    return char in "-_" or unicodedata.category(char)[0] in "LN"
