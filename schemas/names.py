"""Names of people, as they are searched by."""

from __future__ import annotations

from typing import Final
from unicodedata import category, normalize

MOST_WORDS: Final = 16
LONGEST_WORD: Final = 40
_LONGEST_NAME: Final = 1000


def words_of(name: str | None) -> list[str]:
    """The words of *name* in lower case, each once: letters and digits of any script with their marks. At most
    MOST_WORDS, each cut to LONGEST_WORD characters."""
    if not name:
        return []
    folded = normalize("NFKC", name[:_LONGEST_NAME]).casefold()
    text = "".join(c if c.isalnum() or category(c).startswith("M") else " " for c in folded)
    return list(dict.fromkeys(word[:LONGEST_WORD] for word in text.split()))[:MOST_WORDS]
