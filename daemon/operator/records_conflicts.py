"""Values of records that met: what people read of them, and how they decide one.

A conflict is decided at the server that holds it. What was decided is written as an ordinary operation on the record as
it stands, so every replica learns it by its next pull. To take what is stored needs no operation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, cast
from uuid import uuid4

from adapters.postgres import audit_log
from adapters.postgres.audit_log import Logged
from adapters.postgres.operator import record_conflicts
from adapters.postgres.operator.record_conflicts import Now, StoredConflict, Wanted
from adapters.postgres.pool import Pool
from adapters.postgres.records.counts import counts
from daemon.operator.faults import Conflict, NotThere, Unusable
from daemon.records.deciding.decision import decide
from daemon.records.deciding.resolving import Take
from daemon.records.deciding.resolving import resolve as deciding
from daemon.records.models.rules import Models
from daemon.records.pushing.service import Records
from daemon.records.state import Author, Stored
from daemon.records.state import Conflict as Met
from schemas.errors import FerrymanError
from schemas.principals import Principal
from schemas.records.answers import Answer, Decision
from schemas.records.operation import Operation

TAKES: Final = ("theirs", "ours", "merge")

MOST: Final = 1000
RESOLVED: Final = "conflict.resolved"
RULE: Final = "rule"
"""Who has decided, where no person has."""

_DECISIONS: Final[Mapping[Take, str]] = {"theirs": "theirs", "ours": "ours", "merge": "merged"}


class NoSuchConflict(NotThere):
    """There is no such conflict here, or it is none of the asker's."""


class NotAllowed(FerrymanError):
    """The asker may read the conflict, and not decide it."""


class Decided(Conflict):
    """Somebody has decided it meanwhile."""


class Changed(Conflict):
    """The record is not what the conflict is about any more. *record*: as it stands, as JSON; None: it is gone."""

    def __init__(self, text: str, record: Mapping[str, Any] | None) -> None:
        super().__init__(text)
        self.record = record


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plan:
    """How a conflict is to be decided. *asker*: who decides. *author*: who writes. *operation*: what is written; None:
    what stands is what is chosen. *changed*: the fields that do not hold any more what the conflict left there."""

    was: StoredConflict
    take: Take
    asker: Principal
    author: Principal
    operation: Operation | None
    changed: Sequence[str]


async def listed(pool: Pool, principal: Principal, wanted: Wanted) -> list[dict[str, Any]]:
    """The conflicts that *principal* may read as JSON, the newest first."""
    found = await record_conflicts.listed(pool, _audiences(principal), wanted)
    return [document(one) for one in found]


async def shown(pool: Pool, principal: Principal, id: int, upstream: str | None) -> dict[str, Any]:
    """One conflict that *principal* may read as JSON. *upstream*: of an edge, its address. Raises: NoSuchConflict."""
    return document(await _find(pool, principal, id, upstream))


async def plan(
    pool: Pool, principal: Principal, id: int, take: Take, fields: Mapping[str, Any] | None, upstream: str | None
) -> Plan:
    """How the conflict *id* would be decided. *fields*: of `merge`. *upstream*: of an edge, its address. Raises:
    NoSuchConflict; NotAllowed; Decided; Unusable."""
    was = await _find(pool, principal, id, upstream)
    if not _may_decide(principal, was):
        raise NotAllowed("this conflict is decided by an admin, or by the owner of its record")
    _require_open(was)
    if was.now is not None and was.now.erased:
        raise Unusable(f"the {was.model} was erased: nothing brings it back")
    operation = _operation(was, take, fields)
    return Plan(
        was=was,
        take=take,
        asker=principal,
        author=principal if upstream is None else _carried(principal, was),
        operation=operation,
        changed=() if operation is None else _changed(was),
    )


def require_fit(plan: Plan, models: Models) -> None:
    """Raises: Unusable where the record, as it stands, would not take what *plan* writes. `resolve` does by itself."""
    op, now = plan.operation, datetime.now(UTC)
    if op is None:
        return
    if (model := models.get(op.model)) is None:
        raise Unusable(f"models.toml has no model {op.model} any more: nothing can be written")
    who = plan.author
    author = Author(principal=who, user=who.name, peer=who.key, origin=who.key)
    _require_taken(decide(_stored(plan.was), op, author, model, now, now).answer)


async def resolve(pool: Pool, records: Records, plan: Plan, *, by: str, version: int | None = None) -> Answer | None:
    """Carry *plan* out; the answer to its operation, None where nothing is written. *by*: the person, for the audit
    log. *version*: of the record that they have seen: then they know that it has changed since the conflict arose.

    Raises: Changed; Decided; Unusable where the record does not take the values.
    """
    was, now = plan.was, plan.was.now
    if plan.changed and (now is None or version != now.version):
        raise Changed(_changed_text(plan), _record(was.now))
    async with pool.acquire() as conn, conn.transaction():
        if not await record_conflicts.lock(conn, was.id):
            raise Decided(f"somebody decides conflict {was.id} just now: look at it again")
        standing = await record_conflicts.find(pool, _audiences(plan.asker), was.id)
        if standing is None:
            raise NoSuchConflict(f"conflict {was.id} has gone meanwhile")
        if standing != was:
            _require_open(standing)
            raise Changed(f"conflict {was.id} has changed meanwhile: look at it again", _record(standing.now))
        answer = None if plan.operation is None else await records.write(plan.author, plan.operation)
        if answer is not None:
            _require_taken(answer)
        if not await record_conflicts.decide(conn, was, _DECISIONS[plan.take], by):
            raise Changed(f"a later value has come to conflict {was.id}, which stays open", _record(was.now))
        detail: dict[str, Any] = {"take": plan.take, "model": was.model, "record_id": was.record_id}
        detail |= {} if answer is None else {"op_id": answer.op_id, "version": answer.version}
        await audit_log.add(conn, [Logged(by, RESOLVED, f"conflict:{was.id}", detail)])
    return answer


async def waiting_upstream(pool: Pool) -> int:
    """How many operations of this edge wait for a person's decision at its upstream."""
    return (await counts(pool, datetime.now(UTC))).upstream_conflicts


def document(one: StoredConflict) -> dict[str, Any]:
    """A conflict as JSON. `record`: the record as it stands; null: there is none."""
    said = {**asdict(one), "op_id": str(one.op_id), "fields": list(one.fields)}
    del said["now"]
    return said | {"decision": one.decision or "open", "record": _record(one.now)}


async def _find(pool: Pool, principal: Principal, id: int, upstream: str | None) -> StoredConflict:
    found = await record_conflicts.find(pool, _audiences(principal), id)
    if found is None:
        where = "" if upstream is None else f"; one that its upstream {upstream} holds is resolved there"
        raise NoSuchConflict(f"there is no conflict {id} here: see `ferryman records conflicts`{where}")
    return found


def _record(now: Now | None) -> dict[str, Any] | None:
    if now is None:
        return None
    said = asdict(now)
    del said["stamps"]
    return said


def _audiences(principal: Principal) -> list[str] | None:
    return None if principal.sees_all else sorted(principal.audiences)


def _may_decide(principal: Principal, was: StoredConflict) -> bool:
    if principal.sees_all:
        return principal.role == "admin"
    owner = was.user_id if was.now is None else was.now.owner_id
    return principal.kind == "user" and principal.role != "read" and principal.name == owner


def _require_open(was: StoredConflict) -> None:
    """A rule's decision may be corrected, a person's stands. Raises: Decided."""
    if was.decision is not None and was.decided_by != RULE:
        raise Decided(f"conflict {was.id} is decided already: {was.decision}, by {was.decided_by} at {was.decided_at}")


def _carried(principal: Principal, was: StoredConflict) -> Principal:
    """Who writes at an edge: its upstream knows the people whose records it carries, and no operator of this host."""
    owner = None if was.now is None else was.now.owner_id
    return principal if principal.kind == "user" or owner is None else replace(principal, name=owner)


def _operation(was: StoredConflict, take: Take, fields: Mapping[str, Any] | None) -> Operation | None:
    """Raises: Unusable."""
    if take == "merge" and not fields:
        raise Unusable("merge needs the fields to write, as a JSON object of one field or more")
    if take != "merge" and fields is not None:
        raise Unusable(f"{take} takes the values of the conflict: fields are for merge")
    if take == was.decision:
        return None
    met = Met(
        base=was.base,
        ours=was.ours,
        theirs=was.theirs,
        fields=tuple(was.fields),
        strategy=was.strategy,
        decision=cast(Decision, was.decision or "open"),
    )
    return deciding(
        _stored(was), (was.model, was.record_id), met, take, values=fields, op_id=uuid4(), now=datetime.now(UTC)
    )


def _stored(was: StoredConflict) -> Stored | None:
    """The record as it stands, but for the stamps of its fields: whoever decides knows them all."""
    now = was.now
    if now is None:
        return None
    return Stored(
        model=was.model,
        record_id=was.record_id,
        version=now.version,
        owner_id=now.owner_id,
        branch=now.branch,
        data=now.data,
        stamps={},
        changed_at=now.changed_at,
        deleted=now.deleted,
        erased=now.erased,
    )


def _changed(was: StoredConflict) -> list[str]:
    """The fields of the conflict that hold what nobody has seen who reads it; all of them, where the record was deleted
    or came back."""
    left = was.theirs if was.decision == "theirs" else was.ours
    now = None if was.now is None or was.now.deleted else was.now.data
    if left is None or now is None:
        return [] if left is now or was.decision == "merged" else list(was.fields) or ["(the record)"]
    if was.decision == "merged":
        return []
    came = {**left, **(was.theirs or {})}  # beside a field that waits, a rule may have let others in
    said = [name for name in was.fields if name in left and now.get(name) not in (left[name], came[name])]
    return [name for name in said if _is_later(was, name)]


def _is_later(was: StoredConflict, name: str) -> bool:
    """Whether the field was written after the conflict. Of fields that met together one may wait and the rule of
    another have let the value in that came: nobody has changed that one since."""
    stamp = None if was.now is None else was.now.stamps.get(name)
    return stamp is None or was.version is None or stamp.version > was.version


def _changed_text(plan: Plan) -> str:
    said = ", ".join(plan.changed)
    return f"the record has changed since conflict {plan.was.id} arose, in {said}: look at it, then decide again"


def _require_taken(answer: Answer) -> None:
    """Raises: Unusable; Changed."""
    if answer.result == "rejected":
        raise Unusable(f"the record does not take this: {answer.detail or answer.reason}")
    if answer.result == "conflict":
        text = (
            f"the record has changed meanwhile: conflict {answer.conflict_id} has what was chosen; this one stays open"
        )
        raise Changed(text, answer.record)
