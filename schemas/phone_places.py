"""Where a phone number is from, as libphonenumber has it."""

from __future__ import annotations

import phonenumbers

from schemas.phone import Phone

_WORLD = "001"
"""libphonenumber's region of numbers that belong to no country."""

_UNKNOWN_ZONE = "Etc/Unknown"


def country_of(phone: Phone) -> str | None:
    """The ISO 3166 code of its country; None where that is not known."""
    region = phonenumbers.region_code_for_number(phonenumbers.parse(phone.e164))
    return None if region in (None, _WORLD) else region


def time_zone_of(phone: Phone) -> str | None:
    """Its IANA time zone; None where its prefix has several, or none."""
    zones = time_zones_of(phone)
    return zones[0] if len(zones) == 1 else None


def time_zones_of(phone: Phone) -> tuple[str, ...]:
    """The IANA time zones in which its prefix is used; empty where none is known."""
    from phonenumbers.timezone import time_zones_for_number  # its tables take memory, and few accounts want them

    return tuple(zone for zone in time_zones_for_number(phonenumbers.parse(phone.e164)) if zone != _UNKNOWN_ZONE)
