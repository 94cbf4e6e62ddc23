"""What stands where two have written one field: a table per strategy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest

from schemas.records.answers import Decision
from tests.support.deciding import NOW, after, created, models, operation, put

Case = Literal["older", "newer", "tie, smaller origin", "tie, larger origin"]

_AT: dict[Case, tuple[float, str]] = {
    "older": (5, "z"),
    "newer": (15, "b"),
    "tie, smaller origin": (10, "b"),
    "tie, larger origin": (10, "z"),
}
"""The other one writes at 10, through c. -> (when, through which replica)."""

OLDER, NEWER, SMALLER, LARGER = _AT

TABLE: list[tuple[str, Any, Any, Case, Any, Decision | None]] = [
    # field, stored, brought, when, what stands, whose
    ("stage", "won", "lost", OLDER, "won", "ours"),
    ("stage", "won", "lost", NEWER, "lost", "theirs"),
    ("stage", "won", "lost", SMALLER, "won", "ours"),
    ("stage", "won", "lost", LARGER, "lost", "theirs"),
    ("stage", "won", None, NEWER, None, "theirs"),
    ("stage", "won", None, OLDER, "won", "ours"),
    ("stage", "won", "won", OLDER, "won", None),
    ("stage", "won", "won", NEWER, "won", None),
    ("ours", "won", "lost", OLDER, "won", "ours"),
    ("ours", "won", "lost", NEWER, "won", "ours"),
    ("ours", "won", "won", NEWER, "won", None),
    ("theirs", "won", "lost", OLDER, "lost", "theirs"),
    ("theirs", "won", "lost", NEWER, "lost", "theirs"),
    ("theirs", "won", None, OLDER, None, "theirs"),
    ("amount", "10.00", "20.00", OLDER, "10.00", "open"),
    ("amount", "10.00", "20.00", NEWER, "10.00", "open"),
    ("amount", "10.00", "10.0", NEWER, "10.00", None),
    ("amount", "10.00", 10, NEWER, "10.00", None),
    ("most", 5, 7, OLDER, 7, "theirs"),
    ("most", 5, 7, NEWER, 7, "theirs"),
    ("most", 5, 3, NEWER, 5, "ours"),
    ("most", 5, None, NEWER, 5, "ours"),
    ("least", "2026-02-01", "2026-01-01", OLDER, "2026-01-01", "theirs"),
    ("least", "2026-02-01", "2026-03-01", NEWER, "2026-02-01", "ours"),
    ("tags", ["a"], ["b"], OLDER, ["a", "b"], None),
    ("tags", ["a"], ["b", "a"], NEWER, ["a", "b"], None),
    ("tags", ["a"], None, NEWER, ["a"], None),
    ("tags", ["b", "a"], ["a", "b"], OLDER, ["a", "b"], None),
]


@pytest.mark.parametrize(("field", "stored", "brought", "when", "stands", "decision"), TABLE)
def test_two_who_did_not_know_of_each_other(
    field: str, stored: Any, brought: Any, when: Case, stands: Any, decision: Decision | None
) -> None:
    before = after(created(), operation(2, data={field: stored}, base=1, at=10), "c")
    at, peer = _AT[when]
    decided = put(before, operation(3, data={field: brought}, base=1, at=at), peer)
    now = decided.stored or before
    assert now.data[field] == stands
    assert decided.answer.result == ("applied" if decision is None else "conflict")
    assert decided.answer.decision == decision
    if decided.conflict is None:
        assert decision is None
    else:
        assert (decided.conflict.decision, decided.conflict.fields) == (decision, (field,))
        assert (decided.conflict.ours, decided.conflict.theirs) == ({field: before.data[field]}, {field: brought})
    changed = stands != before.data[field]
    assert now.version == before.version + changed or when == NEWER, "a later look at the same value may be one"
    assert (decided.effect is not None and field in decided.effect.data) == (decided.stored is not None)
    if decided.effect is not None:
        assert decided.effect.data == {field: stands}, "the upstream hears what really became of it"


@pytest.mark.parametrize("field", ["stage", "ours", "theirs", "amount", "most", "least", "tags"])
@pytest.mark.parametrize("at", [-100_000, 5, 15])
def test_who_knew_what_stood_there_overwrites_it_whatever_the_clocks_say(field: str, at: int) -> None:
    values: dict[str, tuple[Any, Any]] = {
        "most": (5, 3),
        "least": ("2026-01-01", "2026-05-01"),
        "tags": (["a", "b"], ["b"]),
        "amount": (1, 2),
    }
    first, second = values.get(field, ("won", "lost"))
    before = after(created(), operation(2, data={field: first}, base=1, at=10), "c")
    decided = put(before, operation(3, data={field: second}, base=2, at=at), "b")
    assert (decided.answer.result, decided.conflict) == ("applied", None)
    assert decided.stored is not None
    assert decided.stored.data[field] == second
    assert decided.stored.version == 3
    assert decided.stored.stamps[field].order > before.stamps[field].order
    assert decided.answer.record is None, "its author knows what stands there"


@pytest.mark.parametrize("field", ["stage", "ours", "theirs", "amount"])
def test_what_a_replica_wrote_itself_is_no_conflict(field: str) -> None:
    first = after(created("c"), operation(2, data={field: "1"}, base=1, at=10), "b")
    decided = put(first, operation(3, data={field: "2"}, base=1, at=5), "b")
    assert (decided.answer.result, decided.conflict) == ("applied", None)
    assert decided.stored is not None
    assert decided.stored.data[field] == "2", "the order of a replica is the order of its operations, not of its clock"


def test_different_fields_do_not_meet_and_are_counted() -> None:
    before = after(created(), operation(2, data={"stage": "won"}, base=1, at=10), "c")
    decided = put(before, operation(3, data={"city": "Haifa"}, base=1, at=5), "b")
    assert (decided.answer.result, decided.conflict, decided.parallel) == ("applied", None, 1)
    assert decided.stored is not None
    assert (decided.stored.data["stage"], decided.stored.data["city"]) == ("won", "Haifa")
    assert decided.answer.record is not None
    assert decided.answer.record["data"]["stage"] == "won", "its author does not know that yet"


def test_of_one_operation_each_field_goes_by_its_own_strategy() -> None:
    there = {"stage": "won", "ours": "won", "theirs": "won", "amount": 1, "most": 5, "tags": ["a"]}
    brought = {
        "stage": "lost",
        "ours": "lost",
        "theirs": "lost",
        "amount": 2,
        "most": 7,
        "tags": ["b"],
        "city": "Haifa",
    }
    before = after(created(), operation(2, data=there, base=1, at=10), "c")
    decided = put(before, operation(3, data=brought, base=1, at=5), "b")
    assert decided.stored is not None
    assert decided.conflict is not None
    assert {name: decided.stored.data[name] for name in brought} == {
        "stage": "won",
        "ours": "won",
        "theirs": "lost",
        "amount": 1,
        "most": 7,
        "tags": ["a", "b"],
        "city": "Haifa",
    }
    assert decided.conflict.decision == "open", "something waits for a person"
    assert decided.conflict.fields == ("stage", "ours", "theirs", "amount", "most")
    assert decided.effect is not None
    assert decided.effect.data == {"theirs": "lost", "most": 7, "tags": ["a", "b"], "city": "Haifa"}


@pytest.mark.parametrize("strategy", ["newest", "merge", "server", "client", "manual"])
def test_a_model_without_a_strategy_goes_by_the_setting(strategy: Any) -> None:
    rules = models(strategy=strategy)
    before = after(created(rules=rules), operation(2, data={"stage": "won"}, base=1, at=10), "c", rules=rules)
    decided = put(before, operation(3, data={"stage": "lost"}, base=1, at=15), "b", rules=rules)
    expected = {"newest": "theirs", "merge": "theirs", "server": "ours", "client": "theirs", "manual": "open"}
    assert decided.answer.decision == expected[strategy]
    assert decided.conflict is not None
    assert decided.conflict.strategy == ("newest" if strategy == "merge" else strategy)


@pytest.mark.parametrize("other", ["stage", "city"])
@pytest.mark.parametrize("strategy", ["newest", "server", "client", "manual"])
def test_of_two_queued_edits_with_a_foreign_one_between_both_conflict(strategy: Any, other: str) -> None:
    rules = models(strategy=strategy)
    record = after(created(rules=rules), operation(2, data={"stage": "F", "city": "F"}, base=1, at=5), "c", rules=rules)
    first = put(record, operation(3, data={"stage": "1"}, base=1, at=10), "b", rules=rules)
    second = put(first.stored or record, operation(4, data={other: "2"}, base=1, at=11), "b", rules=rules)
    assert (first.answer.result, second.answer.result) == ("conflict", "conflict")
    assert first.conflict is not None
    assert second.conflict is not None
    assert first.conflict.ours == {"stage": "F"}
    assert second.conflict.theirs == {other: "2"}
    if strategy in ("newest", "client"):
        assert (first.answer.decision, second.answer.decision) == ("theirs", "theirs")
    if strategy == "newest" and other == "stage":
        late = put(first.stored, operation(5, data={"stage": "3"}, base=1, at=9), "b", rules=rules)
        assert late.answer.decision == "theirs", "its own earlier value has won already"


def test_a_union_loses_no_member_to_queued_edits() -> None:
    record = after(created(tags=["a"]), operation(2, data={"tags": ["a", "foreign"]}, base=1, at=5), "c")
    for number, tags in ((3, ["a", "b"]), (4, ["a", "b", "d"]), (5, ["a", "b", "d", "e"])):
        record = after(record, operation(number, data={"tags": tags}, base=1, at=number * 10), "b")
    assert record.data["tags"] == ["a", "b", "d", "e", "foreign"]
    seen = after(record, operation(6, data={"tags": ["a"]}, base=record.version, at=100), "b")
    assert seen.data["tags"] == ["a"], "who knows all members may take them out"


@pytest.mark.parametrize(("field", "foreign", "queued"), [("most", 9, [3, 4]), ("least", "2026-01-01", ["2026-02-02"])])
def test_the_largest_and_the_smallest_survive_queued_edits(field: str, foreign: Any, queued: list[Any]) -> None:
    record = after(created(), operation(2, data={field: foreign}, base=1, at=5), "c")
    for number, value in enumerate(queued, 3):
        record = after(record, operation(number, data={field: value}, base=1, at=number * 10), "b")
    assert record.data[field] == foreign


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [(["a", "b", "new"], ["b"], True), (["b"], ["a", "b", "new"], True), (["a", "b", "x"], ["a", "b", "y"], False)],
)
def test_a_union_that_brings_back_what_was_taken_out_says_so(ours: Any, theirs: Any, told: bool) -> None:
    record = after(created(tags=["a", "b"]), operation(2, data={"tags": ours}, base=1, at=5), "c")
    decided = put(record, operation(3, data={"tags": theirs}, base=1, at=10, seen={"tags": ["a", "b"]}), "b")
    stands = decided.stored or record
    assert stands.data["tags"] == sorted({*ours, *theirs})
    assert decided.answer.decision == ("merged" if told else None)
    if told:
        assert decided.conflict is not None
        assert (decided.conflict.base, decided.conflict.ours) == ({"tags": ["a", "b"]}, {"tags": record.data["tags"]})


def test_a_later_look_at_the_same_value_makes_it_newer() -> None:
    """Else who arrives last would decide: the same value at 15 would count as one of 5."""
    one = operation(2, data={"stage": "won"}, base=1, at=5)
    again = operation(3, data={"stage": "won"}, base=1, at=15)
    other = operation(4, data={"stage": "lost"}, base=1, at=10)
    for order in ([(one, "b"), (again, "c"), (other, "d")], [(one, "b"), (other, "d"), (again, "c")]):
        record = created()
        for op, by in order:
            record = after(record, op, by)
        assert record.data["stage"] == "won"
        assert record.stamps["stage"].ms == int(NOW.timestamp() * 1000) + 15_000


@pytest.mark.parametrize(
    ("field", "value", "stands"),
    [
        ("amount", "10.00", "text"),
        ("most", 5, 5),
        ("least", "2026-01-01", "2026-01-01"),
        ("tags", ["a"], ["a"]),
        ("stage", "won", "won"),
    ],
)
def test_a_stored_value_from_before_its_field_got_its_type(field: str, value: Any, stands: Any) -> None:
    """`models.toml` has changed: nothing breaks, and what comes in new is of the new type."""
    record = after(created(), operation(2, data={"city": "Haifa", field: value}, base=1, at=5), "c")
    former = replace(record, data={**record.data, field: 7 if field == "least" else "text"})
    met = put(former, operation(3, data={field: value}, base=1, at=10), "b")
    assert (met.stored or former).data[field] == stands
    known = put(former, operation(4, data={field: value}, base=2, at=10), "b")
    assert known.stored is not None
    assert known.stored.data[field] == value
