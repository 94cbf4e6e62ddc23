"""Replicas, told apart from their copies: which push is taken, and what its replica sends with the next one.

An answer gives an acknowledgement, which the next push has. Where the answer was lost, its push comes again, by the
acknowledgement before: in smaller parts, or with more behind it. A copy does not know what the other has pushed, and
has something of its own. Two copies that push by one name would pass for one author, and overwrite each other.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from adapters.postgres.records.reading import ReplicaRow
from adapters.postgres.records.rows import AckRow
from daemon.records.pushing.batch import NONE_YET, Push
from daemon.records.pushing.pushes import Refused

_LOOP: Final = (
    "the operations come from this server: SYNC_UPSTREAM_URL leads back to it; or the database they come from is a copy"
    " of this one: run `ferryman records new-epoch --copied` there"
)
_FORKED: Final = (
    "it is not `ack` of this replica's last answer, so another copy of it has pushed: take a new name, keep what is not"
    " pushed, and pull anew"
)

_UNSAID: Final = (
    "this replica has pushed before, and `ack` is missing: send that of its last answer; a program that keeps none"
    " leaves `replica` out, and a copy of a replica takes a new name"
)


class Standing:
    """How the replicas stand that push together. *known*: name -> what is stored of it; None: nothing."""

    def __init__(self, feed: UUID, known: dict[str | None, ReplicaRow | None]) -> None:
        self._feed = str(feed)
        self._known = known
        self._moved: set[str] = set()

    def admit(self, push: Push) -> Refused | None:
        """Why *push* is not taken; None: it is, its `ack` says what its replica sends next, and the replica stands
        behind it from now on."""
        if self._feed in push.asked.via:
            return Refused(kind="loop", detail=_LOOP)
        name = push.asked.replica
        if name is None:
            return None
        row = self._known[name]
        if row is not None and row.principal != push.principal.key:
            return Refused(kind="replica-of-another", detail="this replica is another's: take a name of your own")
        if row is None or push.given == row.ack:
            self._known[name] = ReplicaRow(push.principal.key, push.ack, push.given, list(push.op_ids))
        elif push.given == row.ack_before and (after := _again(push, row)) is not None:
            self._known[name] = after
        else:
            return Refused(kind="replica-forked", detail=_UNSAID if push.given is None else _FORKED)
        self._moved.add(name)
        return None

    def acks(self) -> list[AckRow]:
        """What is to be stored of the replicas that have pushed."""
        return [_ack_row(name, self._known[name]) for name in sorted(self._moved)]


def _again(push: Push, row: ReplicaRow) -> ReplicaRow | None:
    """How the replica of *row* stands after *push*, if that is its last one again; None: it is not.

    A part of it proves nothing of the rest: until that has come, too, only what is left of it is taken.
    """
    last, op_ids = set(row.op_ids), push.op_ids
    if op_ids == last and row.ack is not None:
        push.ack = row.ack  # whichever of the two answers arrives, it is good
        return row
    if op_ids >= last:
        return ReplicaRow(row.principal, push.ack, push.given, list(op_ids))
    if op_ids <= last:
        push.ack = push.given or NONE_YET
        return row._replace(op_ids=list(last - op_ids))
    return None


def _ack_row(name: str, row: ReplicaRow | None) -> AckRow:
    assert row is not None
    assert row.ack is not None
    return AckRow(name, row.principal, row.ack, row.ack_before, ",".join(map(str, row.op_ids)))
