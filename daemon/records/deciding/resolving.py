"""What a person decides about values that met, as an ordinary operation: it is written as any other."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

from daemon.records.models.values import same_json
from daemon.records.state import Conflict, Stored
from schemas.records.operation import Key, Operation

Take: TypeAlias = Literal["ours", "theirs", "merge"]


def resolve(
    stored: Stored | None,
    key: Key,
    conflict: Conflict,
    take: Take,
    *,
    values: Mapping[str, Any] | None = None,
    op_id: UUID,
    now: datetime,
) -> Operation | None:
    """The operation that carries out what a person has decided; None: nothing has to be written. *stored*: the record
    of *key* as it stands, None where there is none. *values*: those to *take* with "merge". Its author has seen the
    record as it stands, so it meets nothing.

    What was decided by a rule can be taken back: then *ours* is not what is stored. That may be so of single fields:
    those of a conflict that waits, where the rule of some has let the value in that came.
    """
    taken = values if take == "merge" else conflict.ours if take == "ours" else conflict.theirs
    if take == "ours" and conflict.decision in ("open", "ours", "gone"):
        taken = _came(stored, conflict)
        if not taken:
            return None
    there = stored is not None and not stored.deleted
    if taken is None and not there:
        return None
    return Operation(
        op_id=op_id,
        operation="DELETE" if taken is None else "CREATE" if stored is None else "UPDATE",
        model=key[0],
        record_id=key[1],
        data=taken or {},
        base_version=0 if stored is None else stored.version,
        changed_at=now,
    )


def _came(stored: Stored | None, conflict: Conflict) -> Mapping[str, Any]:
    """Of values that wait for a person who takes *ours*: those of *ours* in whose place a rule has let in what came."""
    if stored is None or stored.deleted or conflict.ours is None or conflict.theirs is None:
        return {}
    ours, theirs, data = conflict.ours, conflict.theirs, stored.data
    came = [name for name in conflict.fields if same_json(data.get(name), theirs.get(name))]
    return {name: ours[name] for name in came if name in ours and not same_json(ours[name], theirs.get(name))}
