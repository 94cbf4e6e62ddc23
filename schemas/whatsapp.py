"""Whether a number is on WhatsApp, as one piece of evidence tells it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from schemas.phone import Phone

EvidenceSource: TypeAlias = Literal["offline", "cgb", "whapi", "message", "delivery"]
"""offline: the rules of numbering alone. cgb, whapi: a checker was asked. message: the number has written to us.
delivery: a message to it was delivered or read, or failed with Meta's error 131026."""


@dataclass(frozen=True, slots=True, repr=False)
class Evidence:
    """*phone* was on WhatsApp at *at*, or was not, says *source*. It counts until *expires_at*; after that nothing is
    known, and no older evidence comes back."""

    phone: Phone
    has_whatsapp: bool
    source: EvidenceSource
    at: datetime
    expires_at: datetime

    @property
    def weight(self) -> tuple[bool, datetime, bool, str, datetime]:
        """Of two pieces of evidence the one that weighs more counts, whichever arrives first: the newer one, and at the
        same time a yes. The rules of numbering alone count only until anything else is learned."""
        return self.source != "offline", self.at, self.has_whatsapp, self.source, self.expires_at

    def answer(self, now: datetime) -> bool | None:
        """What it says at *now*; None once it has expired."""
        return self.has_whatsapp if self.expires_at > now else None
