"""What becomes of an operation: the one place where record sync decides.

Pure: the same record, operation, author and clock give the same answer, the record as it will be, and the values that
were lost on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from daemon.records.deciding.answering import answered, rejected, strange
from daemon.records.deciding.conflicts import of_fields, of_records
from daemon.records.deciding.exact import at_version
from daemon.records.deciding.fields import Writing, merged, parallel, writing
from daemon.records.deciding.rights import is_nobodys, may_place, reaches
from daemon.records.models.rules import ModelRules
from daemon.records.models.values import Wrong, read_values
from daemon.records.state import Author, Decided, Effect, Stored
from schemas.records.answers import Decision
from schemas.records.operation import Operation
from schemas.records.stamps import LIFE, Stamp, over


def decide(
    stored: Stored | None, op: Operation, author: Author, model: ModelRules, now: datetime, at: datetime | None
) -> Decided:
    """What *op* makes of *stored*. None: there is no such record. *model*: of the operation. *at*: its `corrected`
    time; None: its clock is too far ahead of ours, which says *now*. That it is new here, its caller knows from the
    ledger."""
    if author.principal.role == "read":
        return rejected(op, "read-only", "this token may read, and not write")
    if at is None:
        return rejected(op, "clock-ahead", "changed_at is more than 25 hours ahead: stamp it anew", retry=True)
    at = min(at, now)
    if op.only_at is not None:
        exact = at_version(stored, op, author)
        if isinstance(exact, Decided):
            return exact
        op = exact
    if op.base_version is None and op.operation != "CREATE":
        return rejected(op, "base-missing", "base_version is missing: the version that its author saw")
    values = _values(op, model)
    if isinstance(values, Wrong):
        return rejected(op, values.reason, values.detail)
    if stored is None:
        return _created(op, values, author, model, at) if op.operation == "CREATE" else _missing(op, values, model)
    if not reaches(author, stored) and not (op.operation == "CREATE" and is_nobodys(stored)):
        return _of_another(op, values, author, model)
    if (op.base_version or 0) > stored.version:
        return rejected(op, "base-ahead", f"base_version is ahead of this server's, which is {stored.version}")
    if stored.erased:
        return _of_erased(stored, op, author)
    if op.operation == "DELETE":
        return _deleted(stored, op, author, model, at)
    return _updated(stored, op, values, author, model, at)


def _values(op: Operation, model: ModelRules) -> Mapping[str, Any] | Wrong:
    """What the operation writes, as it is stored."""
    if op.operation == "DELETE":
        return {}
    if op.data.get("id", op.record_id) != op.record_id:
        return Wrong("field", "id is another than record_id: leave it out")
    return read_values(model, op.data, whole=op.operation == "CREATE")


def _missing(op: Operation, values: Mapping[str, Any], model: ModelRules) -> Decided:
    """An UPDATE or a DELETE of a record that is not here, or that its author may not know of."""
    if op.operation == "DELETE":
        return strange(op, None)
    if not op.base_version:
        return rejected(op, "unknown-record", "there is no such record: CREATE it")
    return strange(op, of_records(op, model, None, values, "gone"))


def _of_another(op: Operation, values: Mapping[str, Any], author: Author, model: ModelRules) -> Decided:
    """Of a record that its author may not write. Who has never seen it is not told that it is there; that an id is
    taken cannot be hidden."""
    if author.formerly or op.operation == "CREATE":
        return rejected(op, "owner", "the record is another's")
    return _missing(op, values, model)


def _of_erased(stored: Stored, op: Operation, author: Author) -> Decided:
    """For privacy it never comes back."""
    if op.operation == "DELETE":
        return answered(op, author, stored, None)
    return rejected(op, "erased", "the record was erased for privacy, and does not come back: take another id")


def _created(op: Operation, values: Mapping[str, Any], author: Author, model: ModelRules, at: datetime) -> Decided:
    data = _placed(values, author, model)
    owner, branch = data[model.owner], data.get(model.branch)
    if not may_place(author, model, None, owner, branch):
        return rejected(op, "owner", f"you may not make it another's: leave {model.owner} out")
    stamp = writing(None, op, author, at).over(None)
    after = Stored(
        model=op.model,
        record_id=op.record_id,
        version=1,
        owner_id=owner,
        branch=branch,
        data=data,
        stamps=dict.fromkeys(data, stamp),
        changed_at=at,
    )
    return answered(op, author, None, after, effect=Effect(operation="CREATE", data=data), differs=data != op.data)


def _placed(values: Mapping[str, Any], author: Author, model: ModelRules) -> dict[str, Any]:
    """*values* of a new record, with whose it is."""
    data = dict(values)
    data.setdefault(model.owner, author.user)
    if author.principal.branch is not None:
        data.setdefault(model.branch, author.principal.branch)
    return data


def _deleted(stored: Stored, op: Operation, author: Author, model: ModelRules, at: datetime) -> Decided:
    if stored.deleted:
        return answered(op, author, stored, None)
    by = writing(stored, op, author, at)
    conflict = None
    if stored.version > by.base:
        changed = [name for name, stamp in stored.stamps.items() if stamp.is_concurrent(by.base, by.peer)]
        if changed:
            decision: Decision = _RULED[model.delete]
            ours = {name: stored.data.get(name) for name in changed if name != LIFE}
            conflict = of_records(op, model, ours, None, decision)
            if decision != "theirs":
                return answered(op, author, stored, None, conflict=conflict)
    after = replace(
        stored,
        version=by.version,
        deleted=True,
        stamps=over(stored.stamps, {LIFE: by.over(stored.stamps.get(LIFE))}),
        changed_at=max(at, stored.changed_at),
    )
    return answered(op, author, stored, after, conflict=conflict, effect=Effect(operation="DELETE", data={}))


_RULED: Mapping[str, Decision] = {"update-wins": "ours", "delete-wins": "theirs", "manual": "open"}
"""The rule -> whose word counts where a DELETE meets what is here."""


def _updated(
    stored: Stored, op: Operation, values: Mapping[str, Any], author: Author, model: ModelRules, at: datetime
) -> Decided:
    """Of a record that is here, or was deleted."""
    nobodys = op.operation == "CREATE" and is_nobodys(stored)
    if nobodys:
        values = _placed(values, author, model)
    owner = values.get(model.owner, stored.owner_id)
    branch = values.get(model.branch, stored.branch)
    moved = owner != stored.owner_id or branch != stored.branch
    if moved and not may_place(author, model, None if nobodys else stored, owner, branch):
        return rejected(op, "owner", f"you may not make it another's: leave {model.owner} out")
    by = writing(stored, op, author, at)
    unseen = stored.deleted and _is_unseen(stored, by)
    if unseen and model.delete != "update-wins":
        decision: Decision = "ours" if model.delete == "delete-wins" else "open"
        return answered(op, author, stored, None, conflict=of_records(op, model, None, values, decision))
    anew = stored.deleted and not unseen and op.operation == "CREATE"
    if anew:
        places = (model.owner, model.branch)
        values = {**{name: None for name in stored.data if name not in places}, **values}
    new = merged(stored, values, op, model, by)
    conflict = of_records(op, model, None, values, "theirs", new.met) if unseen else of_fields(new.met, op, model)
    beside = parallel(stored, values, by)
    differs = new.mixed or values != op.data
    if not new.stamps and not stored.deleted:
        return answered(op, author, stored, None, conflict=conflict, parallel=beside, differs=differs)
    after = _after(stored, new.written, new.stamps, model, by, at, unseen=unseen)
    effect = _effect(after, new.stamps, anew=anew)
    return answered(op, author, stored, after, conflict=conflict, effect=effect, parallel=beside, differs=differs)


def _is_unseen(stored: Stored, by: Writing) -> bool:
    """Whether the author of an operation does not know that the record was deleted."""
    if stored.version <= by.base:
        return False
    grave = stored.stamps.get(LIFE)
    return grave is None or grave.is_concurrent(by.base, by.peer)


def _after(
    stored: Stored,
    written: Mapping[str, Any],
    stamps: Mapping[str, Stamp],
    model: ModelRules,
    by: Writing,
    at: datetime,
    *,
    unseen: bool,
) -> Stored:
    data = {**stored.data, **written}
    if stored.deleted:
        back = {name: by.back(old, unseen=unseen) for name, old in stored.stamps.items() if name not in stamps}
        stamps = {**back, **stamps, LIFE: by.over(stored.stamps.get(LIFE))}
    return Stored(
        model=stored.model,
        record_id=stored.record_id,
        version=by.version,
        owner_id=data.get(model.owner),
        branch=data.get(model.branch),
        data=data,
        stamps=over(stored.stamps, stamps),
        changed_at=max(at, stored.changed_at),
        up_version=stored.up_version,
    )


def _effect(after: Stored, fields: Iterable[str], *, anew: bool) -> Effect:
    """What the operation has really done. A record that begins anew is made whole again, wherever it has been compacted
    meanwhile."""
    if anew:
        return Effect(operation="CREATE", data={name: one for name, one in after.data.items() if one is not None})
    return Effect(operation="UPDATE", data={name: after.data.get(name) for name in fields})
