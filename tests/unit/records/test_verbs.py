"""Every verb on every state of a record, by who has seen what, under every rule for deletions."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

import pytest

from daemon.records.state import Stored
from schemas.records.operation import Verb
from tests.support.deciding import after, created, models, operation, put

State = Literal["none", "live", "deleted", "erased"]
Seen = Literal["seen", "own", "foreign"]
"""The last change of the record: its author has seen it; has made it through the same replica; knows nothing of it."""

RULES: Final = ("update-wins", "delete-wins", "manual")
ALL: Final = [
    (verb, state, seen, rule)
    for verb in ("CREATE", "UPDATE", "DELETE")
    for state in ("none", "live", "deleted", "erased")
    for seen in ("seen", "own", "foreign")
    for rule in RULES
]


def _state(state: State, seen: Seen, rule: str) -> Stored | None:
    """A record of two changes: stage was "new", then "won" or deleted or erased. Version 2."""
    if state == "none":
        return None
    rules = models(rule)
    first = created(rules=rules, stage="new")
    last = operation(2, "DELETE" if state == "deleted" else "UPDATE", {"stage": "won"}, base=1, at=5)
    record = after(first, last, "b" if seen == "own" else "c", rules=rules)
    return replace(record, deleted=True, erased=True, data={}, stamps={}) if state == "erased" else record


def _expected(verb: Verb, state: State, seen: Seen, rule: str) -> tuple[str, str | None, int, str]:
    """(result, decision or reason, version, what there is then: nothing, deleted, or the stage)."""
    unseen = seen == "foreign"
    match verb, state:
        case "CREATE", "none":
            return "applied", None, 1, "lost"
        case "UPDATE", "none":
            return (
                ("conflict", "gone", 0, "nothing") if seen == "seen" else ("rejected", "unknown-record", 0, "nothing")
            )
        case "DELETE", "none":
            return "applied", None, 0, "nothing"
        case "DELETE", "erased":
            return "applied", None, 2, "erased"
        case _, "erased":
            return "rejected", "erased", 2, "erased"
        case "DELETE", "deleted":
            return "applied", None, 2, "deleted"
        case "DELETE", "live":
            if not unseen or rule == "delete-wins":
                return "conflict" if unseen else "applied", "theirs" if unseen else None, 3, "deleted"
            return "conflict", "ours" if rule == "update-wins" else "open", 2, "won"
        case _, "live":
            return ("conflict", "theirs", 3, "lost") if unseen else ("applied", None, 3, "lost")
        case _, "deleted":
            if not unseen or rule == "update-wins":
                return "conflict" if unseen else "applied", "theirs" if unseen else None, 3, "lost"
            return "conflict", "ours" if rule == "delete-wins" else "open", 2, "deleted"
    raise AssertionError(verb, state)


def _shown(record: Stored) -> str:
    return "erased" if record.erased else "deleted" if record.deleted else str(record.data["stage"])


@pytest.mark.parametrize(("verb", "state", "seen", "rule"), ALL)
def test_every_verb_on_every_state(verb: Verb, state: State, seen: Seen, rule: str) -> None:
    before = _state(state, seen, rule)
    base = 2 if seen == "seen" else 0 if state == "none" else 1
    op = operation(3, verb, {"name": "Ann", "stage": "lost"}, base=base, at=10)
    decided = put(before, op, "b", rules=models(rule))
    now = decided.stored or before
    there = "nothing" if now is None else _shown(now)
    said = decided.answer.reason if decided.answer.result == "rejected" else decided.answer.decision
    version = now.version if now is not None else 0
    assert (decided.answer.result, said, version, there) == _expected(verb, state, seen, rule)
    assert (decided.conflict is not None) == (decided.answer.result == "conflict")
    if decided.answer.result != "rejected":
        assert decided.answer.version == version
    assert (decided.effect is None) == (decided.stored is None), (
        "the upstream hears of every change, and of nothing else"
    )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("verb", ["UPDATE", "DELETE"])
def test_a_lost_deletion_and_a_lost_change_are_kept(verb: Verb, rule: str) -> None:
    """Whichever comes first: the values of the one that loses are in the conflict."""
    before = _state("live" if verb == "DELETE" else "deleted", "foreign", rule)
    decided = put(before, operation(3, verb, {"stage": "lost"}, base=1), "b", rules=models(rule))
    assert decided.conflict is not None
    kept = ({"stage": "won"}, None) if verb == "DELETE" else (None, {"stage": "lost"})
    assert (decided.conflict.ours, decided.conflict.theirs) == kept
    assert decided.conflict.strategy == rule


@pytest.mark.parametrize("rule", RULES)
def test_a_deletion_and_a_change_come_to_the_same_in_both_orders(rule: str) -> None:
    rules = models(rule)
    delete = (operation(2, "DELETE", base=1, at=5), "b")
    change = (operation(3, data={"stage": "won"}, base=1, at=3), "c")
    ends = []
    for order in ([delete, change], [change, delete]):
        record = created(rules=rules, stage="new")
        for op, by in order:
            record = after(record, op, by, rules=rules)
        ends.append(record.deleted)
    expected = {"update-wins": [False, False], "delete-wins": [True, True], "manual": [True, False]}
    assert ends == expected[rule], "with manual, the first stays until a person decides"


def test_what_comes_back_has_what_it_had() -> None:
    record = after(created(stage="new", city="Haifa"), operation(2, "DELETE", base=1), "c")
    decided = put(record, operation(3, data={"stage": "won"}, base=1), "b")
    assert decided.stored is not None
    assert (decided.stored.deleted, decided.stored.data["city"], decided.stored.data["stage"]) == (
        False,
        "Haifa",
        "won",
    )
    assert decided.effect is not None
    assert (decided.effect.operation, decided.effect.data) == ("UPDATE", {"stage": "won"})


def test_a_value_that_came_back_with_its_record_is_not_one_of_who_brought_it_back() -> None:
    record = after(created(), operation(2, data={"stage": "won"}, base=0, at=60))
    record = after(record, operation(3, "DELETE", base=0, at=70))
    back = after(record, operation(4, data={"name": "Anna"}, base=0, at=10), "b")
    assert (back.deleted, back.data["stage"]) == (False, "won")
    decided = put(back, operation(5, data={"stage": "lost"}, base=0, at=20), "b")
    assert (decided.answer.decision, decided.stored) == ("ours", None), "the later value stands, by its clock"


def test_who_makes_a_record_anew_and_deletes_it_again_while_offline_meets_nothing() -> None:
    record = after(created(stage="new"), operation(2, "DELETE", base=1), "b")
    record = after(record, operation(3, "CREATE", {"name": "Ben"}, base=2), "b")
    decided = put(record, operation(4, "DELETE", base=2), "b")
    assert decided.answer.result == "applied"
    assert decided.stored is not None
    assert decided.stored.deleted


def test_a_record_made_anew_by_who_knows_that_it_was_deleted_begins_empty() -> None:
    record = after(created(stage="new", city="Haifa"), operation(2, "DELETE", base=1), "b")
    decided = put(record, operation(3, "CREATE", {"name": "Ben"}, base=2), "b")
    assert decided.stored is not None
    assert {name: value for name, value in decided.stored.data.items() if value is not None} == {
        "name": "Ben",
        "owner_id": "alice",
    }
    assert decided.effect is not None
    assert (decided.effect.operation, decided.effect.data) == ("CREATE", {"name": "Ben", "owner_id": "alice"})


def test_a_deletion_after_a_return_that_its_author_has_not_seen_meets_it() -> None:
    """Also where the return has changed no value."""
    record = after(created(stage="new"), operation(2, "DELETE", base=1), "c")
    back = after(record, operation(3, data={"stage": "new"}, base=2), "c")
    assert not back.deleted
    decided = put(back, operation(4, "DELETE", base=2), "b")
    assert (decided.answer.result, decided.answer.decision) == ("conflict", "ours")


def test_a_known_id_created_again_is_an_update() -> None:
    record = created("c", stage="new", city="Haifa")
    decided = put(record, operation(2, "CREATE", {"name": "Ben", "stage": "new"}, at=10), "b")
    assert decided.stored is not None
    assert (decided.answer.result, decided.answer.decision, decided.parallel) == ("conflict", "theirs", 2)
    assert (decided.stored.data["name"], decided.stored.data["city"]) == ("Ben", "Haifa")
    assert decided.effect is not None
    assert decided.effect.operation == "UPDATE", "as a CREATE, the upstream would take it for a record of its own"


def test_equal_values_change_nothing() -> None:
    record = created(stage="new", tags=["b", "a"], amount="10.0")
    op = operation(2, data={"stage": "new", "tags": ["a", "b", "a"], "amount": 10, "city": None}, base=1)
    decided = put(record, op, "a")
    assert (decided.answer.result, decided.answer.version, decided.stored, decided.effect) == ("applied", 1, None, None)


@pytest.mark.parametrize("verb", ["CREATE", "UPDATE", "DELETE"])
def test_a_base_that_this_server_has_never_had(verb: Verb) -> None:
    decided = put(created(), operation(2, verb, {"name": "Ann"}, base=2), "a")
    assert (decided.answer.reason, decided.answer.retry) == ("base-ahead", False)


@pytest.mark.parametrize("verb", ["UPDATE", "DELETE"])
def test_without_a_base_only_a_new_record_comes_in(verb: Verb) -> None:
    assert put(created(), operation(2, verb, base=None), "a").answer.reason == "base-missing"
    made = put(None, operation(2, "CREATE", {"name": "Ann"}, base=None), "a")
    assert (made.answer.result, made.answer.version) == ("applied", 1)


def test_after_a_compaction_an_update_does_not_bring_a_record_back() -> None:
    decided = put(None, operation(2, data={"stage": "won"}, base=7, seen={"stage": "new", "city": "Haifa"}), "a")
    assert (decided.answer.result, decided.answer.decision, decided.answer.version) == ("conflict", "gone", 0)
    assert decided.conflict is not None
    assert (decided.conflict.theirs, decided.conflict.base) == ({"stage": "won"}, {"stage": "new"})
    again = put(None, operation(3, "CREATE", {"name": "Ann"}, base=7), "a")
    assert again.answer.result == "applied"
