"""What is personal, as it may be shown to whoever has not asked for it by a person and a reason.

A phone is its country code and last two digits; an e-mail address its first letter and its domain; a name its initials;
a text its length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import phonenumbers

from daemon.telemetry.redaction import is_sensitive, redact_text

_PLAIN_NAMES: Final = re.compile(
    r"(?:id|ids|type|kind|status|state|provider|account|language|template|currency|branch|event|code|source|model"
    r"|version|revision|method|category|direction|channel|system|place|time|at|worker|outcome|reason|action|operation"
    r"|.*_id|.*_ids|.*_at|.*_status|.*_type|.*_code|.*_kind|.*_count)",
)
"""Names of fields whose values say nothing of a person where they look like a word, a number or a time."""

_PLAIN_VALUE: Final = re.compile(r"[A-Za-z0-9_.:/+-]{1,80}")
_DIGITS: Final = re.compile(r"\d{7,}")


def phone(value: str | None) -> str | None:
    """`+972…42`; what is no phone: its length."""
    if value is None:
        return None
    try:
        code = phonenumbers.parse(value if value.startswith("+") else f"+{value}").country_code
    except phonenumbers.NumberParseException:
        return text(value)
    return f"+{code}…{value[-2:]}"


def email(value: str | None) -> str | None:
    """`d…@example.com`."""
    if value is None:
        return None
    local, at, domain = value.strip().rpartition("@")
    return f"{local[:1]}…@{domain}" if at and local and "@" not in local else text(value)


def name(value: str | None) -> str | None:
    """`D. L.`"""
    if value is None:
        return None
    return " ".join(f"{word[0].upper()}." for word in re.findall(r"[^\W\d_]+", value)[:4]) or text(value)


def text(value: str | None) -> str | None:
    """`(12 characters)`."""
    return None if value is None else f"({len(value)} characters)"


def key(value: str) -> str:
    """The key of an event, as `+972…42`, `email:d…@example.com`, `order:…07`."""
    if value.startswith("+"):
        return phone(value) or ""
    kind, colon, rest = value.partition(":")
    if not colon:
        return f"…{value[-2:]}"
    return f"{kind}:{email(rest) if kind == 'email' else f'…{rest[-2:]}'}"


def raw(value: Any, field: str = "") -> Any:
    """JSON of which it is not known what it says: what a field's name tells to be personal is masked as that, other
    texts stay where the name tells that they are ids, times or words of ours, and numbers where they are short."""
    if isinstance(value, Mapping):
        return {_name(str(name)): raw(part, str(name)) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [raw(part, field) for part in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, datetime | date | UUID):
        return value
    plain = _PLAIN_NAMES.fullmatch(field.lower()) is not None and not is_sensitive(field)
    if isinstance(value, int | float):
        return value if plain or len(str(value)) < 7 else text(str(value))
    return _text(str(value), field.lower(), plain)


def _text(value: str, field: str, plain: bool) -> str | None:
    if plain and _PLAIN_VALUE.fullmatch(value) and redact_text(value) == value:
        return value
    if "mail" in field:
        return email(value)
    if any(word in field for word in ("phone", "mobile", "msisdn", "wa_id", "whatsapp")):
        return phone(value)
    return name(value) if field.endswith("name") else text(value)


def _name(field: str) -> str:
    """The name of a member: it may be a value as well, as of a mapping by phones."""
    return field if re.fullmatch(r"[A-Za-z_][\w.-]{0,60}", field) and not _DIGITS.search(field) else "…"
