"""What deciding owes everybody, over any operations that replicas send in any order."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise, permutations
from typing import Any, Final, NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st

from daemon.records.models.rules import Models
from daemon.records.state import Conflict, Decided, Stored
from schemas.records.operation import Operation, Verb
from schemas.records.stamps import LIFE
from tests.support.deciding import LEAD, after, created, models, operation, put

PEERS: Final = ("a", "b", "c")
DELETED: Final = object()

_VALUES: Final[dict[str, st.SearchStrategy[Any]]] = {
    "stage": st.sampled_from(["1", "2", "3", None]),
    "city": st.sampled_from(["1", "2", "3"]),
    "theirs": st.sampled_from(["1", "2", "3"]),
    "ours": st.sampled_from(["1", "2", "3"]),
    "amount": st.sampled_from([1, "1.0", 2, "3"]),
    "most": st.integers(1, 4) | st.none(),
    "least": st.sampled_from(["2026-01-01", "2026-01-02", "2026-01-03"]),
    "tags": st.lists(st.sampled_from("abcde"), max_size=3),
}


class Step(NamedTuple):
    """A replica pulls before it writes, or goes by what it saw last."""

    peer: str
    pulls: bool
    verb: Verb
    data: dict[str, Any]
    at: int


_STEPS: Final = st.lists(
    st.builds(
        Step,
        peer=st.sampled_from(PEERS),
        pulls=st.booleans(),
        verb=st.sampled_from(["CREATE", "UPDATE", "UPDATE", "UPDATE", "UPDATE", "DELETE"]),
        data=st.fixed_dictionaries({}, optional=_VALUES),
        at=st.integers(0, 5),
    ),
    max_size=12,
)
_RULES: Final = st.builds(
    models,
    delete=st.sampled_from(["update-wins", "delete-wins", "manual"]),
    strategy=st.sampled_from(["newest", "server", "client", "merge", "manual"]),
)


class Write(NamedTuple):
    """A value that was taken. *version*: of the record with it."""

    field: str
    value: Any
    version: int
    peer: str


@dataclass
class Server:
    """One record of a server, the version that each replica has seen, and the values that must not be lost."""

    rules: Models
    record: Stored | None = None
    seen: dict[str, int] = field(default_factory=dict)
    kept: list[Write] = field(default_factory=list)

    def take(self, number: int, step: Step) -> tuple[Stored | None, Operation, Decided]:
        """(the record before, the operation, what became of it)."""
        if step.pulls and self.record is not None:
            self.seen[step.peer] = self.record.version
        data = {"name": "Ann", **step.data} if step.verb == "CREATE" else step.data
        op = operation(number, step.verb, data, base=self.seen.get(step.peer, 0), at=step.at, tick=number)
        before = self.record
        decided = put(before, op, step.peer, rules=self.rules)
        self.record = decided.stored or before
        return before, op, decided


def visible(record: Stored | None, name: str) -> Any:
    """What a reader sees in the field *name*; LIFE: that there is a record."""
    if record is None or record.deleted:
        return DELETED
    return None if name == LIFE else record.data.get(name)


_OWN_VALUE_COMES_BACK: Final = [
    Step("a", False, "CREATE", {"stage": "1"}, 0),
    Step("b", True, "UPDATE", {"stage": None, "city": "1"}, 1),
    Step("b", False, "DELETE", {}, 0),
    Step("a", True, "CREATE", {}, 0),
    Step("a", False, "DELETE", {}, 0),
    Step("b", False, "CREATE", {"stage": "1"}, 0),
]
"""The last step brings back a record whose stage b itself has written, by a faster clock."""


@settings(max_examples=300)
@given(_RULES, _STEPS)
@example(models(delete="update-wins", strategy="newest"), _OWN_VALUE_COMES_BACK)
def test_deciding_is_pure_and_again_changes_nothing(rules: Models, steps: list[Step]) -> None:
    server = Server(rules)
    for number, step in enumerate(steps, 1):
        before, op, decided = server.take(number, step)
        frozen = deepcopy((before, op))
        assert put(before, op, step.peer, rules=rules) == decided
        assert (before, op) == frozen, "it has changed what it was given"
        again = put(server.record, op, step.peer, rules=rules)
        assert (again.stored, again.effect) == (None, None), "twice is once"


@settings(max_examples=300)
@given(_RULES, _STEPS)
def test_versions_grow_by_one_with_each_change(rules: Models, steps: list[Step]) -> None:
    server = Server(rules)
    for number, step in enumerate(steps, 1):
        before, _, decided = server.take(number, step)
        old = 0 if before is None else before.version
        if decided.stored is not None:
            assert decided.stored.version == old + 1
            changed = {stamp for stamp in decided.stored.stamps.values() if stamp.version == old + 1}
            assert changed, "no stamp tells what has changed"
        if decided.answer.result != "rejected":
            assert decided.answer.version == (old if decided.stored is None else old + 1)
        assert decided.answer.result in ("applied", "conflict", "rejected")


@settings(max_examples=500)
@given(_RULES, _STEPS)
def test_no_value_is_lost_silently(rules: Models, steps: list[Step]) -> None:
    """After every step, a value that was taken is there; or was overwritten by who knew it; or stands in a conflict."""
    server = Server(rules)
    for number, step in enumerate(steps, 1):
        before, op, decided = server.take(number, step)
        if decided.answer.result == "rejected":
            assert decided.stored is None
            continue
        lost = [one for one in server.kept if not _there(server.record, one)]
        for one in lost:
            assert _known(one, op, step.peer, server.kept) or _told(one, decided.conflict, op), (one, op, decided)
        server.kept = [one for one in server.kept if one not in lost]
        for write in _writes(op, step.peer, server.record, before):
            if _there(server.record, write):
                server.kept.append(write)
            else:
                assert _told(write, decided.conflict, op), (write, op, decided)


def _writes(op: Operation, peer: str, record: Stored | None, before: Stored | None) -> list[Write]:
    """What *op* has to say. A null says nothing in a CREATE, and where there was no value. Who brings a record back
    says all that is in it."""
    version = 0 if record is None else record.version
    if op.operation == "DELETE":
        return [Write(LIFE, DELETED, version, peer)] if before is not None else []
    if record is not None and record.deleted and op.operation == "UPDATE" and not op.data:
        return []
    said = {
        name: value
        for name, value in op.data.items()
        if value is not None or (op.operation == "UPDATE" and visible(before, name) is not None)
    }
    back = dict(record.data) if record and before and before.deleted and not record.deleted else {}
    return [Write(name, value, version, peer) for name, value in (*back.items(), *said.items())]


def _there(record: Stored | None, one: Write) -> bool:
    now = visible(record, one.field)
    if one.field == "tags" and now is not DELETED and now is not None:
        return set(one.value or ()) <= set(now)
    if one.field == "amount" and now is not DELETED:
        return float(now or 0) == float(one.value or 0)
    return bool(now == one.value)


def _known(one: Write, op: Operation, peer: str, kept: list[Write]) -> bool:
    """Whether the author of *op* knew the value, by whoever wrote it."""
    return any(
        other.field == one.field
        and (other.value == one.value or one.field == "tags" or {one.field, other.field} == {"amount"})
        and (peer == other.peer or (op.base_version or 0) >= other.version)
        for other in kept
    )


def _told(one: Write, conflict: Conflict | None, op: Operation) -> bool:
    """Whether the value stands in the conflict."""
    if conflict is None:
        return False
    if one.value is DELETED:
        return (conflict.ours if op.operation != "DELETE" else conflict.theirs) is None or not conflict.fields
    return any(
        side is not None and one.field in side and (side[one.field] == one.value or one.field in ("tags", "amount"))
        for side in (conflict.ours, conflict.theirs)
    )


_CONCURRENT: Final = st.fixed_dictionaries(
    {},
    optional={name: _VALUES[name] for name in ("stage", "city", "most", "least", "tags")},
)


@settings(max_examples=300)
@given(st.lists(st.tuples(_CONCURRENT, st.integers(0, 3)), min_size=2, max_size=4))
def test_all_orders_of_arrival_give_one_state(writes: list[tuple[dict[str, Any], int]]) -> None:
    """Each by a replica of its own, which knows the record as it was created, and writes what is new."""
    first = created("first", tags=["a"], most=2, least="2026-01-02")
    news = [
        (
            {
                k: v
                for k, v in data.items()
                if not LEAD.fields[k].same(first.data.get(k), sorted({*v}) if k == "tags" else v)
            },
            at,
        )
        for data, at in writes
    ]
    ops = [(operation(number, data=data, base=1, at=at), f"p{number}") for number, (data, at) in enumerate(news, 2)]
    ends = set()
    for order in permutations(ops):
        record = first
        for op, by in order:
            record = after(record, op, by)
        ends.add(repr([(name, record.data.get(name)) for name in sorted(record.data)]))
    assert len(ends) == 1, ends


@settings(max_examples=300)
@given(st.data())
def test_queues_that_are_pushed_in_any_order_come_to_the_newest(data: st.DataObject) -> None:
    """Two replicas, each with a queue of its own, in the order of its own clock. Nobody writes what they know to be
    there: that says nothing."""
    values = st.lists(st.sampled_from(["1", "2", "3"]), min_size=1, max_size=3).filter(
        lambda queue: all(one != other for one, other in pairwise(queue))
    )
    queues = {peer: data.draw(values, label=peer) for peer in PEERS[:2]}
    order = data.draw(st.permutations(["a"] * len(queues["a"]) + ["b"] * len(queues["b"])), label="order")
    times = {peer: data.draw(st.integers(0, 3), label=f"{peer} begins") for peer in queues}
    ops = {
        peer: [
            operation(n * 10 + ord(peer), data={"stage": v}, base=1, at=times[peer] + n) for n, v in enumerate(queue)
        ]
        for peer, queue in queues.items()
    }
    last = max(
        (op.changed_at, peer, op.data["stage"])
        for peer, queue in ops.items()
        for op in queue
        if op.changed_at is not None
    )
    record = created("first", stage="new")
    for peer in order:
        record = after(record, ops[peer].pop(0), peer)
    assert record.data["stage"] == last[2]
