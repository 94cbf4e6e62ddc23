"""What must hold after every step of replicas, however the network treats them; kept apart from their own books."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from daemon.records.state import Conflict
from schemas.records.operation import Key, Verb
from tests.support.replica_phones import Phone
from tests.support.replica_servers import Edge, Server


class Broken(AssertionError):
    """A promise of record sync does not hold."""


@dataclass(frozen=True)
class Own:
    """A write of a phone, as its person remembers it."""

    op_id: UUID
    key: Key
    verb: Verb
    data: dict[str, Any]


@dataclass
class Checks:
    """*own*: what each phone has written, in its order. *owed*: values that nobody has overwritten knowing them; each
    value is written once. *told*: those that stand in a conflict as lost. *heard*: the versions that phones were
    answered; *based*: the highest version of each record that a phone has had."""

    hub: Server
    edges: list[Edge]
    phones: list[Phone]
    own: dict[str, list[Own]] = field(default_factory=dict)
    owed: set[tuple[Key, str, Any]] = field(default_factory=set)
    told: set[tuple[Key, str, Any]] = field(default_factory=set)
    read: dict[str, int] = field(default_factory=dict)
    based: dict[tuple[str, Key], int] = field(default_factory=dict)

    def wrote(self, phone: Phone, one: Own, saw: dict[str, Any] | None) -> None:
        """*phone* is about to write, and *saw* the record so."""
        self.own.setdefault(phone.name, []).append(one)
        before = values(one.key, saw)
        if one.verb == "DELETE":
            self.owed -= before
            return
        now = values(one.key, one.data)
        gone = {each for each in before - now if each[1] in one.data}
        self.owed -= gone
        self.owed |= now - before

    def after_step(self) -> None:
        """Raises: Broken."""
        self._nothing_is_lost()
        for phone in self.phones:
            self._reads_own_writes(phone)
            self._never_goes_back(phone)
        for edge in self.edges:
            self._shows_what_waits(edge)

    def _servers(self) -> list[Server]:
        return [self.hub, *self.edges]

    def _nothing_is_lost(self) -> None:
        there: set[tuple[Key, str, Any]] = set()
        for server in self._servers():
            for key in server.records:
                there |= values(key, server.visible(key))
            for key, conflict in server.conflicts[self.read.get(server.name, 0) :]:
                self.told |= _lost_by(key, conflict)
            self.read[server.name] = len(server.conflicts)
        for phone in self.phones:
            for op in phone.queue:
                if op.op_id not in phone.acked:
                    there |= values(op.key, op.data)
        for edge in self.edges:
            for key, ops in edge.queue.items():
                for row in ops:
                    if row.state in ("pending", "failed"):
                        there |= values(key, orjson.loads(row.data or "{}"))
        if lost := self.owed - there - self.told:
            raise Broken(f"lost without a word: {lost}")

    def _reads_own_writes(self, phone: Phone) -> None:
        expected: dict[Key, dict[str, Any] | None] = {}
        for one in self.own.get(phone.name, ()):
            base = phone.base.get(one.key)
            acked = phone.acked.get(one.op_id)
            if one.op_id in phone.failed or (acked is not None and acked <= (0 if base is None else base.version)):
                continue
            earlier = expected.get(one.key) or {}
            expected[one.key] = None if one.verb == "DELETE" else {**earlier, **one.data}
        for key, data in expected.items():
            _expect(phone.name, phone.visible(key), data)

    def _never_goes_back(self, phone: Phone) -> None:
        for key, row in phone.base.items():
            if row.version < self.based.get((phone.name, key), 0):
                raise Broken(f"{phone.name}: a version went back")
            self.based[phone.name, key] = row.version

    def _shows_what_waits(self, edge: Edge) -> None:
        """What the edge has taken is seen there, until the hub's row tells what became of it."""
        for key, ops in edge.queue.items():
            expected: dict[str, Any] | None = {}
            for row in ops:
                if row.state == "failed" or (
                    row.acked_version is not None and row.acked_version <= edge.up_version(key)
                ):
                    continue
                expected = None if row.operation == "DELETE" else {**(expected or {}), **orjson.loads(row.data or "{}")}
            if expected is None or expected:
                _expect(edge.name, edge.visible(key), expected)

    def at_the_end(self) -> None:
        """Everybody has heard of everything. Raises: Broken."""
        for phone in self.phones:
            if phone.pending():
                raise Broken(f"{phone.name} has not come to an end")
        for edge in self.edges:
            if edge.waiting():
                raise Broken(f"{edge.name} has not come to an end")
        others: list[Edge | Phone] = [*self.edges, *self.phones]
        for key in self.hub.records:
            hub = self.hub.visible(key)
            for other in others:
                if other.visible(key) != hub:
                    raise Broken(f"{other.name} differs: {other.visible(key)} is not {hub}")


def values(key: Key, data: Mapping[str, Any] | None) -> set[tuple[Key, str, Any]]:
    """The single values of a record; of a set, its members."""
    found = set()
    for name, value in ({} if data is None else data).items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None and name not in ("owner_id", "branch_id"):
                found.add((key, name, one))
    return found


def _lost_by(key: Key, conflict: Conflict) -> set[tuple[Key, str, Any]]:
    """The values that a conflict tells of as lost, or waiting."""
    lost = set()
    if conflict.decision != "theirs" and conflict.theirs is not None:
        lost |= values(key, conflict.theirs)
    if conflict.decision in ("theirs", "merged", "open") and conflict.ours is not None:
        lost |= values(key, conflict.ours)
    return lost


def _expect(who: str, seen: dict[str, Any] | None, data: dict[str, Any] | None) -> None:
    if data is None:
        if seen is not None:
            raise Broken(f"{who}: what was deleted is there")
        return
    for name, value in data.items():
        if value is not None and (seen is None or seen.get(name) != value):
            raise Broken(f"{who}: an own write of {name} is not there: {value} is not {seen and seen.get(name)}")
