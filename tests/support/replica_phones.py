"""Phones in memory: a copy of what their server has, and a queue of operations on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from adapters.sync.store import Change
from schemas.records.answers import Answer
from schemas.records.operation import Key, Operation, Verb
from schemas.records.overlay import Row, overlaid, seen_version
from tests.support.replica_rows import raw_of
from tests.support.replica_servers import TEAM, Clock, Push, Server, World


@dataclass
class Phone:
    """A replica of *server* with one person at it."""

    world: World
    name: str
    clock: Clock
    server: Server
    base: dict[Key, Row] = field(default_factory=dict)
    queue: list[Operation] = field(default_factory=list)
    acked: dict[UUID, int] = field(default_factory=dict)
    failed: set[UUID] = field(default_factory=set)
    dropped: set[UUID] = field(default_factory=set)
    cursor: int = 0
    last: tuple[datetime, int] = (datetime.min.replace(tzinfo=UTC), 0)

    def open_ops(self, key: Key) -> list[Operation]:
        return [op for op in self.queue if op.key == key and op.op_id not in self.dropped | self.failed]

    def visible(self, key: Key) -> dict[str, Any] | None:
        """What the person sees; None: no record."""
        row = overlaid(self.base.get(key), self.open_ops(key))
        return None if row is None or row.deleted else {k: v for k, v in row.data.items() if v is not None}

    def write(self, op_id: UUID, verb: Verb, key: Key, data: dict[str, Any]) -> None:
        now, tick = max((self.clock.now(), 0), (self.last[0], self.last[1] + 1))
        self.last = now, tick
        row = self.base.get(key)
        version = 0 if row is None else row.version
        if "knows what is hidden" not in self.world.faults:
            version = seen_version(version, self.open_ops(key), verb, data)
        op = Operation(
            op_id=op_id,
            operation=verb,
            model=key[0],
            record_id=key[1],
            data=data,
            base_version=version,
            changed_at=now,
            tick=tick,
        )
        self.queue.append(op)

    def pending(self) -> list[Operation]:
        return [op for op in self.queue if op.op_id not in self.acked and op.op_id not in self.failed]

    def request(self, most: int) -> Push | None:
        due = self.pending()[:most]
        raw = tuple(raw_of(op) for op in due)
        return Push(self.server, self.name, TEAM, self.clock.now(), raw) if due else None

    def settle(self, asked: Push, answers: Sequence[Answer]) -> None:
        """Commit answers."""
        for answer in answers:
            op_id = UUID(answer.op_id)
            if answer.result == "rejected":
                if not answer.retry:
                    self.failed.add(op_id)
                continue
            self.acked.setdefault(op_id, answer.version or 0)
            if "drops the overlay" in self.world.faults:
                self.dropped.add(op_id)
        self._drop_reached()

    def take(self, changes: Sequence[Change], cursor: int) -> None:
        """Commit a page."""
        for change in changes:
            key = (change.model, change.record_id)
            old = self.base.get(key)
            if old is not None and change.version <= old.version:
                continue
            if change.op == "delete":
                data = {} if old is None else old.data
                self.base[key] = Row(version=change.version, data=data, deleted=True)
            else:
                self.base[key] = Row(version=change.version, data=dict(change.data or {}))
        self._drop_reached()
        self.cursor = cursor

    def _drop_reached(self) -> None:
        """What the server's row holds lies on top of it no more."""
        for op in self.queue:
            row, acked = self.base.get(op.key), self.acked.get(op.op_id)
            if acked is not None and acked <= (0 if row is None else row.version):
                self.dropped.add(op.op_id)
