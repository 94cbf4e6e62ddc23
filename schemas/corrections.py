"""An operator's correction of an order: it goes before what the order itself says of its buyer.

It is a member of the order's body, put before all others. The rest of the text stays exactly as it was received, so
the order's own values can still be compared with those of a later state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

FIELDS: Final = ("phone", "email", "name")
"""What may be corrected: names of members of `form.client`."""

MEMBER: Final = "ferryman_corrected"
START: Final = f'{{"{MEMBER}":'
"""A corrected body begins so, and no other one."""


def corrected(text: str, values: Mapping[str, str], at: datetime) -> str:
    """*text*, an order's body, with *values* by FIELDS as its only corrections; *at* tells two corrections of the same
    values apart. Without values: the order's own text."""
    own = own_text(text)
    if not values:
        return own
    member = json.dumps({**dict(sorted(values.items())), "at": at.isoformat()})
    return f"{START}{member},{own.lstrip()[1:]}"


def corrections_of(text: str) -> dict[str, str]:
    """The corrections in *text*, by FIELDS."""
    member, _ = _member(text)
    return {name: value for name, value in member.items() if name in FIELDS and isinstance(value, str)}


def own_text(text: str) -> str:
    """*text* without its corrections: as it was received."""
    _, end = _member(text)
    return "{" + text[end + 1 :] if end else text


def own_values(text: str) -> dict[str, Any]:
    """What the order itself says of its buyer in the FIELDS, as JSON has it."""
    client: Any = json.loads(own_text(text))
    for name in ("form", "client"):
        client = client.get(name) if isinstance(client, dict) else None
    return {name: client.get(name) for name in FIELDS} if isinstance(client, dict) else dict.fromkeys(FIELDS)


def _member(text: str) -> tuple[dict[str, Any], int]:
    """(the member with the corrections, where it ends in *text*); ({}, 0) where there is none."""
    if not text.startswith(START):
        return {}, 0
    try:
        member, end = json.JSONDecoder().raw_decode(text, len(START))
    except (ValueError, RecursionError):
        return {}, 0
    ours = isinstance(member, dict) and text[end : end + 1] == ","
    return (member, end) if ours else ({}, 0)
