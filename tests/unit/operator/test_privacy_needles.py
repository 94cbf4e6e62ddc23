"""What a person is called by is found as people type it, and nobody else is."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.operator.privacy.needles import compiled, pattern_of

PHONE = "+972505550142"
FOUND = compiled(pattern_of({"phone": [PHONE], "email": ["ann@example.com"], "order": ["IL210214KN1001"]}))


@pytest.mark.parametrize(
    "text",
    [
        *("+972505550142", "972505550142@c.us", "00972-50-555-0142", "050-555 0142", "(050) 5550142", "505550142"),
        *('{"code":"972","number":"0505550142"}', "ANN@example.com", "order:IL210214KN1001", "+972 (0)50 5550142"),
    ],
)
def test_each_way_of_writing_is_found(text: str) -> None:
    assert FOUND.search(text)


@pytest.mark.parametrize(
    "text", ["1972505550142", "9725055501423", "5055501420", "joann@example.com", "IL210214KN10012", "050-555-0143"]
)
def test_what_only_holds_it_is_somebody_elses(text: str) -> None:
    assert not FOUND.search(text)


def test_nobody_has_no_pattern() -> None:
    assert pattern_of({"cgb": ["12"], "order": ["IL1"]}) == ""


@given(st.sampled_from(["IL", "SE", "RU", "KZ", "US", "GB", "BR"]), st.data())
def test_a_number_is_found_in_every_format_of_the_library(region: str, data: st.DataObject) -> None:
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    assert example is not None
    e164 = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    how = data.draw(st.sampled_from(["E164", "INTERNATIONAL", "RFC3966", "NATIONAL"]))
    written = phonenumbers.format_number(example, getattr(phonenumbers.PhoneNumberFormat, how))
    around = data.draw(st.sampled_from(["", " ", '"', "x: "]))
    assert compiled(pattern_of({"phone": [e164]})).search(f"{around}{written}{around}")
