"""What a voice note says, and what a person wants: the words of transcription and intent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

MOST_TEXT: Final = 100_000
"""Characters of a transcript that are kept."""

MOST_UNDERSTOOD: Final = 10_000
"""Characters of a text whose intent is looked for: an order is said early, and a model is paid by its words."""

MOST_VALUE: Final = 200
"""Characters of a parameter, as of a topic."""

Kind: TypeAlias = Literal["NOTE", "ORDER"]
"""Something to be kept; or content to be made."""


@dataclass(frozen=True, slots=True, repr=False)
class Transcript:
    """What was said. *text*: at most MOST_TEXT characters, "" where nobody spoke. *duration_s*: of the audio in
    seconds, *language*: by its two letters; None where the model does not tell."""

    text: str
    duration_s: float | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """What a person wants. *confidence*: 0 to 1. *reason*: how it was found, in words of ours alone. *params*: what an
    order says of itself, by the names of its fields, in lower case; none of a note. *language*: by its two letters."""

    kind: Kind
    confidence: float
    reason: str
    params: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    language: str = "en"
