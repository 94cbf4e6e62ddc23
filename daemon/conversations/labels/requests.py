"""Labels, attributes and notes that somebody asks for: a program by the API, or the dialog that gives up. And labels of
others that a list of ours has taken away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import structlog

from adapters.postgres.crm import Asked, Posted
from daemon.bus.outcome import Row
from daemon.conversations.labels.labelling import Wish
from daemon.conversations.labels.targets import Skipped, asked_target, contact_of, whole
from daemon.conversations.labels.wiring import WRITTEN, CrmDeps
from daemon.conversations.labels.writing import (
    GONE,
    NOT_THERE,
    Settling,
    labels_put,
    place_of,
    put_attributes,
    put_talk_attributes,
)
from schemas.conversations import CHATWOOT
from schemas.envelope import Event
from schemas.errors import Malformed, Refused
from schemas.labels import NoTitle, title_of
from schemas.told import told_in

log = structlog.get_logger(__name__)

REQUESTED: Final = "labels.requested"
ESCALATED: Final = "conversation.escalated"
HANDED_OVER: Final = ("escalated", "status-needs-human-attention")
"""Labels of a conversation that was handed to a person."""


async def requested(event: Event, deps: CrmDeps) -> tuple[Settling | None, Sequence[Row]]:
    """What a program asks for. Raises: Skipped; Malformed; Refused where the conversation is not there."""
    told = told_in(event)
    target = asked_target(told, deps.account_id)
    titles = titles_of(told.get("labels"))
    place = await place_of(deps, target)
    if place is None:
        raise Skipped("no phone")
    settling, rows = await _labelled(event, deps, place.conversation_id, titles)
    await put_attributes(deps, place, _object(told.get("contact_attributes")))
    await put_talk_attributes(deps, place.conversation_id, _object(told.get("conversation_attributes")))
    return settling, rows


async def escalated(event: Event, deps: CrmDeps) -> tuple[Settling | None, Sequence[Row]]:
    """A conversation is handed to a person: it is opened, the note tells what is known, and labels show it."""
    told = told_in(event)
    if told.get("conversation") is None and told.get("system") == CHATWOOT:
        raise Malformed("the event names no conversation")
    target = asked_target(told, deps.account_id)
    place = await place_of(deps, target)
    if place is None:
        raise Skipped("no phone")
    note = told.get("note")
    try:
        await deps.crm.open(place.conversation_id)
        if isinstance(note, str) and note.strip():
            await deps.crm.note(place.conversation_id, note, event.id, event.time)
            deps.metrics.inc(WRITTEN, {"what": "notes"})
    except Refused as refused:
        if refused.code == NOT_THERE:
            raise Skipped(GONE) from None
        raise
    titles = titles_of([*HANDED_OVER, *_list(told.get("labels"))], strict=False)
    return await _labelled(event, deps, place.conversation_id, titles)


async def restored(event: Event, deps: CrmDeps) -> tuple[Settling | None, Sequence[Row]]:
    """Put back what one list took away that was meant to add something else: a list of ours what somebody had put there
    since we read it, or somebody's what we had put there since they did. Raises: Skipped."""
    told = told_in(event)
    before, after = _change(told)
    if not set(before) - set(after):
        raise Skipped("takes no label away")
    conversation = _object(told.get("conversation"))
    conversation_id, account = whole(conversation.get("id")), whole(conversation.get("account"))
    if conversation_id is None or account != deps.account_id:
        raise Skipped("another account")
    stands = await deps.standing(Asked(_whoever(told, deps), f"event:{event.id}", (), event.time, conversation_id))
    lost = lost_by(before, after, stands.posted, stands.put, deps.labelling.rivals)
    if not lost:
        raise Skipped("meant so")
    log.info("labels.restored", count=len(lost))
    deps.metrics.inc(WRITTEN, {"what": "restored"})
    return await labels_put(deps, conversation_id, Wish(lost, asked=True, back=True))


def lost_by(
    before: Sequence[str],
    after: Sequence[str],
    posted: Sequence[Posted],
    put: frozenset[str],
    rivals: Mapping[str, frozenset[str]],
) -> tuple[str, ...]:
    """What a change of labels took away that nobody meant to. *posted*: lists of ours; *put*: labels of ours. A change
    that adds nothing is meant: somebody takes a label off by hand. One that adds something as well was made from an
    older list. If it was ours, it means what it leaves out of that list; if not, it has lost what we had put there, but
    for a label in whose exclusive group (*rivals*) there is another one now."""
    new, gone = set(after) - set(before), [one for one in before if one not in after]
    if not new:
        return ()
    for there, written in posted:
        if set(written) == set(after) and set(written) - set(there) <= new:
            return tuple(one for one in gone if one not in there)
    return tuple(one for one in gone if one in put and not rivals.get(one, frozenset()).intersection(after))


def titles_of(given: object, *, strict: bool = True) -> tuple[str, ...]:
    """The titles of labels that were asked for, each once. Raises: NoTitle where one has none; not *strict*: it is left
    out."""
    titles: dict[str, None] = {}
    for one in _list(given):
        try:
            titles[title_of(one)] = None
        except NoTitle:
            if strict:
                raise
    return tuple(titles)


async def _labelled(
    event: Event, deps: CrmDeps, conversation_id: int, titles: Iterable[str]
) -> tuple[Settling | None, Sequence[Row]]:
    add = tuple(titles)
    if not add:
        return None, ()
    asked = Asked(f"conversation:{conversation_id}", f"event:{event.id}", (), event.time, conversation_id)
    stands = await deps.standing(asked)
    try:
        return await labels_put(deps, conversation_id, Wish(add, stands.put, asked=True))
    except Refused as refused:
        if refused.code == NOT_THERE and event.type == ESCALATED:
            raise Skipped(GONE) from None
        raise


def _change(told: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The labels before and after a change that a webhook tells; two empty lists where it tells of another change."""
    changed = _object(told.get("received")).get("changed_attributes")
    for one in changed if isinstance(changed, list) else [changed]:
        labels = _object(one).get("label_list")
        if isinstance(labels, Mapping):
            return _labels(labels.get("previous_value")), _labels(labels.get("current_value"))
    return [], []


def _labels(value: object) -> list[str]:
    """A list of labels, also as one text."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return _list(value)


def _whoever(told: Mapping[str, Any], deps: CrmDeps) -> str:
    return f"contact:{contact_of(told.get('contact_id'), deps.account_id)}"


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
