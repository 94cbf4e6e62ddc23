"""Authors who look at the record while they write: their operation applies at the version that they have seen, or not
at all, and strangers learn nothing by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from daemon.records.deciding.decision import decide
from daemon.records.state import Decided, Stored
from schemas.principals import Principal
from schemas.records.operation import Operation, Verb
from tests.support.deciding import ALICE, BOB, LEAD, NOW, author

ANY = frozenset[int]()


def lead(**more: Any) -> Stored:
    """Alice's, at its third version."""
    made = decided(None, "CREATE", ANY).stored
    assert made is not None
    return replace(made, **({"version": 3} | more))


def changed(verb: Verb) -> Any:
    """What an operation of *verb* writes."""
    return {"stage": "won"} if verb == "UPDATE" else {}


def decided(
    stored: Stored | None,
    verb: Verb,
    only_at: frozenset[int],
    *,
    principal: Principal = ALICE,
    formerly: bool = False,
    **data: Any,
) -> Decided:
    asked = Operation(
        op_id=UUID(int=1),
        operation=verb,
        model="Lead",
        record_id="l-1",
        data={"name": "Noa", **data} if verb == "CREATE" else data,
        only_at=only_at,
    )
    return decide(stored, asked, author("b", principal, formerly=formerly), LEAD, NOW, NOW)


@pytest.mark.parametrize("verb", ["UPDATE", "DELETE"])
@pytest.mark.parametrize(("only_at", "applies"), [({3}, True), ({1, 3}, True), (ANY, True), ({2}, False), ({4}, False)])
def test_it_applies_at_its_version_alone(verb: Verb, only_at: set[int], applies: bool) -> None:
    done = decided(lead(), verb, frozenset(only_at), **changed(verb))
    if applies:
        assert (done.answer.result, done.answer.version, done.conflict) == ("applied", 4, None)
        return
    assert (done.answer.reason, done.answer.retry, done.answer.version) == ("version", False, 3)
    assert done.answer.record is not None
    assert done.answer.record["version"] == 3
    assert (done.stored, done.conflict, done.effect) == (None, None, None)


@pytest.mark.parametrize("verb", ["UPDATE", "DELETE"])
@pytest.mark.parametrize("only_at", [ANY, frozenset({3}), frozenset({0})])
def test_what_is_not_there_was_deleted_or_is_a_strangers_is_told_alike(verb: Verb, only_at: frozenset[int]) -> None:
    data = changed(verb)
    told = [
        decided(None, verb, only_at, **data),
        decided(lead(deleted=True), verb, only_at, **data),
        decided(lead(deleted=True, erased=True, data={}, stamps={}), verb, only_at, **data),
        decided(lead(), verb, only_at, principal=BOB, **data),
        decided(lead(deleted=True), verb, only_at, principal=BOB, **data),
    ]
    assert told == [told[0]] * len(told)
    assert (told[0].answer.reason, told[0].conflict) == ("unknown-record", None)
    former = decided(lead(), verb, only_at, principal=BOB, formerly=True, **data)
    assert former.answer.reason == "owner"


def test_what_is_made_is_new() -> None:
    there = decided(lead(), "CREATE", ANY)
    assert (there.answer.reason, there.answer.version, there.stored) == ("version", 3, None)
    assert decided(lead(), "CREATE", ANY, principal=BOB).answer.reason == "owner"
    assert decided(lead(deleted=True, erased=True, data={}, stamps={}), "CREATE", ANY).answer.reason == "erased"


def test_what_was_deleted_begins_anew_without_what_it_had() -> None:
    grave = decided(replace(lead(), data={"name": "Noa", "city": "Haifa", "owner_id": "alice"}), "DELETE", ANY).stored
    again = decided(grave, "CREATE", ANY, stage="new")
    assert again.stored is not None
    assert (again.answer.result, again.conflict, again.stored.version, again.stored.deleted) == (
        "applied",
        None,
        5,
        False,
    )
    assert again.stored.data.get("city") is None
    assert again.stored.data["stage"] == "new"
