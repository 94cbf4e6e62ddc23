"""What an app asks of a list: each value by its field's type, and whose records are gone through."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.records.listing import Readers
from daemon.records.filters import NoFilter, filters_of, readers_of
from daemon.records.models.rules import MODELS, ModelsPart, models_of
from schemas.principals import Principal

PART = ModelsPart.model_validate(tomllib.loads(MODELS.shipped().decode()))
LEAD = models_of(PART, "newest")["Lead"]


def filters(**asked: str) -> Any:
    return filters_of(PART.models["Lead"], LEAD, asked)


def test_values_are_read_by_their_type() -> None:
    found = filters(stage="new", score="3", consent="true", tags="x", amount="10.50", city="")
    assert found.same == [['{"stage":"new"}'], ['{"score":3}'], ['{"consent":true}'], ['{"tags":["x"]}']]
    assert (found.numbers, found.empty) == ([("amount", "10.50")], ["city"])


def test_a_moment_is_found_in_its_usual_notations() -> None:
    (texts,) = filters(next_contact_at="2026-11-27T12:00:00+02:00").same
    for text in ("2026-11-27T10:00:00Z", "2026-11-27T10:00:00.000Z", "2026-11-27T10:00+00:00", "2026-11-27T10:00:00"):
        assert f'{{"next_contact_at":"{text}"}}' in texts


@pytest.mark.parametrize(
    ("principal", "asked", "readers"),
    [
        (Principal(kind="user", name="a", role="read", branch="n"), {}, Readers(owners=["a"])),
        (Principal(kind="user", name="a", role="operate"), {"owner_id": "b"}, Readers(owners=["a"])),
        (Principal(kind="user", name="a", role="admin"), {}, Readers(all=True)),
        (Principal(kind="installation", name="readonly", role="read"), {"owner_id": "b"}, Readers(owners=["b"])),
        (Principal(kind="installation", name="admin", role="admin"), {"branch_id": "n"}, Readers(branch="n")),
        (
            Principal(kind="edge", name="e", role="operate", owners=frozenset("ba"), branch="n"),
            {"owner_id": "z", "branch_id": "y"},
            Readers(owners=["a", "b"], branch="n"),
        ),
    ],
)
def test_nobody_is_shown_more_by_what_they_ask_for(
    principal: Principal, asked: dict[str, str], readers: Readers
) -> None:
    assert readers_of(principal, LEAD, asked) == readers


@given(st.dictionaries(st.sampled_from([*LEAD.fields, "fax"]), st.text(), max_size=5))
def test_any_text_is_a_filter_or_told_to_be_none(asked: dict[str, str]) -> None:
    try:
        found = filters(**asked)
    except NoFilter:
        assert any(asked.values()) or "fax" in asked
    else:
        assert set(found.empty) == {name for name, text in asked.items() if not text}
