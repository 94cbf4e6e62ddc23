"""The values that met, as they are kept for people: no value is lost without a row that holds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from daemon.records.deciding.fields import Met
from daemon.records.models.rules import ModelRules
from daemon.records.state import Conflict
from schemas.records.answers import Decision
from schemas.records.operation import Operation

_LEFT: Final = ("open", "ours")
"""Decisions that leave what is stored as it is."""


def of_fields(met: Sequence[Met], op: Operation, model: ModelRules) -> Conflict | None:
    """Of single fields. None: nothing met."""
    if not met:
        return None
    fields = tuple(one.field for one in met)
    strategies = {one.strategy for one in met}
    decision = _together(one.decision for one in met)
    return Conflict(
        base=_told_base(op, fields),
        ours={one.field: one.ours for one in met},
        theirs={one.field: one.theirs for one in met},
        fields=fields,
        strategy="manual" if decision == "open" else strategies.pop() if len(strategies) == 1 else model.strategy,
        decision=decision,
        overwritten=tuple(one.field for one in met if decision == "open" and one.decision not in _LEFT),
    )


def of_records(
    op: Operation,
    model: ModelRules,
    ours: Mapping[str, Any] | None,
    theirs: Mapping[str, Any] | None,
    decision: Decision,
    met: Sequence[Met] = (),
) -> Conflict:
    """Of whole records, of which one is not there, or was deleted. *met*: fields that have met besides."""
    fields = tuple(ours or theirs or ())
    together = _together([decision, *(one.decision for one in met)])
    strategy = "manual" if together == "open" else model.delete
    return Conflict(
        base=_told_base(op, fields),
        ours=ours,
        theirs=theirs,
        fields=fields,
        strategy=strategy,
        decision=together,
        overwritten=fields if together == "open" and decision not in _LEFT else (),
    )


def _together(decisions: Iterable[Decision]) -> Decision:
    """What an operation comes to whose fields were decided one by one."""
    every = set(decisions)
    return every.pop() if len(every) == 1 else "open" if "open" in every else "merged"


def _told_base(op: Operation, fields: tuple[str, ...]) -> dict[str, Any] | None:
    """What the author saw in *fields*, as far as it is told."""
    return None if op.base is None else {name: op.base[name] for name in fields if name in op.base}
