"""Whose a record is, who may write it, and what others learn of it."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.records.deciding.decision import decide
from daemon.records.state import Author
from schemas.principals import Principal
from schemas.records.operation import Verb
from tests.support.deciding import ADMIN, ALICE, BOB, LEAD, MODELS, NOW, author, created, operation, put

ALICES = author("a", ALICE)
BOBS = author("b", BOB)
ROOT = author("r", ADMIN)
OFFICE = Principal(kind="edge", name="office", role="operate", owners=frozenset({"alice", "bob"}))
BRANCH = Principal(kind="edge", name="north", role="operate", branch="north")


def edge(principal: Principal, user: str) -> Author:
    return Author(principal=principal, user=user, peer="e", origin="phone")


@pytest.mark.parametrize(("verb", "base"), [("UPDATE", 0), ("UPDATE", 1), ("DELETE", 0), ("DELETE", 1)])
def test_a_stranger_cannot_tell_a_record_from_none(verb: Verb, base: int) -> None:
    op = operation(2, verb, {"stage": "won"}, base=base)
    assert put(created(ALICES), op, BOBS) == put(None, op, BOBS)


def test_a_stranger_does_not_take_an_id_that_is_taken() -> None:
    answer = put(created(ALICES), operation(2, "CREATE", {"name": "Ben"}), BOBS).answer
    assert (answer.result, answer.reason, answer.record, answer.version) == ("rejected", "owner", None, None)


@pytest.mark.parametrize("verb", ["CREATE", "UPDATE", "DELETE"])
def test_a_former_owner_is_told_that_it_is_anothers(verb: Verb) -> None:
    former = author("b", BOB, formerly=True)
    answer = put(created(ALICES), operation(2, verb, {"name": "Ben"}, base=1), former).answer
    assert (answer.reason, answer.retry, answer.record) == ("owner", False, None)


@pytest.mark.parametrize("verb", ["CREATE", "UPDATE", "DELETE"])
def test_a_token_that_reads_does_not_write(verb: Verb) -> None:
    reader = author("a", Principal(kind="user", name="alice", role="read"))
    for stored in (None, created(ALICES)):
        assert put(stored, operation(2, verb, {"name": "Ann"}, base=1), reader).answer.reason == "read-only"


def test_who_creates_a_record_owns_it() -> None:
    record = created(ALICES)
    assert (record.owner_id, record.branch, record.data["owner_id"]) == ("alice", None, "alice")
    assert "owner_id" in record.stamps
    placed = created(author("a", Principal(kind="user", name="alice", role="operate", branch="north")))
    assert (placed.branch, placed.data["branch_id"]) == ("north", "north")
    null = put(None, operation(2, "CREATE", {"name": "Ann", "owner_id": None}), ALICES).stored
    assert null is not None
    assert null.owner_id == "alice"


def test_its_author_is_told_what_a_new_record_has_got() -> None:
    answer = put(None, operation(2, "CREATE", {"name": "Ann"}), ALICES).answer
    assert answer.record is not None
    assert answer.record["data"] == {"name": "Ann", "owner_id": "alice"}
    assert put(None, operation(2, "CREATE", {"name": "Ann", "owner_id": "alice"}), ALICES).answer.record is None


@pytest.mark.parametrize(
    ("who", "model", "owner", "may"),
    [
        (ALICES, "Lead", "alice", True),
        (ALICES, "Lead", "bob", False),
        (ALICES, "Lead", None, False),
        (ALICES, "Gift", "bob", True),
        (ROOT, "Lead", "bob", True),
        (ROOT, "Lead", None, True),
        (author("i", Principal(kind="installation", name="admin", role="admin")), "Lead", "bob", True),
        (edge(OFFICE, "alice"), "Lead", "bob", True),
        (edge(OFFICE, "alice"), "Lead", "carol", False),
        (edge(OFFICE, "alice"), "Gift", "carol", False),
    ],
)
def test_who_may_make_a_record_anothers(who: Author, model: str, owner: str | None, may: bool) -> None:
    record = created(ALICES, model=model)
    decided = put(record, operation(2, data={"owner_id": owner}, base=1, model=model), who)
    if may:
        assert decided.answer.result == "applied"
        assert (decided.stored or record).owner_id == owner
    else:
        assert (decided.answer.reason, decided.stored) == ("owner", None)
    if owner is not None:
        fresh = put(None, operation(3, "CREATE", {"name": "Ann", "owner_id": owner}, model=model), who)
        assert fresh.answer.result == ("applied" if may else "rejected")


def test_who_gives_a_record_away_is_shown_nothing_of_it_any_more() -> None:
    record = created(ALICES, model="Gift")
    op = operation(2, data={"owner_id": "bob", "name": "x", "id": "lead_1"}, base=1, model="Gift")
    decided = put(record, op, ALICES)
    assert (decided.answer.result, decided.answer.record) == ("applied", None)
    assert decided.effect is not None
    assert decided.effect.data == {"owner_id": "bob", "name": "x"}


def test_an_edge_writes_what_it_carries() -> None:
    assert put(None, operation(2, "CREATE", {"name": "Ann"}), edge(OFFICE, "bob")).answer.result == "applied"
    assert put(None, operation(2, "CREATE", {"name": "Ann"}), edge(OFFICE, "carol")).answer.reason == "owner"
    carols = created(author("c", Principal(kind="user", name="carol", role="operate")))
    assert put(carols, operation(2, data={"stage": "won"}, base=1), edge(OFFICE, "alice")).answer.decision == "gone"


def test_an_edge_of_a_branch_writes_the_branchs() -> None:
    made = put(None, operation(2, "CREATE", {"name": "Ann"}), edge(BRANCH, "dan")).stored
    assert made is not None
    assert (made.owner_id, made.branch) == ("dan", "north")
    assert put(made, operation(3, data={"owner_id": "eve"}, base=1), edge(BRANCH, "dan")).answer.result == "applied"
    assert put(made, operation(4, data={"branch_id": "south"}, base=1), edge(BRANCH, "dan")).answer.reason == "owner"
    assert (
        put(None, operation(5, "CREATE", {"name": "A", "branch_id": "south"}), edge(BRANCH, "d")).answer.reason
        == "owner"
    )


def test_an_owner_says_which_branch_works_on_a_record() -> None:
    moved = put(created(ALICES), operation(2, data={"branch_id": "north"}, base=1), ALICES).stored
    assert moved is not None
    assert (moved.branch, moved.owner_id) == ("north", "alice")


def test_the_owner_merges_as_any_field() -> None:
    given = put(created(ALICES, model="Gift"), operation(2, data={"owner_id": "bob"}, base=1, at=5, model="Gift"), ROOT)
    late = put(given.stored, operation(3, data={"owner_id": "carol"}, base=1, at=3, model="Gift"), author("q", ADMIN))
    assert (late.answer.decision, late.stored) == ("ours", None)
    assert late.conflict is not None
    assert late.conflict.fields == ("owner_id",)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"fax2": "1"}, "field"),
        ({"version": 3}, "field"),
        ({"stamps": {}}, "field"),
        ({"id": "lead_2"}, "field"),
        ({"stage": 7}, "type"),
        ({"name": None}, "required"),
        ({"name": " "}, "required"),
        ({"owner_id": ""}, "type"),
        ({"stage": "a\x00b"}, "type"),
    ],
)
def test_data_that_no_model_takes(data: dict[str, Any], reason: str) -> None:
    for stored, verb in ((created(ALICES), "UPDATE"), (None, "CREATE")):
        op = operation(2, verb, {"name": "Ann", **data}, base=1 if stored else 0)  # type: ignore[arg-type]
        answer = put(stored, op, ALICES).answer
        assert (answer.result, answer.reason, answer.retry) == ("rejected", reason, False)


def test_a_retired_field_and_the_id_are_dropped() -> None:
    decided = put(created(ALICES), operation(2, data={"fax": "1", "id": "lead_1", "stage": "won"}, base=1), ALICES)
    assert decided.stored is not None
    assert not {"fax", "id"} & decided.stored.data.keys()
    assert MODELS["Lead"].retired == {"fax"}
    assert put(None, operation(3, "CREATE", {"fax": "1"}), ALICES).answer.reason == "required"


def test_a_clock_too_far_ahead_is_to_be_stamped_anew() -> None:
    answer = decide(None, operation(2, "CREATE", {"name": "Ann"}), ALICES, LEAD, NOW, None).answer
    assert (answer.reason, answer.retry) == ("clock-ahead", True)
