"""A correction of an order, by an operator or by what CGB has told: it goes before what the order itself says of its
buyer.

It is a member of the order's body, put before all others. The rest of the text stays exactly as it was received, so
the order's own values can still be compared with those of a later state.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

FIELDS: Final = ("phone", "email", "name")
"""What may be corrected: names of members of `form.client`."""

MEMBER: Final = "ferryman_corrected"
START: Final = f'{{"{MEMBER}":'
"""A corrected body begins so, and no other one."""


def corrected(
    text: str,
    values: Mapping[str, str],
    at: datetime,
    since: Mapping[str, datetime] | None = None,
    told: Collection[str] = (),
) -> str:
    """*text*, an order's body, with *values* by FIELDS as its only corrections; *at* tells two corrections of the same
    values apart. *since*: when each was said, where that was not *at*. *told*: those that a directory has told of the
    contact of the order's phone; the others are an operator's. Without values: the order's own text."""
    own = own_text(text)
    if not values:
        return own
    member: dict[str, Any] = {**dict(sorted(values.items())), "at": at.isoformat()}
    earlier = {name: moment.isoformat() for name, moment in sorted((since or {}).items()) if name in values}
    of_contact = sorted(name for name in told if name in values)
    text = json.dumps(member | ({"since": earlier} if earlier else {}) | ({"told": of_contact} if of_contact else {}))
    return f"{START}{text},{own.lstrip()[1:]}"


def corrections_of(text: str) -> dict[str, str]:
    """The corrections in *text*, by FIELDS."""
    member, _ = _member(text)
    return {name: value for name, value in member.items() if name in FIELDS and isinstance(value, str)}


def corrected_at(text: str) -> dict[str, datetime]:
    """When each correction in *text* was said, by FIELDS."""
    member, _ = _member(text)
    since = member.get("since")
    times = {name: since.get(name) if isinstance(since, dict) else None for name in corrections_of(text)}
    found = {name: _moment(time) or _moment(member.get("at")) for name, time in times.items()}
    return {name: at for name, at in found.items() if at is not None}


def told_of(text: str) -> frozenset[str]:
    """Which corrections in *text* a directory has told: they are of one contact, and go with no order to another."""
    member, _ = _member(text)
    told = member.get("told")
    return frozenset(name for name in corrections_of(text) if isinstance(told, list) and name in told)


def _moment(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None


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
