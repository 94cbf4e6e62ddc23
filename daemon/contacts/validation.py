"""Whether a number is on WhatsApp: what the number itself tells, what a message tells, and which evidence counts.
Values in, values out: no clock, no calls.

What messages tell comes as two types of events, whose `data` is an object with these members; others are ignored:

    message.received   {"phone": "+972505550142", "at": "2031-03-01T12:00:00+00:00"}
    delivery.updated   {"phone": …, "at": …, "status": "delivered", "error_code": 131026}

They are those of schemas/told.py. A message that came by another channel than WhatsApp tells nothing. `error_code` is
Meta's, as a number or as text.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import phonenumbers
from phonenumbers import PhoneNumberType

from schemas.envelope import Event
from schemas.phone import Phone, aliases, is_reserved
from schemas.told import came_by_whatsapp, is_test_contact, phone_told, time_told, told_in
from schemas.whatsapp import Evidence, EvidenceSource

UNDELIVERABLE: Final = "131026"
"""Meta's error for a message that cannot reach the number. It has other causes too, so it counts as a no that expires,
and never as a sign that the person has blocked us."""

_MOBILE: Final = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})
_REACHED: Final = ("delivered", "read", "played")


@dataclass(frozen=True, slots=True)
class Terms:
    """For how many days an answer counts."""

    yes_days: int
    no_days: int

    def evidence(self, phone: Phone, has_whatsapp: bool, source: EvidenceSource, at: datetime) -> Evidence:
        """What *source* said of *phone* at *at*, with its end."""
        days = self.yes_days if has_whatsapp else self.no_days
        return Evidence(phone, has_whatsapp, source, at, at + timedelta(days=days))


def can_be_mobile(phone: Phone) -> bool:
    """Whether the rules of numbering allow *phone*, in any notation of its line, to be a mobile number.

    Ranges that are reserved for tests are taken for mobile, as no rule tells what they are.
    """
    return is_reserved(phone) or any(_is_mobile(e164) for e164 in aliases(phone.e164))


def _is_mobile(e164: str) -> bool:
    try:
        number = phonenumbers.parse(e164)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(number) and phonenumbers.number_type(number) in _MOBILE


def told_by(event: Event, terms: Terms) -> Evidence | None:
    """The evidence of a message or of a status; None where it tells nothing of WhatsApp, or of no number.

    What is told to have happened after the event's arrival happened at its arrival: another clock runs ahead.
    Raises: Malformed.
    """
    told = told_in(event)
    number = phone_told(told)
    if number is None or is_test_contact(told.get("contact_id")):
        return None
    at = time_told(told, event.time)
    if event.type == "message.received":
        return terms.evidence(number, True, "message", at) if came_by_whatsapp(told) else None
    if told.get("status") in _REACHED:
        return terms.evidence(number, True, "delivery", at)
    if told.get("status") == "failed" and str(told.get("error_code")) == UNDELIVERABLE:
        return terms.evidence(number, False, "delivery", at)
    return None


def heavier(one: Evidence | None, other: Evidence) -> Evidence:
    """Of two pieces of evidence of one line the one that counts."""
    return other if one is None or other.weight > one.weight else one


def is_news(known: Evidence | None, new: Evidence, now: datetime) -> bool:
    """Whether with *new* the answer at *now* is another one than with what is *known*."""
    answer = heavier(known, new).answer(now)
    return answer is not None and answer is not (None if known is None else known.answer(now))
