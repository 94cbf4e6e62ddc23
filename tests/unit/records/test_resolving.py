"""What a person decides is an operation as any other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from daemon.records.deciding.resolving import Take, resolve
from daemon.records.state import Conflict, Stored
from schemas.records.operation import Operation
from tests.support.deciding import ADMIN, NOW, after, author, created, models, operation, put

KEY = ("Lead", "lead_1")


def _resolved(
    record: Stored | None, conflict: Conflict | None, take: Take, values: dict[str, Any] | None = None
) -> Operation | None:
    assert conflict is not None
    return resolve(record, KEY, conflict, take, values=values, op_id=UUID(int=9), now=NOW)


def _met(field: str) -> tuple[Stored, Conflict]:
    record = after(created(), operation(2, data={field: "1"}, base=1, at=5), "c")
    decided = put(record, operation(3, data={field: "2", "city": "Haifa"}, base=1, at=10), "b")
    assert decided.stored is not None
    assert decided.conflict is not None
    return decided.stored, decided.conflict


@pytest.mark.parametrize(
    ("take", "values", "stands"), [("theirs", None, "2"), ("merge", {"amount": "1.5", "stage": "won"}, "1.5")]
)
def test_an_open_conflict(take: Take, values: dict[str, Any] | None, stands: str) -> None:
    record, conflict = _met("amount")
    assert (conflict.decision, record.data["amount"], record.data["city"]) == ("open", "1", "Haifa")
    op = _resolved(record, conflict, take, values)
    assert op is not None
    decided = put(record, op, author("person", ADMIN))
    assert decided.stored is not None
    assert (decided.answer.result, decided.stored.data["amount"]) == ("applied", stands)
    assert decided.stored.data["city"] == "Haifa"


def test_ours_stands_already() -> None:
    record, conflict = _met("amount")
    assert _resolved(record, conflict, "ours") is None


def test_ours_takes_back_what_a_rule_has_let_in_beside_what_waits() -> None:
    record = after(created(), operation(2, data={"amount": "1", "theirs": "b"}, base=1, at=5), "c")
    decided = put(record, operation(3, data={"amount": "2", "theirs": "c"}, base=1, at=10), "b")
    assert decided.stored is not None
    assert decided.conflict is not None
    assert (decided.conflict.decision, decided.stored.data["amount"], decided.stored.data["theirs"]) == (
        "open",
        "1",
        "c",
    )
    op = _resolved(decided.stored, decided.conflict, "ours")
    assert op is not None
    assert (op.operation, op.data) == ("UPDATE", {"theirs": "b"})


def test_what_a_rule_has_decided_can_be_taken_back() -> None:
    record, conflict = _met("stage")
    assert (conflict.decision, record.data["stage"]) == ("theirs", "2")
    op = _resolved(record, conflict, "ours")
    assert op is not None
    assert (op.operation, op.data, op.base_version) == ("UPDATE", {"stage": "1"}, record.version)


def test_a_deletion_that_waits() -> None:
    rules = models("manual")
    record = after(created(rules=rules), operation(2, data={"stage": "won"}, base=1), "c", rules=rules)
    decided = put(record, operation(3, "DELETE", base=1), "b", rules=rules)
    assert decided.answer.decision == "open"
    op = _resolved(record, decided.conflict, "theirs")
    assert op is not None
    assert after(record, op, author("person", ADMIN), rules=rules).deleted
    gone = after(record, operation(4, "DELETE", base=record.version), "c", rules=rules)
    assert _resolved(gone, decided.conflict, "theirs") is None, "it is deleted already"


def test_a_change_of_what_was_deleted_brings_it_back() -> None:
    rules = models("manual")
    record = after(created(rules=rules), operation(2, "DELETE", base=1), "c", rules=rules)
    decided = put(record, operation(3, data={"stage": "won"}, base=1), "b", rules=rules)
    op = _resolved(record, decided.conflict, "theirs")
    assert op is not None
    back = after(record, op, author("person", ADMIN), rules=rules)
    assert (back.deleted, back.data["stage"]) == (False, "won")
    assert _resolved(record, decided.conflict, "ours") is None


def test_a_record_that_is_gone_is_created() -> None:
    decided = put(None, operation(2, data={"stage": "won"}, base=4), "b")
    assert decided.conflict is not None
    op = _resolved(None, replace(decided.conflict, theirs={"name": "Ann", "stage": "won"}), "theirs")
    assert op is not None
    assert (op.operation, op.base_version) == ("CREATE", 0)
    assert put(None, op, author("person", ADMIN)).answer.result == "applied"
    assert _resolved(None, decided.conflict, "ours") is None
