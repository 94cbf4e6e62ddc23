"""The conflicts of a batch, on their way to `sync_conflicts`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import orjson

from adapters.postgres.json_text import json_text
from adapters.postgres.records.reading import OpenConflict
from adapters.postgres.records.rows import ConflictRow
from daemon.records.pushing.batch import Item
from daemon.records.state import Conflict, Stored


@dataclass(slots=True, eq=False)
class Met:
    """A conflict, and the operation that has brought its values last. *owner_id*, *version*: of the record.
    *replaces*: an open row that it takes the place of."""

    item: Item
    conflict: Conflict
    owner_id: str | None
    version: int | None
    replaces: int | None = None

    @property
    def identity(self) -> tuple[str, UUID]:
        """What its row is known by."""
        return self.item.identity

    @property
    def author(self) -> tuple[str, str, str]:
        """Who waits for a decision on what: the user, the model and the record."""
        return self.item.ledger_user, *self.item.operation.key

    @property
    def peer(self) -> str:
        """Through which the values came."""
        return self.item.author.peer


class Meetings:
    """The conflicts, in their order. A value that waits for a person gives way to a later one of the same author that
    came the same way. Another device of theirs did not know of it: both wait then, else one would be lost."""

    def __init__(self) -> None:
        self._met: list[Met] = []

    def add(self, item: Item, conflict: Conflict, stored: Stored | None, version: int | None) -> Met:
        """Keep *conflict* of *item* with *stored*; *version*: of the record after it."""
        for met in self._met:
            came = met.author == (item.ledger_user, *item.operation.key) and met.peer == item.author.peer
            if came and _replaces(conflict, met.conflict):
                met.conflict = _with_ours(_over(conflict, met.conflict.fields, met.conflict.theirs), met.conflict)
                met.item, met.version = item, version
                return met
        met = Met(item, conflict, None if stored is None else stored.owner_id, version)
        self._met.append(met)
        return met

    def waiting(self) -> list[tuple[str, str, str]]:
        """Whose open conflicts are to be looked up: the user, the model and the record of each."""
        return list({met.author: None for met in self._met if met.conflict.decision == "open"})

    def take_place(self, of: Iterable[OpenConflict]) -> None:
        """Have the values take the place of those of the rows *of*, where they are of the same fields."""
        for row in of:
            theirs = None if row.theirs is None else orjson.loads(row.theirs)
            old = Conflict(base=None, ours=None, theirs=theirs, fields=tuple(row.fields), strategy="", decision="open")
            for met in self._met:
                same = met.author == (row.user_id, row.model, row.record_id) and met.peer == row.peer
                if same and met.replaces is None and _replaces(met.conflict, old):
                    met.conflict, met.replaces = _over(met.conflict, old.fields, old.theirs), row.id
                    break

    def rows(self) -> list[ConflictRow]:
        """What is written."""
        return [_row(met) for met in self._met]


def _replaces(new: Conflict, old: Conflict) -> bool:
    """Whether *new* is what the author of *old* wants now. One that has overwritten something has to tell of that."""
    if new.decision != "open" or old.decision != "open" or new.overwritten:
        return False
    if new.theirs is None or old.theirs is None:
        return new.theirs is None and old.theirs is None
    return not set(new.fields).isdisjoint(old.fields)


def _over(new: Conflict, fields: Iterable[str], theirs: Mapping[str, Any] | None) -> Conflict:
    """*new* with those of the older *fields* and *theirs* that it does not speak of."""
    kept = {name: value for name, value in (theirs or {}).items() if name not in (new.theirs or {})}
    merged = None if new.theirs is None else {**new.theirs, **kept}
    return replace(new, theirs=merged, fields=tuple(sorted({*new.fields, *fields})))


def _with_ours(new: Conflict, old: Conflict) -> Conflict:
    """*new* with what the *old* one met."""
    ours = None if new.ours is None else {**new.ours, **(old.ours or {})}
    return replace(new, ours=ours, overwritten=old.overwritten)


def _row(met: Met) -> ConflictRow:
    operation, conflict = met.item.operation, met.conflict
    return ConflictRow(
        user_id=met.item.ledger_user,
        op_id=operation.op_id,
        operation=operation.operation,
        model=operation.model,
        record_id=operation.record_id,
        owner_id=met.owner_id,
        base_version=operation.base_version,
        version=met.version,
        base=_text(conflict.base),
        ours=_text(conflict.ours),
        theirs=_text(conflict.theirs),
        fields=list(conflict.fields),
        strategy=conflict.strategy,
        decision=None if conflict.decision == "open" else conflict.decision,
        replaces=met.replaces,
    )


def _text(values: Mapping[str, Any] | None) -> str | None:
    return None if values is None else json_text(dict(values))
