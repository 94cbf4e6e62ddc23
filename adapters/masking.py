"""What a system outside wrote about a failure, without what is personal in it.

What we sent is known, so it is taken out as it stands. What else may be personal is not known: the contact may have
another name in the account. So of the rest only short numbers and words that can hardly be a name are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

_HEARD: Final = 2000
"""How many characters of a text are looked at."""

_LONGEST_TEXT: Final = 200
_SHORTEST_WORD: Final = 3
_MOST_SENT: Final = 16_384
"""How many characters of a request are searched for. With a longer one no text is kept, as parts of it may be there."""

_EMAIL: Final = re.compile(r"\S+@\S+")
_NUMBER: Final = re.compile(r"\+?\d(?:[\s().-]{0,2}\d){4,}")
_QUOTED: Final = re.compile(r"\"[^\"]*\"|“[^”]*”|«[^»]*»|`[^`]*`|(?<!\w)'[^']*'(?!\w)")
_WORD: Final = re.compile(r"[^\W\d]+(?:['’-][^\W\d]+)*")
_NOT_PRIVATE: Final = frozenset({"action", "field_name", "recipient_type", "messaging_product", "type", "channel"})
_PLAIN: Final = frozenset(
    re.findall(
        r"[a-z]+",
        """
    a access account action actions already an and api bad bot cannot channel contact contacts content could
    custom denied duplicate email empty error exceeded exists expired failed field fields flow forbidden format
    http id in inactive internal invalid is it json key language limit limited long max maximum message messages
    method missing must name no not number of only page parameter parameters payment permission phone please rate
    request requests required server service subscriber tag template that the this to token too type unauthorized
    unauthenticated unknown unsupported update url user validation value values we whatsapp wrong you your
    """,
    )
)
"""Words that are kept with capitals, too."""


def without_sent(text: str, sent: Iterable[str]) -> str | None:
    """*text* without the words of what was *sent*, upper or lower case; None where more was sent than is searched for.

    Each word is searched for by itself, so the time is bounded whatever was sent.
    """
    text = text[:_HEARD]
    lower = text.lower()
    found: set[str] = set()
    left = _MOST_SENT
    for value in sent:
        if (left := left - len(value)) < 0:
            return None
        words = (value, *value.split())
        found.update(word for word in words if len(word) >= _SHORTEST_WORD and word.lower() in lower)
    if not found:
        return text
    longest_first = sorted(found, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), "…", text, flags=re.I)


def masked(text: str) -> str:
    """*text* without e-mail addresses, long numbers, quotations and words that may be names; at most 200 characters."""
    for private in (_EMAIL, _QUOTED, _NUMBER):
        text = private.sub("…", text)
    text = _WORD.sub(lambda word: word[0] if _is_plain(word[0]) else "…", text)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_LONGEST_TEXT]


def texts_of(sent: Any) -> Iterator[str]:
    """Every text and number of *sent* that may be personal."""
    if isinstance(sent, Mapping):
        for key, value in sent.items():
            if key not in _NOT_PRIVATE:
                yield from texts_of(value)
    elif isinstance(sent, list | tuple):
        for value in sent:
            yield from texts_of(value)
    elif isinstance(sent, str | int | float):
        yield str(sent)


def _is_plain(word: str) -> bool:
    """Whether *word* is no name as names are written: a word of English in small letters, or a known one."""
    return word.isascii() and (word.islower() or word.lower() in _PLAIN)
