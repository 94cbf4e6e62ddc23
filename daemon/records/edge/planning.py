"""What an answer, a pulled change or a missing record does to a record here and to our operations on it. Values in,
values out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias
from uuid import UUID, uuid5

import orjson

from adapters.postgres.records.pulled import LostRow, OpChange, OpRow, State, ThereRow
from adapters.sync.store import HISTORY, Change, RebuildReason, Verdict
from daemon.records.edge.deriving import (
    UNKNOWN,
    Derived,
    Places,
    base_of,
    derive,
    gone,
    is_settled,
    lost_fields,
    open_ops,
)
from schemas.envelope import NAMESPACE

LEFT: Final = "the record is not for this edge any more"

ANSWERED: Final = ("synced", "conflict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What planning goes by. *places*: where a model has its owner and its branch. *rebuild*: why the upstream's rows
    are taken anew, where they are; *generation*: how often they were before."""

    places: Callable[[str], Places]
    now: datetime
    rebuild: RebuildReason | None = None
    generation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What becomes of one record. *derived*: None: its row is not touched. *base*: the upstream's row, where the
    record's is written; None: none needs to be kept, as the record is that row. *put_back*: operations that were
    answered, and wait again."""

    state: State
    derived: Derived | None = None
    base: ThereRow | None = None
    ops: tuple[OpChange, ...] = ()
    lost: LostRow | None = None
    put_back: int = 0


Planning: TypeAlias = Callable[[State, Setting], Plan]
"""How a record as it stands becomes what is written of it."""


def answered(state: State, verdicts: Mapping[UUID, Verdict], setting: Setting) -> Plan:
    """What the upstream's answers to operations do. A verdict on one that does not wait any more does nothing."""
    told = [(op, verdicts[op.op_id]) for op in state.ops if op.state == "pending" and op.op_id in verdicts]
    there = base_of(state)
    if any(_says_gone(op, verdict) for op, verdict in told):
        there = there._replace(up_version=0, deleted=True)
    changed = {op.op_id: _judged(op, verdict, setting.now) for op, verdict in told}
    ops = [changed.get(op.op_id, op) for op in state.ops]
    refused = any(op.state == "failed" and op.op_id in changed for op in ops)
    if not refused and not any(is_settled(op, there) for op in ops if not op.settled):
        return Plan(state=state, ops=_changes(state.ops, ops, verdicts, setting.now, bound=False))
    return _made(state, there, ops, setting, verdicts=verdicts)


def pulled(state: State, change: Change, setting: Setting) -> Plan:
    """What a pulled change does. A row that is older than the one that is known is let pass, but where all are taken
    anew."""
    if change.op == "remove":
        return _left(state, setting)
    if state.here is not None and state.here.erased:
        return Plan(state=state)  # it never comes back
    known = base_of(state)
    if setting.rebuild is None and change.version < known.up_version:
        return Plan(state=state)
    is_known = change.version == known.up_version and state.there is None and state.here is not None
    if is_known and setting.rebuild not in HISTORY and not open_ops(state.ops):
        return Plan(state=state)
    there = _there(state, change, known, setting.places(change.model))
    ops = list(state.ops)
    if setting.rebuild in HISTORY:
        ops = [_brought_back(op, there.up_version) for op in ops]
    return _made(state, there, ops, setting)


def missing(state: State, setting: Setting) -> Plan:
    """What becomes of a record of the upstream's that it does not give any more, now that all are taken anew."""
    ops, there = list(state.ops), base_of(state)
    if setting.rebuild in HISTORY:
        there = UNKNOWN
        own = any(op.operation == "CREATE" for op in ops if op.state != "failed")
        ops = [_brought_back(op, 0 if own else -1) for op in ops]
    else:
        there = there._replace(up_version=0, deleted=True)
    return _made(state, there, ops, setting)


def _says_gone(op: OpRow, verdict: Verdict) -> bool:
    """Whether the answer says that the upstream has no such record, so that no pull will bring it."""
    if verdict.state != "synced" or verdict.version:
        return False
    return op.operation == "DELETE" or verdict.decision == "gone"


def _judged(op: OpRow, verdict: Verdict, now: datetime) -> OpRow:
    acked = (verdict.version or 0) if verdict.state in ANSWERED else None
    changed_at, tick = (now, 0) if verdict.restamp else (op.changed_at, op.tick)
    return op._replace(
        state=verdict.state, acked_version=acked, changed_at=changed_at, tick=tick, retry_count=verdict.retries
    )


def _brought_back(op: OpRow, version: int) -> OpRow:
    """An operation, where the upstream's history went back to *version* of its record, or to less: what others have
    written since may have grown it again. So all that was answered goes out again; the upstream's ledger knows what it
    still has. -1: it does not know the record, and its author was not us: an operation keeps the version that it saw,
    so that nobody makes the record anew of it."""
    base = op.base_version if version < 0 else min(op.base_version, version)
    if op.state in ANSWERED:
        held = None if (op.acked_version or 0) > max(version, 0) else op.acked_version
        return op._replace(state="pending", settled=False, acked_version=held, base_version=base)
    return op._replace(base_version=base) if op.state == "pending" else op


def _left(state: State, setting: Setting) -> Plan:
    """The record is not for this edge any more. What waits of ours has no way to it, and stays for a person to see."""
    ops = [
        op._replace(state="failed") if op.state == "pending" else op._replace(settled=True) if not op.settled else op
        for op in state.ops
    ]
    changes = [
        _change(op, new, setting.now, bound=False, reason="owner" if new.state == "failed" else None, detail=LEFT)
        for op, new in zip(state.ops, ops, strict=True)
        if op != new
    ]
    return Plan(state=state, derived=gone(state, setting.now), ops=tuple(changes))


def _there(state: State, change: Change, known: ThereRow, places: Places) -> ThereRow:
    if change.op == "delete":
        here = state.here
        if known.data is None and here is not None:  # it was made here: a tombstone is still its owner's
            owner, branch = here.owner_id, here.branch
            known = known._replace(owner_id=owner, branch=branch, data=here.data, stamps=here.stamps)
        return known._replace(up_version=change.version, deleted=True)
    data = dict(change.data or {})
    branch = data.get(places.branch) if places.branch else None
    return ThereRow(
        up_version=change.version,
        deleted=False,
        owner_id=change.owner_id,
        branch=branch if isinstance(branch, str) else None,
        data=orjson.dumps(data).decode(),
        stamps=None if change.stamps is None else orjson.dumps(dict(change.stamps)).decode(),
    )


def _made(
    state: State,
    there: ThereRow,
    ops: Sequence[OpRow],
    setting: Setting,
    verdicts: Mapping[UUID, Verdict] | None = None,
) -> Plan:
    """The record made anew of *there* and of those of *ops* that it does not hold."""
    ops = [op._replace(settled=True) if not op.settled and is_settled(op, there) else op for op in ops]
    left = open_ops(ops)
    derived = derive(state, there, left, setting.places(state.key[0]), setting.now)
    bound = derived.view is not None
    return Plan(
        state=state,
        derived=derived,
        base=there if left else None,
        ops=_changes(state.ops, ops, verdicts or {}, setting.now, bound=bound),
        lost=_lost(state, derived, there, ops, setting),
        put_back=sum(old.state in ANSWERED and new.state == "pending" for old, new in zip(state.ops, ops, strict=True)),
    )


def _lost(state: State, derived: Derived, there: ThereRow, ops: Sequence[OpRow], setting: Setting) -> LostRow | None:
    """What the upstream had once and does not have any more, where not all of it is ours to bring back."""
    here, known = state.here, base_of(state).up_version
    if setting.rebuild not in HISTORY or here is None or derived.view is None or known <= there.up_version:
        return None
    values = lost_fields(here, derived.view)
    if not values:
        return None
    name = "\x00".join((*state.key, str(setting.generation), str(known)))
    return LostRow(
        user_id="upstream",
        op_id=uuid5(NAMESPACE, name),
        key=state.key,
        owner_id=here.owner_id,
        base_version=known,
        version=there.up_version,
        ours=_now(derived, values),
        theirs=orjson.dumps(values).decode(),
        fields=sorted(values),
    )


def _now(derived: Derived, values: Mapping[str, object]) -> str | None:
    view = derived.view
    if view is None or view.deleted:
        return None
    data = orjson.loads(view.data)
    return orjson.dumps({name: data.get(name) for name in values}).decode()


def _changes(
    old: Sequence[OpRow], new: Sequence[OpRow], verdicts: Mapping[UUID, Verdict], now: datetime, *, bound: bool
) -> tuple[OpChange, ...]:
    changes = []
    for before, after in zip(old, new, strict=True):
        verdict = verdicts.get(after.op_id) if before.state == "pending" else None
        if before == after and verdict is None:
            continue
        after_s = 0.0 if verdict is None else verdict.after_s
        reason = None if verdict is None else verdict.reason
        detail = None if verdict is None else verdict.detail
        changes.append(_change(before, after, now, bound=bound, reason=reason, detail=detail, after_s=after_s))
    return tuple(changes)


def _change(
    before: OpRow,
    after: OpRow,
    now: datetime,
    *,
    bound: bool,
    reason: str | None,
    detail: str | None,
    after_s: float = 0.0,
) -> OpChange:
    returns = after.state == "pending" and (after_s > 0 or before.state != "pending")
    return OpChange(
        op_id=after.op_id,
        state=after.state,
        settled=after.settled,
        acked_version=after.acked_version,
        error=None if reason is None else reason + (f": {detail[:400]}" if detail else ""),
        reason=reason,
        retry_count=after.retry_count,
        next_at=now + timedelta(seconds=after_s) if returns else None,
        base_version=after.base_version,
        changed_at=after.changed_at,
        bound=bound,
    )
