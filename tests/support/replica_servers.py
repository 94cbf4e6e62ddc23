"""A hub and edges in memory, with the real decisions: what is simulated are their stores and the network alone.

*faults*: names of mistakes that they make on purpose: a test of the checks in `replica_checks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson

from adapters.postgres.records.pulled import OpRow, State, ThereRow
from adapters.sync.store import Change, Queued
from adapters.sync.verdicts import verdicts
from daemon.records.deciding.answering import document
from daemon.records.deciding.clock import corrected
from daemon.records.deciding.decision import decide
from daemon.records.edge.deriving import Places
from daemon.records.edge.planning import Plan, Setting, answered, pulled
from daemon.records.models.rules import Models
from daemon.records.state import Author, Conflict, Decided, Stored
from schemas.principals import Principal
from schemas.records.answers import Answer
from schemas.records.operation import Key, Operation, Verb, read_operation
from schemas.records.overlay import seen_version
from schemas.records.stamps import loaded
from tests.support.replica_rows import here_of, queued, raw_of, there_of, without_foreign

BEGIN: Final = datetime(2026, 11, 27, 10, 0, tzinfo=UTC)
TEAM: Final = Principal(kind="user", name="team", role="operate")
EDGE: Final = Principal(kind="edge", name="office", role="operate", owners=frozenset({"team"}))


@dataclass
class World:
    """What holds everywhere: the rules, the mistakes, and the true time."""

    models: Models
    faults: frozenset[str] = frozenset()
    time: datetime = BEGIN


@dataclass
class Clock:
    """A clock that is *off*."""

    world: World
    off: timedelta = timedelta()

    def now(self) -> datetime:
        """What it shows."""
        return self.world.time + self.off


@dataclass(frozen=True)
class Push:
    """A request on its way: it can be lost, come late, and come twice."""

    server: Server
    peer: str
    principal: Principal
    sent_at: datetime
    operations: tuple[bytes, ...]

    def deliver(self) -> list[Answer]:
        return self.server.push(self)


@dataclass
class Server:
    """Records, their feed, a ledger and the values that met."""

    world: World
    name: str
    clock: Clock
    records: dict[Key, Stored] = field(default_factory=dict)
    seq: dict[Key, int] = field(default_factory=dict)
    head: int = 0
    ledger: dict[UUID, tuple[bytes, Answer]] = field(default_factory=dict)
    conflicts: list[tuple[Key, Conflict]] = field(default_factory=list)

    def push(self, asked: Push) -> list[Answer]:
        """Apply operations: all of it, or nothing where it is cut off before."""
        held: set[Key] = set()
        answers = []
        for raw in asked.operations:
            op = read_operation(orjson.loads(raw))
            assert isinstance(op, Operation)
            if op.key in held:
                answers.append(Answer(op_id=str(op.op_id), result="rejected", reason="predecessor", retry=True))
                continue
            answer = self._one(op, asked)
            if answer.result == "rejected":
                held.add(op.key)
            answers.append(answer)
        return answers

    def _one(self, op: Operation, asked: Push) -> Answer:
        stored = self.records.get(op.key)
        told = self.ledger.get(op.op_id)
        if told is not None and "no ledger" not in self.world.faults:
            assert told[0] == op.digest()
            first = told[1]
            differs = stored is not None and (first.result == "conflict" or stored.version != first.version)
            return Answer(
                op_id=str(op.op_id),
                result="duplicate",
                first="conflict" if first.result == "conflict" else "applied",
                version=first.version,
                decision=first.decision,
                record=document(stored) if stored is not None and differs else None,
            )
        now = self.clock.now()
        user, origin = op.user_id or asked.principal.name, op.origin or asked.peer
        author = Author(principal=asked.principal, user=user, peer=asked.peer, origin=origin)
        at = corrected(op.changed_at, asked.sent_at, now)
        if stored is not None and "no foreign stamps" in self.world.faults:
            stored = without_foreign(stored)
        decided = decide(stored, op, author, self.world.models[op.model], now, at)
        if decided.answer.result != "rejected":
            self.ledger[op.op_id] = (op.digest(), decided.answer)
            self._take(op, author, decided, stored, at or now)
        return decided.answer

    def _take(self, op: Operation, author: Author, decided: Decided, before: Stored | None, at: datetime) -> None:
        if decided.conflict is not None:
            self.conflicts.append((op.key, decided.conflict))
        if decided.stored is not None:
            self.put(decided.stored)

    def put(self, stored: Stored, *, seen: bool = True) -> None:
        """Store it. *seen*: readers of the feed are told."""
        old = self.records.get(stored.key)
        assert old is None or stored.version >= old.version, "a version has gone back"
        self.records[stored.key] = stored
        if seen:
            self.head += 1
            self.seq[stored.key] = self.head

    def pull(self, since: int, limit: int) -> tuple[list[Change], int]:
        """A page of the feed, and where the next one begins."""
        after = sorted((seq, key) for key, seq in self.seq.items() if seq > since)
        if "no tombstones" in self.world.faults:
            after = [(seq, key) for seq, key in after if not self.records[key].deleted]
        page = after[:limit]
        whole = len(page) == len(after) or "cursor jumps" in self.world.faults
        return [self._change(self.records[key]) for _, key in page], self.head if whole else page[-1][0]

    def _change(self, stored: Stored) -> Change:
        if stored.deleted:
            return Change(op="delete", model=stored.model, record_id=stored.record_id, version=stored.version)
        return Change(
            op="upsert",
            model=stored.model,
            record_id=stored.record_id,
            version=stored.version,
            owner_id=stored.owner_id,
            data=orjson.loads(orjson.dumps(stored.data)),
            stamps={name: stamp.order for name, stamp in stored.stamps.items()},
        )

    def visible(self, key: Key) -> dict[str, Any] | None:
        """What a reader sees; None: no record."""
        stored = self.records.get(key)
        return None if stored is None or stored.deleted else {k: v for k, v in stored.data.items() if v is not None}


@dataclass
class Edge(Server):
    """A server with a queue to its *hub*."""

    hub: Server | None = None
    queue: dict[Key, list[OpRow]] = field(default_factory=dict)
    bases: dict[Key, ThereRow] = field(default_factory=dict)
    cursor: int = 0

    def _take(self, op: Operation, author: Author, decided: Decided, before: Stored | None, at: datetime) -> None:
        effect = decided.effect
        if effect is None and "forwards what lost" in self.world.faults and decided.answer.decision == "ours":
            verb, data = op.operation, op.data
        elif effect is None:
            return super()._take(op, author, decided, before, at)
        else:
            verb, data = effect.operation, effect.data
        row = OpRow(
            op_id=op.op_id,
            operation=verb,
            data=orjson.dumps(dict(data)).decode(),
            user_id=author.user,
            state="pending",
            acked_version=None,
            changed_at=at,
            tick=op.tick,
            origin=author.origin,
            settled=False,
            base_version=self._seen(op.key, verb, data, before),
            retry_count=0,
        )
        self.queue.setdefault(op.key, []).append(row)
        if op.key not in self.bases:
            self.bases[op.key] = there_of(before)
        return super()._take(op, author, decided, before, at)

    def _seen(self, key: Key, verb: Verb, data: Any, before: Stored | None) -> int:
        version = 0 if before is None else before.up_version or 0
        if "knows what is hidden" in self.world.faults:
            return version
        return seen_version(version, [queued(key, op) for op in self.open_ops(key)], verb, data)

    def open_ops(self, key: Key) -> list[OpRow]:
        """The operations on top of the hub's row."""
        return [op for op in self.queue.get(key, ()) if not op.settled and op.state != "failed"]

    def waiting(self) -> bool:
        return any(op.state == "pending" for ops in self.queue.values() for op in ops)

    def request(self, most: int) -> Push | None:
        """What goes up next."""
        due = [(key, op) for key, ops in self.queue.items() for op in ops if op.state == "pending"][:most]
        if not due or self.hub is None:
            return None
        raw = tuple(raw_of(queued(key, op), with_user=True) for key, op in due)
        return Push(self.hub, self.name, EDGE, self.clock.now(), raw)

    def settle(self, asked: Push, answers: Sequence[Answer]) -> None:
        """Commit answers."""
        sent = [read_operation(orjson.loads(raw)) for raw in asked.operations]
        ops = [op for op in sent if isinstance(op, Operation)]
        found = {one.op_id: one for one in verdicts([Queued(op) for op in ops], answers)}
        for key in {op.key for op in ops}:
            self._apply(answered(self._state(key), found, self._setting()))

    def take(self, changes: Sequence[Change], cursor: int) -> None:
        """Commit a page."""
        for change in changes:
            key = (change.model, change.record_id)
            state = self._state(key)
            if "pulls without overlay" in self.world.faults:
                state = state._replace(ops=())
            self._apply(pulled(state, change, self._setting()))
        self.cursor = cursor

    def _setting(self) -> Setting:
        return Setting(places=lambda _: Places("owner_id", "branch_id"), now=self.clock.now())

    def _state(self, key: Key) -> State:
        return State(key, here_of(self.records.get(key)), self.bases.get(key), tuple(self.queue.get(key, ())))

    def _apply(self, plan: Plan) -> None:
        key = plan.state.key
        changes = {change.op_id: change for change in plan.ops}
        for n, op in enumerate(self.queue.get(key, ())):
            change = changes.get(op.op_id)
            if change is not None:
                self.queue[key][n] = op._replace(
                    state=change.state,
                    settled=change.settled,
                    acked_version=change.acked_version,
                    base_version=change.base_version,
                    changed_at=change.changed_at,
                )
        if plan.derived is None or plan.derived.view is None:
            return
        if plan.base is None:
            self.bases.pop(key, None)
        else:
            self.bases[key] = plan.base
        view = plan.derived.view
        self.put(
            Stored(
                model=key[0],
                record_id=key[1],
                version=view.version,
                owner_id=view.owner_id,
                branch=view.branch,
                data=orjson.loads(view.data),
                stamps=loaded(view.stamps),
                changed_at=view.changed_at,
                deleted=view.deleted,
                up_version=view.up_version,
            ),
            seen=view.visible,
        )

    def up_version(self, key: Key) -> int:
        """The version of the hub's row that the record is made of."""
        there, stored = self.bases.get(key), self.records.get(key)
        return there.up_version if there is not None else 0 if stored is None else stored.up_version or 0
