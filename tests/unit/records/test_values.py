"""What the types of fields take, and when two values are one."""

from __future__ import annotations

import tomllib
from typing import Any, Final

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.records.models.rules import ModelsPart, models_of
from daemon.records.models.values import Wrong, read_values

_RULES: Final = """
[models.M]
retired = ["old"]
[models.M.fields]
text = { type = "text", max = 10 }
long = { type = "text" }
integer = { type = "integer" }
number = { type = "number" }
decimal = { type = "decimal" }
boolean = { type = "boolean" }
date = { type = "date" }
datetime = { type = "datetime" }
choice = { type = "choice", values = ["new", "won"] }
set = { type = "set", max = 3 }
json = { type = "json" }
file = { type = "file" }
must = { type = "text", required = true }
"""
M: Final = models_of(ModelsPart.model_validate(tomllib.loads(_RULES)), "newest")["M"]
SHA: Final = "0f" * 32
FILE: Final = {"name": "a.jpg", "url": "https://files.example/a.jpg", "sha256": SHA}

TAKEN: list[tuple[str, Any]] = [
    ("text", ""),
    ("text", "שלום עולם!"),
    ("text", "a\nb\tc"),
    ("text", "x" * 10),
    ("long", "x" * 1000),
    ("integer", 0),
    ("integer", -(2**53 - 1)),
    ("number", 1),
    ("number", 1.5),
    ("decimal", 12),
    ("decimal", 12.5),
    ("decimal", "1234.50"),
    ("decimal", "-0.00"),
    ("decimal", "+.5"),
    ("decimal", "1e3"),
    ("boolean", True),
    ("date", "2028-02-29"),
    ("datetime", "2026-11-27T09:58:01Z"),
    ("datetime", "2026-11-27T09:58:01.250+02:00"),
    ("datetime", "2026-11-27T09:58"),
    ("choice", "won"),
    ("set", []),
    ("json", {"a": [1, None, {"b": "x"}], "": 1.5}),
    ("json", [[[True]]]),
    ("file", FILE),
    ("file", {**FILE, "bytes": 0, "content_type": "image/jpeg"}),
    ("owner_id", "alice"),
    ("text", None),
    ("file", None),
]

REFUSED: list[tuple[str, Any]] = [
    ("text", 1),
    ("text", True),
    ("text", ["a"]),
    ("text", "x" * 11),
    ("text", "a\x00"),
    ("text", "\ud800"),
    ("long", "x" * 1001),
    ("integer", "1"),
    ("integer", 1.5),
    ("integer", True),
    ("integer", 2**53),
    ("integer", float("nan")),
    ("number", "1.5"),
    ("number", float("inf")),
    ("number", False),
    ("number", 2**53),
    ("decimal", "12,5"),
    ("decimal", "1e1000"),
    ("decimal", "NaN"),
    ("decimal", " 1"),
    ("decimal", "١٢"),
    ("decimal", ""),
    ("decimal", "9" * 31),
    ("decimal", True),
    ("boolean", 1),
    ("boolean", "true"),
    ("date", "2026-02-30"),
    ("date", "20260227"),
    ("date", "2026-W09-5"),
    ("date", "2026-11-27T09:58:01Z"),
    ("date", 20260227),
    ("datetime", "2026-11-27"),
    ("datetime", "yesterday at noon"),
    ("datetime", "2026-11-27T25:00:00Z"),
    ("datetime", "0001-01-01T00:00:00+14:00"),
    ("datetime", 1_795_773_600),
    ("choice", "Won"),
    ("choice", ["won"]),
    ("set", "a"),
    ("set", ["a", 1]),
    ("set", ["a", "b", "c", "d"]),
    ("set", ["x" * 201]),
    ("set", ["a\x00"]),
    ("json", {"a\x00": 1}),
    ("json", [{"a": "\x00"}]),
    ("file", "https://files.example/a.jpg"),
    ("file", {"name": "a.jpg"}),
    ("file", {**FILE, "data": "aGVsbG8="}),
    ("file", {**FILE, "sha256": "12"}),
    ("file", {**FILE, "url": "javascript:alert(1)"}),
    ("file", {**FILE, "url": "https://files.example/a b"}),
    ("file", {**FILE, "bytes": -1}),
    ("file", {**FILE, "name": ""}),
    ("owner_id", ""),
    ("owner_id", " alice"),
    ("owner_id", "a\nb"),
    ("branch_id", 7),
]


@pytest.mark.parametrize(("field", "value"), TAKEN)
def test_values_that_are_taken(field: str, value: Any) -> None:
    assert read_values(M, {field: value}, whole=False) == {field: value}


@pytest.mark.parametrize(("field", "value"), REFUSED)
def test_values_that_are_refused(field: str, value: Any) -> None:
    wrong = read_values(M, {field: value}, whole=False)
    assert isinstance(wrong, Wrong)
    assert wrong.reason == "type"
    assert wrong.detail.startswith(f"{field} ")


def test_a_set_is_stored_sorted_and_each_member_once() -> None:
    assert read_values(M, {"set": ["b", "a", "b"]}, whole=False) == {"set": ["a", "b"]}
    assert read_values(M, {"integer": 3.0}, whole=False) == {"integer": 3}


def test_what_is_not_a_field_is_named() -> None:
    assert read_values(M, {"fax2": 1}, whole=False) == Wrong("field", "M has no field fax2")
    named = read_values(M, {"a\x1b[31m" + "b" * 200: 1}, whole=False)
    assert named == Wrong("field", "M has no field a?[31m" + "b" * 54)
    assert read_values(M, {"old": "1", "id": "m_1"}, whole=False) == {}


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_a_required_field_has_a_value(value: Any) -> None:
    expected = Wrong("required", "must is required: give it a value")
    assert read_values(M, {"must": value}, whole=False) == expected
    assert read_values(M, {"text": "a"}, whole=True) == expected
    assert read_values(M, {"text": "a"}, whole=False) == {"text": "a"}
    assert read_values(M, {"must": "a", "text": None}, whole=True) == {"must": "a"}


_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(M.fields)), _JSON)
def test_whatever_is_sent_is_stored_or_refused_without_being_repeated(field: str, value: Any) -> None:
    found = read_values(M, {field: value}, whole=False)
    if isinstance(found, Wrong):
        if isinstance(value, str) and len(value) > 8:
            assert value not in found.detail
        return
    stored = found[field]
    assert read_values(M, {field: stored}, whole=False) == found, "what is stored is taken as it is"
    assert M.fields[field].same(stored, stored)
    if field not in ("json", "number"):
        orjson.dumps(stored)


def test_a_refusal_repeats_no_value() -> None:
    secret = "+97250555"
    for field in M.fields:
        wrong = read_values(M, {field: {secret: [secret]}}, whole=False)
        assert field == "json" or (isinstance(wrong, Wrong) and secret not in wrong.detail)


@pytest.mark.parametrize(
    ("field", "one", "other", "same"),
    [
        ("decimal", "1.50", 1.5, True),
        ("decimal", "1e3", 1000, True),
        ("decimal", 0.1, "0.1", True),
        ("decimal", "1.50", "1.51", False),
        ("number", 1, 1.0, True),
        ("datetime", "2026-11-27T10:00:00Z", "2026-11-27T12:00:00+02:00", True),
        ("datetime", "2026-11-27T10:00:00Z", "2026-11-27T10:00:00", True),
        ("datetime", "2026-11-27T10:00:00Z", "2026-11-27T10:00:00.001Z", False),
        ("json", {"a": 1, "b": 2}, {"b": 2, "a": 1.0}, True),
        ("json", {"a": 1}, {"a": True}, False),
        ("json", [0], [False], False),
        ("json", {"a": None}, {}, False),
        ("text", "a", "A", False),
        ("text", "", None, False),
        ("text", None, None, True),
        ("file", FILE, {**FILE, "bytes": 1}, False),
    ],
)
def test_values_are_compared_by_what_they_mean(field: str, one: Any, other: Any, same: bool) -> None:
    rule = M.fields[field]
    assert (rule.same(one, other), rule.same(other, one)) == (same, same)
