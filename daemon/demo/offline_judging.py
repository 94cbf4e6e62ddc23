"""What of the demonstration of offline work is not as it must be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adapters.postgres.operator.demo_records import KeptConflict
from daemon.demo.offline import Copies, Result, equal
from daemon.demo.offline_story import SCENES, Scene


def judged(result: Result) -> list[str]:
    """What is wrong, in words."""
    return [
        *(f"{scene.id}: {what}" for scene, copies in _each(result) for what in _of_a_record(scene, copies)),
        *_of_the_conflicts(result),
        *_of_the_refused(result),
        *_of_the_operations(result),
    ]


def as_told(scene: Scene, copies: Copies) -> bool:
    """Whether a record has ended as its story says, at every place."""
    return not any(_of_a_record(scene, copies))


def _each(result: Result) -> Iterator[tuple[Scene, Copies]]:
    return zip(SCENES, result.copies, strict=True)


def _of_a_record(scene: Scene, copies: Copies) -> Iterator[str]:
    if not equal(scene, copies):
        yield f"the places do not agree: {list(copies)}"
    if scene.end is None:
        if copies.office is not None:
            yield "it is still there"
        return
    found = {name: (copies.office or {}).get(name) for name in scene.end}
    if found != scene.end:
        yield f"it ended as {found}, and not as {dict(scene.end)}"


def _of_the_conflicts(result: Result) -> Iterator[str]:
    """Every value that lost stands in a conflict that tells both; and there is no other conflict."""
    wanted: Counter[tuple[str, str, str, str]] = Counter(
        (scene.met.at, scene.id, scene.met.strategy, scene.met.decision) for scene in SCENES if scene.met is not None
    )
    found: Counter[tuple[str, str, str, str]] = Counter()
    for at, rows in (("office", result.at_office), ("branch", result.at_branch)):
        for row in rows:
            found[at, row.record_id.rpartition("-")[0], row.strategy, row.decision or "open"] += 1
            yield from _of_a_conflict(at, row)
    for missing in (wanted - found).elements():
        yield f"there is no conflict {', '.join(missing)}"
    for more in (found - wanted).elements():
        yield f"nobody expected the conflict {', '.join(more)}"


def _of_a_conflict(at: str, row: KeptConflict) -> Iterator[str]:
    if row.ours == row.theirs:
        yield f"the conflict {row.id} at the {at} does not tell two values"
    if any(row.ours and row.theirs and name not in row.theirs for name in row.fields):
        yield f"the conflict {row.id} at the {at} does not tell the values of its fields"


def _of_the_refused(result: Result) -> Iterator[str]:
    wanted = sorted((scene.id, scene.refused) for scene in SCENES if scene.refused is not None)
    found = sorted((one.scene.id, one.reason) for one in result.refused)
    if found != wanted:
        yield f"{found} was refused, and not {wanted}"


def _of_the_operations(result: Result) -> Iterator[str]:
    """The head office's ledger has every operation once, and nothing waits any more."""
    yield from (
        f"{number} operations or conflicts wait on {place}" for place, number in result.waiting.items() if number
    )
    if result.operations != (wanted := sum(map(_operations, SCENES))):
        yield f"the head office has applied {result.operations} operations, and not {wanted}"


def _operations(scene: Scene) -> int:
    """How many operations the head office has applied for *scene*: those on it that were not refused, and did not lose
    at the branch; and what a person has decided."""
    made = (scene.before is not None) + len(scene.changes)
    lost = scene.met is not None and scene.met.at == "branch"
    return made - (scene.refused is not None) - lost + (scene.rule == "manual")


def document(result: Result) -> dict[str, Any]:
    """As JSON."""
    return {
        "ok": result.ok,
        "seconds": round(result.seconds, 2),
        "apart_seconds": round(result.apart_s, 2),
        "together_seconds": round(result.together_s, 2),
        "waited_on_phone": result.queued[0],
        "waited_at_branch": result.queued[1],
        "operations": result.operations,
        "records": [_record(scene, copies, result.run) for scene, copies in _each(result)],
        "conflicts": [
            *(_conflict("office", row) for row in result.at_office),
            *(_conflict("branch", row) for row in result.at_branch),
        ],
        "refused": [
            {"record": one.scene.key(result.run), "reason": one.reason, "kept": one.kept} for one in result.refused
        ],
        "disagreements": list(result.disagreements),
    }


def _record(scene: Scene, copies: Copies, run: int) -> dict[str, Any]:
    return {
        "model": scene.model,
        "record": scene.key(run),
        "rule": scene.rule,
        "changes": [{"by": one.by, "said": one.said} for one in scene.changes],
        "outcome": scene.outcome,
        "office": copies.office,
        "branch": copies.branch,
        "phone": copies.phone,
        "equal": equal(scene, copies),
        "as_told": as_told(scene, copies),
    }


def _conflict(at: str, row: KeptConflict) -> dict[str, Any]:
    return {
        "at": at,
        "record": row.record_id,
        "fields": list(row.fields),
        "strategy": row.strategy,
        "ours": row.ours,
        "theirs": row.theirs,
        "decision": row.decision,
        "decided_by": row.by,
    }


def seen(scene: Scene, copy: Mapping[str, Any] | None) -> str:
    """What of a record matters in its story, at one place, as a short text."""
    if copy is None:
        return "not there"
    named: Sequence[str] = [name for name in scene.end or {} if name not in ("name", "owner_id")] or ["name"]
    return ", ".join(_text(copy.get(name)) for name in named)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
