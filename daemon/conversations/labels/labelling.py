"""Labels are put on a conversation: as a union with those that are there, under a lock, and compared afterwards.

Chatwoot has no call that adds a label: each write is the whole list. Ours wait for each other by the lock. A person or
an automation in Chatwoot does not: so the list is read right before it is written, the answer is compared, and the
worker looks again a moment later (daemon/conversations/labels/crm_labels.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import structlog

from adapters.conversation_ports import Crm
from adapters.postgres.crm import Posted
from daemon.conversations.labels.rules import Shown
from schemas.errors import Refused, Transient
from schemas.labels import same

log = structlog.get_logger(__name__)

TRIES: Final = 5
KNOWN_S: Final = 600.0
"""For so long the labels of the account are not asked for again."""

PLAIN_COLOR: Final = "#1F93FF"
"""Of a label that labels.toml does not have: Chatwoot's own default."""

Hold: TypeAlias = Callable[[str], AbstractAsyncContextManager[None]]
"""Holds a name, over all processes."""


@dataclass(frozen=True, slots=True)
class Wish:
    """*add*: titles that the conversation is to have. *ours*: what was put on it by us before. *asked*: somebody has
    asked for these titles: they are added also beside one of their group that a person has chosen. *back*: they were
    there already, whosever they are, and are put back."""

    add: Sequence[str]
    ours: frozenset[str] = frozenset()
    asked: bool = False
    back: bool = False


@dataclass(frozen=True, slots=True)
class Put:
    """What became of a wish. *there*: the titles of it that the conversation has now, *added*: those of them that were
    not there, *removed*: labels of ours that had to go. *posted*: what was there and what was written in its place, the
    newest first; none: nothing was to be written."""

    there: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    posted: Sequence[Posted] = ()


def planned(present: Sequence[str], wish: Wish, rivals: Mapping[str, frozenset[str]]) -> list[str]:
    """The list that a conversation with the labels *present* is to have. *rivals*: label of an exclusive group -> all
    of that group. Of such a group ours goes when another of it comes; a person's choice stays, and then none is added.
    """
    kept = list(present)
    for title in wish.add:
        group = rivals.get(title, frozenset()).difference(wish.add)
        kept = [one for one in kept if one not in group or one not in wish.ours]
        there = any(same(title, one) for one in kept)
        chosen = not wish.asked and any(one in rivals.get(title, ()) for one in kept)
        if not there and not chosen:
            kept.append(title)
    return kept


class Labelling:
    """Puts labels on conversations of the account *account_id* of *crm*. *hold*: the lock. *catalog*: how the account
    labels look that it makes first: without one Chatwoot's pages would not show the label. *rivals*: as of `planned`.
    """

    def __init__(
        self,
        crm: Crm,
        hold: Hold,
        account_id: int,
        catalog: Sequence[Shown],
        rivals: Mapping[str, frozenset[str]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._crm = crm
        self._hold = hold
        self._account_id = account_id
        self._catalog = {one.title: one for one in catalog}
        self.rivals = rivals
        self._clock = clock
        self._known: frozenset[str] = frozenset()
        self._known_until = float("-inf")
        self._may_make = True

    async def put(self, conversation_id: int, wish: Wish) -> Put:
        """Put labels on a conversation. Raises: what the CRM and the lock raise; Transient where what is written is
        other than what is there then, each time."""
        if not wish.back:
            await self._ensure(wish.add)
        put = Put()
        wished = frozenset(wish.add)
        async with self._hold(f"chatwoot:{self._account_id}:labels:{conversation_id}"):
            for _ in range(TRIES):
                present = await self._crm.labels(conversation_id)
                wanted = planned(present, wish, self.rivals)
                if wanted == present:
                    return replace(put, there=wished & frozenset(present))
                put = _further(put, present, wanted)
                answer = await self._crm.put_labels(conversation_id, wanted)
                if _folded(answer) == _folded(wanted):
                    return replace(put, there=wished & frozenset(wanted))
        raise Transient("the labels of the conversation are not those that were written")

    async def _ensure(self, titles: Sequence[str]) -> None:
        """Make the account labels that are missing."""
        if self._clock() >= self._known_until:
            self._known = frozenset(await self._crm.account_labels())
            self._known_until = self._clock() + KNOWN_S
            self._may_make = True
        for title in titles:
            if title not in self._known and self._may_make:
                await self._make(self._catalog.get(title, Shown(title, PLAIN_COLOR, "")))

    async def _make(self, label: Shown) -> None:
        """Where the token may not, the label goes on the conversation all the same: Chatwoot keeps it, and shows it
        when an administrator has made it."""
        try:
            await self._crm.make_label(label.title, label.color, label.description)
        except Refused as refused:
            if refused.code not in ("http-401", "http-403"):
                raise
            self._may_make = False
            log.warning("labels.not_made", reason=str(refused), do="run `ferryman labels create` with such a token")
            return
        self._known |= {label.title}


def _further(put: Put, present: Sequence[str], wanted: Sequence[str]) -> Put:
    """*put*, and one list more."""
    added, removed = frozenset(wanted) - frozenset(present), frozenset(present) - frozenset(wanted)
    posted = ((tuple(present), tuple(wanted)), *put.posted)
    return replace(put, added=put.added | added, removed=put.removed | removed, posted=posted)


def _folded(labels: Sequence[str]) -> set[str]:
    return {one.casefold() for one in labels}
