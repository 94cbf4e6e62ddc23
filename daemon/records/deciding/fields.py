"""Field by field: what an operation's values make of those that are stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from daemon.records.deciding.clock import milliseconds
from daemon.records.models.rules import FieldRules, ModelRules
from daemon.records.state import Author, Stored
from schemas.records.answers import Decision
from schemas.records.operation import Operation
from schemas.records.stamps import LIFE, Stamp

NOBODY: Final = ""
"""In the place of a peer: no replica is named so."""


class Writing(NamedTuple):
    """An operation as the stamps of its fields tell it. *ms*, *tick*: when, by our clock. *version*: of the record,
    where it changes. *base*: the version that its author saw."""

    ms: int
    tick: int
    origin: str
    peer: str
    version: int
    base: int

    def over(self, old: Stamp | None) -> Stamp:
        """The stamp of a value that is later than what *old* stamps, whatever the clocks say."""
        ms, tick, origin, peer, version, _ = self
        if old is None:
            return Stamp(ms, tick, origin, version, peer)
        if (ms, tick) <= (old.ms, old.counter):
            ms, tick = old.ms, old.counter + 1
        return Stamp(ms, tick, origin, version, peer, old.foreign if old.peer == peer else old.version)

    def back(self, old: Stamp, *, unseen: bool) -> Stamp:
        """The stamp of a value that is there again with its record, as old as it was: who writes now must have seen it
        come back. *unseen*: whoever has brought the record back did not know that it was gone, and so not what comes
        back either: the value is nobody's."""
        if unseen:
            return old._replace(version=self.version, peer=NOBODY)
        foreign = old.foreign if old.peer == self.peer else old.version
        return old._replace(version=self.version, peer=self.peer, foreign=foreign)

    def beside(self, old: Stamp) -> Stamp:
        """The stamp of a value that stands after a meeting with what *old* stamps."""
        ms, tick, origin = max(old.order, (self.ms, self.tick, self.origin))
        foreign = old.foreign if old.peer == self.peer else old.version
        return Stamp(ms, tick, origin, self.version, self.peer, foreign)


class Met(NamedTuple):
    """Two values of one field whose authors did not know of each other."""

    field: str
    ours: Any
    theirs: Any
    strategy: str
    decision: Decision


class Merged(NamedTuple):
    """*written*: the fields that change, with their new values. *stamps*: theirs, and those of values that were only
    said again. *met*: the fields of which a value is lost, or waits. *mixed*: a value was made of both."""

    written: dict[str, Any]
    stamps: dict[str, Stamp]
    met: list[Met]
    mixed: bool


def writing(stored: Stored | None, op: Operation, author: Author, at: datetime) -> Writing:
    """*op* as stamps tell it."""
    version = 1 if stored is None else stored.version + 1
    return Writing(milliseconds(at), op.tick, author.origin, author.peer, version, op.base_version or 0)


def merged(stored: Stored, values: Mapping[str, Any], op: Operation, model: ModelRules, by: Writing) -> Merged:
    """What *values* make of *stored*."""
    if stored.version <= by.base and not stored.deleted:
        return _seen(stored, values, model, by)
    written: dict[str, Any] = {}
    stamps: dict[str, Stamp] = {}
    met: list[Met] = []
    mixed = False
    for name, theirs in values.items():
        rule = model.fields[name]
        ours, old = stored.data.get(name), stored.stamps.get(name)
        concurrent = old is not None and old.is_concurrent(by.base, by.peer)
        if rule.same(ours, theirs):
            again = concurrent and rule.strategy == "newest" and old is not None and by[:3] > old.order
            if again or stored.deleted:  # said again, and later: a value in between comes too late
                stamps[name] = by.over(None) if old is None else by.beside(old)
            continue
        if old is None or not concurrent:
            written[name], stamps[name] = theirs, by.over(old)
            continue
        own = old.peer == by.peer
        value, decision = _met(rule, ours, theirs, old, by, own=own)
        if decision == "merged":
            mixed = True
            if _lost_members(op.base, name, ours, theirs):
                met.append(Met(name, ours, theirs, rule.strategy, decision))
        else:
            met.append(Met(name, ours, theirs, rule.strategy, decision))
        if decision != "ours" and decision != "open" and not rule.same(ours, value):
            written[name] = value
            later = decision == "theirs" and (rule.strategy == "client" or own)
            stamps[name] = by.over(old) if later else by.beside(old)
    return Merged(written, stamps, met, mixed)


def _seen(stored: Stored, values: Mapping[str, Any], model: ModelRules, by: Writing) -> Merged:
    """As `merged`, of an author who has seen all that is here: nothing meets."""
    data, fields, stamps = stored.data, model.fields, stored.stamps
    written = {name: theirs for name, theirs in values.items() if not fields[name].same(data.get(name), theirs)}
    return Merged(written, {name: by.over(stamps.get(name)) for name in written}, [], False)


def _met(rule: FieldRules, ours: Any, theirs: Any, old: Stamp, by: Writing, *, own: bool) -> tuple[Any, Decision]:
    """The value that stands of two whose authors did not know of each other, and whose it is. *own*: the stored one
    came through the same replica."""
    match rule.strategy:
        case "newest":
            wins = own or by[:3] > old.order  # an own value has won already, and this one is later by itself
        case "client":
            wins = True
        case "max" | "min":
            wins = ours is None or (theirs is not None and _beyond(rule, theirs, ours))
        case "union":
            return sorted({*_members(ours), *_members(theirs)}), "merged"
        case "manual":
            return ours, "open"
        case _:
            wins = False
    return (theirs, "theirs") if wins else (ours, "ours")


def _beyond(rule: FieldRules, one: Any, other: Any) -> bool:
    order = rule.kind.order
    try:
        mine, stored = (one, other) if order is None else (order(one), order(other))
        return bool(mine > stored if rule.strategy == "max" else mine < stored)
    except (ValueError, TypeError, ArithmeticError):
        return True  # what is stored is from before the field got its type


def _members(value: Any) -> list[str]:
    return value if isinstance(value, list) else []


def _lost_members(base: Mapping[str, Any] | None, name: str, ours: Any, theirs: Any) -> bool:
    """Whether a union brings back what one of both has taken out, as far as *base* tells."""
    before = None if base is None else base.get(name)
    if not isinstance(before, list):
        return False
    left, right = _members(ours), _members(theirs)
    return any((member in left) is not (member in right) for member in before)


def parallel(stored: Stored, values: Mapping[str, Any], by: Writing) -> int:
    """Fields that others have changed meanwhile, and that the operation leaves alone."""
    if stored.version <= by.base:
        return 0
    return sum(
        stamp.is_concurrent(by.base, by.peer)
        for name, stamp in stored.stamps.items()
        if name not in values and name != LIFE
    )
