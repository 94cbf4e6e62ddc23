"""The crm-labels worker: what people write gives labels and attributes in the CRM.

    message.received          ""      how the person stands, and what the message says ──► labels, attributes
    message.transcribed       ""      what a voice note says, the same; its message counts by itself
    labels.requested          ""      a program asks for labels and attributes
    conversation.escalated    ""      the conversation is opened, a private note is written, labels
    conversation.changed      ""      a list of ours took away what somebody else had just put there: it is put back
                              "look"  a moment after labels were written: those that are gone are written once more

A label that words of the message give is put on whenever they are said. One that follows from how the person stands
(journey, quality) is put on when that changes: a person in Chatwoot who takes it off has the last word until then.
What fails here concerns this worker alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from adapters.postgres import crm as kept
from adapters.postgres import crm_told
from adapters.postgres.crm import Asked, Heard, Labelled, Standing
from adapters.postgres.pool import Connection
from daemon.accounts import CHATWOOT
from daemon.bus.aside import LARGE_BYTES, in_thread
from daemon.bus.outcome import Done, Later, Outcome, Row, Turn
from daemon.bus.worker import Worker
from daemon.conversations.labels.account import why_off
from daemon.conversations.labels.labelling import Wish
from daemon.conversations.labels.requests import ESCALATED, REQUESTED, escalated, requested, restored
from daemon.conversations.labels.tagger import Said, Tags
from daemon.conversations.labels.targets import Skipped, Target, counted_as, spoken_in, target_of
from daemon.conversations.labels.wiring import CRM, CrmDeps
from daemon.conversations.labels.writing import (
    GONE,
    NOT_ALLOWED,
    NOT_THERE,
    Settling,
    labels_put,
    look,
    place_of,
    put_attributes,
)
from schemas.envelope import Event
from schemas.errors import Refused, Transient
from schemas.phone import aliases
from schemas.told import time_told, told_in

RECEIVED: Final = "message.received"
TRANSCRIBED: Final = "message.transcribed"
CHANGED: Final = "conversation.changed"
LOOK: Final = "look"
DEADLINE_S: Final = 300.0
"""Its calls stand in line behind those of messages, and behind the lock."""


class Plan(NamedTuple):
    """What is to be written. *wish*: None: no label. *attributes*: those that are other than before."""

    wish: Wish | None
    wished: frozenset[str]
    attributes: dict[str, Any]


async def handle(event: Event, deps: CrmDeps | None, turn: Turn) -> Outcome:
    """Decide what an event gives, and write it. Raises: Malformed; what the CRM raises."""
    assert deps is not None, "without a CRM the worker is off"
    try:
        if turn.step == LOOK and isinstance(turn.memo, Settling):
            settling, rows = await look(deps, turn.memo)
        elif event.type in (RECEIVED, TRANSCRIBED):
            settling, rows = await _tagged(event, deps, turn)
        elif event.type == CHANGED:
            settling, rows = await restored(event, deps)
        else:
            settling, rows = await (escalated if event.type == ESCALATED else requested)(event, deps)
    except Skipped as skipped:
        return Done(rows=tuple(skipped.rows), skipped=skipped.reason)
    if settling is None:
        return Done(rows=tuple(rows))
    return Later(turn.now + deps.settle, rows=tuple(rows), step=LOOK, memo=settling)


async def _tagged(event: Event, deps: CrmDeps, turn: Turn) -> tuple[Settling | None, Sequence[Row]]:
    told, spoken = told_in(event), event.type == TRANSCRIBED
    part = f"#{told.get('attachment_id')}" if spoken else ""
    told = spoken_in(told) if spoken else told
    target = target_of(told, deps.account_id)
    key = (counted_as(told) or f"event:{event.id}") + part
    late = turn.now - time_told(told, event.time) > deps.keeps
    stands = await _standing(deps, _asked(target, key, told, event), late)
    tags = await _tags(told, stands, deps, new=0 if spoken or stands.counted else 1)
    plan = planned(tags, stands)
    row = Heard(deps.account_id, target.person, key, stands.before, tags.heard, {}, None, not spoken and not late)
    if plan.wish is None and not plan.attributes:
        return None, (row,)
    place = await place_of(deps, target)
    if place is None:
        raise Skipped(GONE)
    if place.conversation_id != stands.conversation_id:
        stands = await _standing(deps, _asked(target, key, told, event, place.conversation_id), late)
        plan = planned(tags, stands)
    try:
        settling, labelled = await labels_put(deps, place.conversation_id, plan.wish, plan.wished)
        written = await put_attributes(deps, place, plan.attributes)
    except Refused as refused:
        raise _without_place(deps, target, refused, row) from None
    return settling, (replace(row, attributes=written, conversation_id=place.conversation_id), *labelled)


def _without_place(deps: CrmDeps, target: Target, refused: Refused, row: Row) -> Exception:
    """What is raised where the CRM refuses a conversation. One that was found by its phone is looked for anew."""
    if refused.code in NOT_ALLOWED:
        return Skipped("not allowed to see the conversation", (row,))
    if refused.code != NOT_THERE:
        return refused
    if target.conversation_id is not None or target.phone is None:
        return Skipped(GONE, (row,))
    deps.crm.forget(target.phone)
    again = Transient("the conversation is not there: it is looked for anew")
    again.answered = True
    return again


async def _standing(deps: CrmDeps, asked: Asked, late: bool) -> Standing:
    """How the person stands. Of a message that comes *late* it is not known any more whether it was counted: it was."""
    stands = await deps.standing(asked)
    return replace(stands, counted=True) if late else stands


def _asked(target: Target, key: str, told: dict[str, Any], event: Event, conversation_id: int | None = None) -> Asked:
    phones = () if target.phone is None else aliases(target.phone.e164)
    return Asked(target.person, key, phones, time_told(told, event.time), conversation_id or target.conversation_id)


async def _tags(told: dict[str, Any], stands: Standing, deps: CrmDeps, new: int) -> Tags:
    """What the message gives; a large one is read in a thread, so that the process goes on. A message that was counted
    before, as a replay brings it, is not the person's newest: how they stand goes by all that they have written. *new*:
    1 for a message that is not counted yet."""
    text, channel = told.get("text"), told.get("channel", "whatsapp")
    number = max(1, (stands.messages or stands.before) + new)
    said = Said(text if isinstance(text, str) else None, number, channel if isinstance(channel, str) else None)
    if said.text is None or len(said.text) * 4 <= LARGE_BYTES:
        return deps.tagger.tag(said, stands.heard)
    return await in_thread(lambda: deps.tagger.tag(said, stands.heard))


def planned(tags: Tags, stands: Standing) -> Plan:
    """What is to be written for *tags*. An attribute that an older message gives does not go over a newer one's."""
    news = [title for title in tags.standing if title not in stands.wished]
    older = stands.attributes if stands.counted else {}
    attributes = {
        name: value
        for name, value in tags.attributes.items()
        if stands.attributes.get(name) != value and (name not in older or name in tags.of_standing)
    }
    add = (*tags.anew, *news)
    wished = frozenset(tags.standing)
    return Plan(Wish(add, stands.put) if add else None, wished, attributes)


async def record(conn: Connection, rows: Sequence[Row]) -> None:
    """Write what people have said, and what was put on their conversations."""
    heard = [row for row in rows if isinstance(row, Heard)]
    labelled = [row for row in rows if isinstance(row, Labelled)]
    await kept.record(conn, heard, labelled)
    lists = {(row.account_id, row.conversation_id): row.posted[0][1] for row in labelled if row.posted}
    await crm_told.label(conn, {f"chatwoot:{account}:{id}": written for (account, id), written in lists.items()})


WORKER: Final[Worker[CrmDeps | None]] = Worker(
    name="crm-labels",
    reads=("messages", "conversations"),
    types=frozenset({RECEIVED, TRANSCRIBED, REQUESTED, ESCALATED, CHANGED}),
    begins="now",
    domain=CRM,
    handle=handle,
    record=record,
    channels=(CHATWOOT,),
    bulk=frozenset({RECEIVED, TRANSCRIBED, CHANGED}),
    on_uncertain="retry",
    off=why_off,
    deadline_s=lambda settings: DEADLINE_S,
)
