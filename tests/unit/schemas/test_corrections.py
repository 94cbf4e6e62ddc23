"""An operator's corrections in the text of an order."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.sandbox.orders import make_order
from schemas.corrections import FIELDS, MEMBER, START, corrected, corrected_at, corrections_of, own_text, own_values
from schemas.orders import order_from

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3))
BODIES = st.dictionaries(st.text(), JSON, min_size=1)
VALUES = st.dictionaries(st.sampled_from(FIELDS), st.text(min_size=1), min_size=1)


@given(BODIES, VALUES, VALUES, st.sampled_from(["", " ", "\n\t"]))
def test_the_order_s_own_text_stays_as_it_was_however_often_it_is_corrected(
    body: dict[str, object], first: dict[str, str], second: dict[str, str], blank: str
) -> None:
    text = blank + json.dumps(body, indent=1)
    once = corrected(text, first, NOW)
    twice = corrected(once, second, NOW)
    assert (corrections_of(once), corrections_of(twice)) == (first, second)
    assert own_text(twice) == text.lstrip()
    assert {**json.loads(twice), MEMBER: None} == {MEMBER: None, **body}
    assert corrected(twice, {}, NOW) == text.lstrip()


@pytest.mark.parametrize("rest", ["", "{", "[1],", "5}", '{"phone":"x"', '{"phone":"x"}}', '"text",', "NaN,", "{}:1"])
def test_a_text_that_only_begins_like_a_corrected_one_is_not_corrected(rest: str) -> None:
    assert corrections_of(START + rest) == {}
    assert own_text(START + rest) == START + rest


def test_only_text_corrects_and_only_what_can_be_corrected() -> None:
    assert corrections_of(START + '{"phone":"+972505550142","email":5,"name":null,"id":"x","at":"t"},"a":1}') == {
        "phone": "+972505550142"
    }


def test_a_corrected_order_has_the_operator_s_words_and_keeps_its_own() -> None:
    phone = {"code": "972", "number": "050-555-0142"}
    text = json.dumps(make_order(Random(1), 1, branch="il", phone=phone, amount=420.5, name="Noa"), ensure_ascii=False)
    values = {"phone": "+972505550143", "email": "right@example.com", "name": "Noa Levi"}
    order, before = order_from(corrected(text, values, NOW).encode(), NOW), order_from(text.encode(), NOW)
    assert order.phone is not None
    said = {"phone": order.phone.e164, "email": order.client_email, "name": order.client_name}
    assert said == values
    assert (order.client_phone_raw, order.amount, order.extra_data) == (phone, before.amount, before.extra_data)
    assert own_values(order.raw_body) == own_values(text)
    assert own_values(order.raw_body)["phone"] == phone


def test_a_correction_is_another_state_each_time_that_it_is_made() -> None:
    later = NOW.replace(hour=13)
    assert corrected('{"a":1}', {"name": "N"}, NOW) != corrected('{"a":1}', {"name": "N"}, later)
    assert corrected('{"a":1}', {"name": "N"}, NOW) == corrected('{"a":1}', {"name": "N"}, NOW)


def test_a_correction_knows_since_when_it_counts() -> None:
    earlier = NOW - timedelta(hours=1)
    text = corrected('{"a":1}', {"name": "N", "email": "e"}, NOW, {"name": earlier, "phone": earlier})
    assert corrected_at(text) == {"name": earlier, "email": NOW}
    assert corrected_at('{"a":1}') == {}


@pytest.mark.parametrize("at", ['"yesterday"', "7", "null", '"2031-03-01T12:00:00"', "{}"])
def test_a_time_that_is_none_is_left_out(at: str) -> None:
    assert corrected_at(START + '{"name":"N","at":' + at + ',"since":{"name":' + at + '}},"a":1}') == {}
