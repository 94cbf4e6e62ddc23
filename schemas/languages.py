"""In which language a person is written to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

LANGUAGES: Final[Mapping[str, str]] = {"il": "he", "ru": "ru", "se": "sv", "co": "en"}
"""The language of a branch's customers, as the running system has it; Kazakhstan's is not known."""

_CODE: Final = re.compile(r"([a-z]{2})(?:[-_][a-z]{2,4})?", re.IGNORECASE)


def language_of(told: str | None, branch: str | None) -> str | None:
    """The ISO 639 code of a person's language: of what is *told* of them, as `he` or `en_US`, where that is one; else
    that of their *branch*; None where neither is known."""
    found = _CODE.fullmatch((told or "").strip())
    return found[1].lower() if found else LANGUAGES.get(branch or "")
