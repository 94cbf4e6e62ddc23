"""What a batch of operations comes to: each decided on what was read and on those before it, and folded into one write.

Nothing here reads or writes. A record that has changed since it was read is left out by the write, and its operations
are planned again on what is there then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple, cast
from uuid import UUID

import structlog

from adapters.postgres.records.reading import OpenConflict, Seen, Told
from adapters.postgres.records.rows import LedgerRow
from adapters.postgres.records.writing import Writes, Written
from daemon.records import rows
from daemon.records.deciding.answering import document
from daemon.records.deciding.decision import decide
from daemon.records.models.rules import Models
from daemon.records.pushing.batch import Item
from daemon.records.pushing.meetings import Meetings, Met
from daemon.records.state import Decided, Stored
from schemas.records.answers import Answer, Decision
from schemas.records.operation import Key

REUSED: Final = "this op_id was used for another operation: make a new one for each"
WAITS: Final = "an earlier operation on its record was rejected: send it again behind that"
BROKEN: Final = "the server failed on this operation: send it again later"

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Fold:
    """A record while operations are decided on it: as it was read, and as it is by now. *changing*: those that have
    changed it, in their order, and *fields*, in what."""

    key: Key
    before: Stored | None
    stored: Stored | None
    ledger: list[LedgerRow] = field(default_factory=list)
    changing: list[Item] = field(default_factory=list)
    fields: set[str] = field(default_factory=set)
    event: str = ""


class Outcome(NamedTuple):
    """An answer that stands once its record is written. *taken*: it stands once the ledger has taken it, too. *met*:
    the conflict that holds its values."""

    item: Item
    answer: Answer
    fold: Fold
    taken: bool = False
    met: Met | None = None
    parallel: int = 0


class Plan:
    """*models*: the rules of each. *now*: the time of the write. *edge*: whether what is changed is queued for an
    upstream."""

    def __init__(self, models: Models, now: datetime, *, edge: bool) -> None:
        self._models = models
        self._now = now
        self._edge = edge
        self._folds: dict[Key, Fold] = {}
        self._told: dict[tuple[str, UUID], LedgerRow] = {}
        self._outcomes: list[Outcome] = []
        self._held: set[tuple[int, Key]] = set()
        self._queue: list[tuple[Item, Decided, Stored | None]] = []
        self.meetings = Meetings()

    def add(self, item: Item, seen: Seen) -> None:
        """Decide *item*, for which *seen* was read."""
        key = item.operation.key
        fold = self._folds.get(key)
        if fold is None:
            stored = None if seen.stored is None else rows.stored_of(key, seen.stored)
            fold = self._folds[key] = Fold(key, stored, stored)
        outcome = self._decided(item, seen, fold)
        if outcome.answer.result == "rejected":
            self._held.add((id(item.push), key))
        self._outcomes.append(outcome)

    def _decided(self, item: Item, seen: Seen, fold: Fold) -> Outcome:
        if told := self._told.get(item.identity) or seen.told:
            return Outcome(item, _again(item, told, fold.stored), fold)
        if (item.push.held and item.waits) or (self._held and (id(item.push), fold.key) in self._held):
            return Outcome(item, item.reject("predecessor", WAITS, retry=True), fold)
        model = self._models.get(item.operation.model)
        if model is None:
            return Outcome(item, item.reject("model", "there is no such model here"), fold)
        before = fold.before
        if seen.formerly or (before is not fold.stored and before is not None and item.reads(before)):
            item.author = replace(item.author, formerly=True)
        try:
            decided = decide(fold.stored, item.operation, item.author, model, item.push.arrived, item.at)
        except Exception as exc:
            log.error("records.undecided", error=type(exc).__name__, model=model.name)  # no traceback: it shows values
            return Outcome(item, item.reject("internal", BROKEN, retry=True), fold)
        return self._folded(item, decided, fold)

    def _folded(self, item: Item, decided: Decided, fold: Fold) -> Outcome:
        answer, met = decided.answer, None
        if answer.result == "rejected":
            return Outcome(item, answer, fold)
        if decided.conflict is not None:
            met = self.meetings.add(item, decided.conflict, fold.stored, answer.version)
        if decided.effect is not None:
            fold.fields.update(decided.effect.data)
            if self._edge:
                self._queue.append((item, decided, fold.stored))
        if decided.stored is not None:
            fold.stored = decided.stored
            fold.changing.append(item)
        row = rows.ledger_row(item, answer)
        self._told[item.identity] = row
        fold.ledger.append(row)
        return Outcome(item, answer, fold, True, met, decided.parallel)

    def take_place(self, of: Sequence[OpenConflict]) -> None:
        """Have values take the place of older ones of their author that still wait, *of* which there are these."""
        self.meetings.take_place(of)

    def writes(self) -> Writes:
        """What is written."""
        writes = Writes()
        for fold in self._folds.values():
            if fold.stored is None or not fold.changing:
                writes.unchanged += fold.ledger
                continue
            event = rows.event_of(fold.stored, fold.changing, fold.fields, self._now)
            fold.event = event.id
            writes.records.append(rows.record_row(fold.before, fold.stored))
            writes.events.append(event)
            writes.ledger += fold.ledger
            writes.exits += rows.exits_of(fold.before, fold.stored)
        writes.conflicts += self.meetings.rows()
        self._add_queue(writes)
        return writes

    def _add_queue(self, writes: Writes) -> None:
        based: set[Key] = set()
        for item, decided, stored in self._queue:
            key = item.operation.key
            if decided.effect is not None:
                writes.queue.append(rows.queue_row(item, decided.effect, stored))
            if key not in based:
                based.add(key)
                writes.bases.append(rows.base_row(key, self._folds[key].before))

    def settled(self, written: Written) -> Iterator[Outcome]:
        """The outcomes that stand, now that *written* was; the others are to be planned again."""
        for outcome in self._outcomes:
            fold = outcome.fold
            if fold.event:
                stands = fold.event in written.outbox
            else:
                stands = not outcome.taken or outcome.item.identity in written.unchanged
            if stands:
                met = outcome.met
                id = None if met is None else written.conflicts.get(met.identity)
                yield outcome if id is None else outcome._replace(answer=replace(outcome.answer, conflict_id=id))


def _again(item: Item, told: Told | LedgerRow, stored: Stored | None) -> Answer:
    """To an operation that the ledger knows."""
    if item.digest != told.digest:
        return item.reject("op-reused", REUSED)
    differs = stored is not None and (told.result == "conflict" or stored.version != told.version)
    return Answer(
        op_id=item.operation.id,
        result="duplicate",
        first="conflict" if told.result == "conflict" else "applied",
        version=told.version,
        decision=cast("Decision | None", told.decision),
        record=document(stored) if stored is not None and differs and item.reads(stored) else None,
    )
