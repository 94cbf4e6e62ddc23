"""Operations on their way: the pushes that one statement takes together, and the operations of each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from daemon.records.deciding.clock import corrected
from daemon.records.pushing.pushes import PushIn
from daemon.records.state import Author, Stored
from schemas.principals import Principal
from schemas.records.answers import Answer
from schemas.records.operation import Key, Operation, Unread, read_operation

UPSTREAM: Final = "up"
"""The peer through which an edge gets what its upstream has."""

NONE_YET: Final = UUID(int=0)
"""In the place of an acknowledgement: the replica shall go on as one that has none."""


@dataclass(slots=True, eq=False)
class Item:
    """An operation that waits for its *answer*. *place*: among those of its push. *at*: when its author has made it, by
    this server's clock; None: the clock of the replica is too far ahead."""

    push: Push
    place: int
    operation: Operation
    author: Author
    ledger_user: str
    at: datetime | None
    digest: bytes
    answer: Answer | None = None

    @property
    def identity(self) -> tuple[str, UUID]:
        """What the ledger knows it by."""
        return self.ledger_user, self.operation.op_id

    @property
    def waits(self) -> bool:
        """Whether an earlier operation on its record was rejected."""
        return self.push.held.get(self.operation.key, self.place) < self.place

    def reads(self, stored: Stored) -> bool:
        """Whether who pushes it may read *stored*."""
        return self.author.principal.reads(stored.owner_id, stored.branch)

    def reject(self, reason: str, detail: str, *, retry: bool = False) -> Answer:
        """The answer that it is rejected."""
        return Answer(op_id=self.operation.id, result="rejected", reason=reason, detail=detail, retry=retry)

    def name_conflict(self, id: int | None) -> None:
        """Say in its answer where the values that met are kept."""
        if self.answer is not None:
            self.answer = replace(self.answer, conflict_id=id)

    def end(self, answer: Answer) -> None:
        """Answer it for good. Behind a rejected one, those of the same record wait."""
        self.answer = answer
        if answer.result == "rejected":
            self.push.hold(self.operation.key, self.place)


@dataclass(slots=True, eq=False)
class Push:
    """A push under way. *author*: who writes, where an operation says nothing else; the ledger knows them as *itself*.
    *arrived*: when, by this server's clock. *given*: the acknowledgement that was sent; None: none. *held*: record ->
    the place of its first operation that was rejected. *audiences*: of its principal; None: it reads everything."""

    principal: Principal
    asked: PushIn
    author: Author
    itself: str
    arrived: datetime
    given: UUID | None = None
    ack: UUID = field(default_factory=uuid4)
    slots: list[Item | Answer] = field(default_factory=list)
    held: dict[Key, int] = field(default_factory=dict)
    audiences: frozenset[str] | None = None

    @property
    def items(self) -> list[Item]:
        """The operations that could be read."""
        return [slot for slot in self.slots if isinstance(slot, Item)]

    @property
    def op_ids(self) -> set[UUID]:
        """Of the operations that could be read."""
        return {item.operation.op_id for item in self.items}

    def hold(self, key: Key, place: int) -> None:
        """Have the operations on *key* behind *place* wait."""
        self.held.setdefault(key, place)

    def results(self) -> list[Answer]:
        """The answers, in the order of the operations."""
        return [slot if isinstance(slot, Answer) else _answered(slot) for slot in self.slots]


def opened(principal: Principal, asked: PushIn, now: datetime, peer: str | None = None) -> Push:
    """A push that arrives at *now*, each of its operations read. *peer*: None: by its replica, or its principal."""
    through = peer or _peer_of(principal, asked.replica)
    author = Author(principal=principal, user=principal.name, peer=through, origin=through)
    itself = principal.name if principal.kind == "user" else principal.key
    audiences = None if principal.sees_all else principal.audiences
    push = Push(principal, asked, author, itself, now, given=_uuid(asked.ack), audiences=audiences)
    for place, raw in enumerate(asked.operations):
        read = raw if isinstance(raw, Operation) else read_operation(raw)
        if isinstance(read, Unread):
            push.slots.append(Answer(op_id=read.op_id, result="rejected", reason=read.reason, detail=read.detail))
            if (key := _key_of(raw)) is not None:
                push.hold(key, place)
        else:
            push.slots.append(_item(push, place, read))
    return push


def _item(push: Push, place: int, operation: Operation) -> Item:
    principal, named = push.principal, operation.user_id
    author, ledger_user = push.author, push.itself
    if named is not None or operation.origin is not None:
        author = replace(author, user=named or author.user, origin=operation.origin or author.origin)
        ledger_user = named or ledger_user
    at = corrected(operation.changed_at, push.asked.sent_at, push.arrived)
    item = Item(push, place, operation, author, ledger_user, at, operation.digest())
    if named is not None and principal.kind != "edge":
        item.end(item.reject("field", "user_id: who writes is told by the token: leave it out"))
    elif named is not None and not _may_name(principal, named):
        item.end(item.reject("owner", "user_id: this edge's token is not for that person"))
    return item


def _may_name(edge: Principal, user: str) -> bool:
    """Whether *user* may write through *edge*. Of a branch, everybody who works there may, and the server does not know
    who that is: what they write must be the branch's all the same."""
    return edge.branch is not None or user in edge.owners or user == edge.name


def _peer_of(principal: Principal, replica: str | None) -> str:
    if replica is None:
        return principal.key if principal.token is None else f"token:{principal.token}"
    return f"replica:{replica}" if replica == UPSTREAM or ":" in replica else replica


def _key_of(raw: object) -> Key | None:
    """The record of an operation that cannot be read, where that much of it can."""
    said: Any = raw if isinstance(raw, dict) else {}
    model, record_id = said.get("model"), said.get("record_id")
    return (model, record_id) if isinstance(model, str) and isinstance(record_id, str) else None


def _uuid(text: str | None) -> UUID | None:
    """An acknowledgement; None: it had none yet. One that is none of ours is one that nobody has."""
    try:
        return None if text is None or UUID(text) == NONE_YET else UUID(text)
    except ValueError:
        return uuid4()


def _answered(item: Item) -> Answer:
    return item.answer or item.reject("internal", "it was not worked on: send it again", retry=True)
