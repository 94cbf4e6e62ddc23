"""What is written to the CRM, and looked at once more. All of it may be done again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from adapters.conversation_ports import CrmPlace
from adapters.postgres.crm import Labelled
from daemon.bus.outcome import Row
from daemon.conversations.labels.labelling import Wish
from daemon.conversations.labels.targets import Target
from daemon.conversations.labels.wiring import WRITTEN, CrmDeps
from schemas.errors import Exists, Refused, Transient

log = structlog.get_logger(__name__)

LOOKS: Final = 3
"""Looks after one event, where each finds labels gone."""

TRIES: Final = 3
GONE: Final = "the conversation is gone"
NOT_THERE: Final = "http-404"
"""The code of what the CRM does not find."""

NOT_ALLOWED: Final = ("http-401", "http-403")
"""The codes of what the token's owner may not do, while the account is sound."""


@dataclass(frozen=True, slots=True)
class Settling:
    """Labels that were written a moment ago. *looks*: how often they were looked at since."""

    conversation_id: int
    wish: Wish
    looks: int = 0


async def place_of(deps: CrmDeps, target: Target) -> CrmPlace | None:
    """The conversation of *target*, found or made where only a phone is known; None: the event tells neither."""
    if target.conversation_id is not None:
        return CrmPlace(target.conversation_id, target.contact_id)
    if target.phone is None:
        return None
    async with deps.hold(f"chatwoot:{deps.account_id}:phone:{target.phone.line}"):
        return await deps.crm.place(target.phone, target.name)


async def labels_put(
    deps: CrmDeps, conversation_id: int, wish: Wish | None, wished: frozenset[str] | None = None
) -> tuple[Settling | None, Sequence[Row]]:
    """Put labels on a conversation: what is to be looked at later, and the rows. *wished*: as of `Labelled`. Raises:
    what the CRM raises."""
    if wish is None:
        return None, () if wished is None else (Labelled(deps.account_id, conversation_id, wished=wished),)
    put = await deps.labelling.put(conversation_id, wish)
    # what was there already counts as ours too: an attempt that was cut short may have put it there
    claimed = frozenset[str]() if wish.back else put.there
    row = Labelled(deps.account_id, conversation_id, claimed, put.removed, wished, put.posted)
    if not put.posted:
        return None, () if wished is None and claimed <= wish.ours else (row,)
    deps.metrics.inc(WRITTEN, {"what": "labels"})
    ours = (wish.ours | claimed) - put.removed
    add = tuple(title for title in wish.add if title in put.added)
    return Settling(conversation_id, replace(wish, add=add, ours=ours)), (row,)


async def look(deps: CrmDeps, settling: Settling) -> tuple[Settling | None, Sequence[Row]]:
    """Write the labels once more that are gone."""
    try:
        again, rows = await labels_put(deps, settling.conversation_id, settling.wish)
    except Refused as refused:
        if refused.code != NOT_THERE:
            raise
        return None, ()
    looks = settling.looks + 1
    return (None if again is None or looks >= LOOKS else replace(again, looks=looks)), rows


async def put_attributes(deps: CrmDeps, place: CrmPlace, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write attributes of the contact; returns those that were written. Where it was merged into another one, that one
    gets them. A contact with a twin takes none until a person has merged both."""
    if not attributes:
        return {}
    contact_id = place.contact_id
    try:
        if contact_id is None or not await _written(deps, contact_id, attributes):
            contact_id = (await deps.crm.talk(place.conversation_id)).contact_id
            if contact_id is None or not await _written(deps, contact_id, attributes):
                return {}
    except Exists:
        log.warning("crm.twin", contact=contact_id, do="merge it in Chatwoot with the other one of the same phone")
        return {}
    deps.metrics.inc(WRITTEN, {"what": "attributes"})
    return attributes


async def _written(deps: CrmDeps, contact_id: int, attributes: Mapping[str, Any]) -> bool:
    """Write attributes; false: there is no such contact."""
    try:
        await deps.crm.put_contact_attributes(contact_id, attributes)
    except Refused as refused:
        if refused.code != NOT_THERE:
            raise
        return False
    return True


async def put_talk_attributes(deps: CrmDeps, conversation_id: int, attributes: Mapping[str, Any]) -> None:
    """Add attributes to those that a conversation has. Raises: Transient where they are not there afterwards."""
    if not attributes:
        return
    async with deps.hold(f"chatwoot:{deps.account_id}:attributes:{conversation_id}"):
        for _ in range(TRIES):
            there = (await deps.crm.talk(conversation_id)).attributes
            if _has(there, attributes):
                return
            answer = await deps.crm.put_conversation_attributes(conversation_id, {**there, **attributes})
            if _has(answer, attributes):
                deps.metrics.inc(WRITTEN, {"what": "attributes"})
                return
    raise Transient("the attributes of the conversation are not those that were written")


def _has(there: Mapping[str, Any], attributes: Mapping[str, Any]) -> bool:
    return all(name in there and there[name] == value for name, value in attributes.items())
