"""Event keys as operators type them and as lists show them."""

from __future__ import annotations

from schemas.identity import key
from schemas.phone import parse_phone


def keys_meant(text: str) -> list[str]:
    """The keys that *text* may mean: itself, a phone in E.164 with or without its plus, an e-mail, an order's or an
    applicant's id."""
    phone = parse_phone(text if text.startswith("+") else f"+{text}")
    by_phone = [key(phone=phone)] if phone else []
    return list(dict.fromkeys([text, *by_phone, key(email=text), key(order_id=text), key(applicant_id=text)]))


def masked_key(key: str) -> str:
    """A key as a list may show it: its kind and its last two characters."""
    kind, colon, rest = key.partition(":")
    if colon:
        return f"{kind}:…{rest[-2:]}"
    return f"{key[:1] if key.startswith('+') else ''}…{key[-2:]}"
