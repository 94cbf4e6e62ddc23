"""Event keys as operators type them and as lists show them."""

from __future__ import annotations

from schemas.identity import key
from schemas.phone import BRANCH_REGIONS, aliases, parse_phone


def keys_meant(text: str) -> list[str]:
    """The keys that *text* may mean: itself, a phone in E.164 with or without its plus, an e-mail, an order's or an
    applicant's id, a contact's id in CGB. Any notation of a phone's line means the line; events of before lines had
    keys are found by their own notation."""
    phone = parse_phone(text if text.startswith("+") else f"+{text}")
    by_phone = [key(phone=phone), *aliases(phone.e164)] if phone else []
    by_id = [key(email=text), key(order_id=text), key(applicant_id=text), key(cgb_id=text)]
    return list(dict.fromkeys([text, *by_phone, *by_id]))


def phones_meant(text: str) -> list[str]:
    """The phones (E.164) that *text* may mean, with every notation of their lines: with a country code, with or without
    its plus, and as dialled at home in the country of a branch."""
    read = [parse_phone(text if text.startswith("+") else f"+{text}")]
    read += [parse_phone(text, branch=branch) for branch in BRANCH_REGIONS]
    return list(dict.fromkeys(notation for phone in read if phone for notation in aliases(phone.e164)))


def masked_key(key: str) -> str:
    """A key as a list may show it: its kind and its last two characters."""
    kind, colon, rest = key.partition(":")
    if colon:
        return f"{kind}:…{rest[-2:]}"
    return f"{key[:1] if key.startswith('+') else ''}…{key[-2:]}"
