"""The form of `contact.changed`: what is written reads back, and anything else is malformed by its member's name."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.contact_changes import ContactChange, change_data, change_from
from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.phone import Phone
from schemas.told import is_test_contact, odd_data

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
PHONE = Phone("+972505550142")
SOUND: dict[str, Any] = {"system": "cgb", "contact_id": "7", "phone": None, "at": None, "fields": {}, "received": {}}


def event(data: bytes) -> Event:
    return Event(id="e", type="contact.changed", source="cgb", subject="cgb:7", time=NOW, data=data)


@pytest.mark.parametrize("phone", [PHONE, None])
@pytest.mark.parametrize(
    ("at", "read"),
    [
        (NOW - timedelta(days=1), NOW - timedelta(days=1)),
        (None, NOW),
        (NOW + timedelta(days=1), NOW),  # another clock runs ahead
    ],
)
def test_what_is_written_reads_back(phone: Phone | None, at: datetime | None, read: datetime) -> None:
    data = change_data(
        system="cgb", contact_id="7", phone=phone, at=at, fields={"Email": "noa@example.com"}, received=b'{ "a": 1.10}'
    )
    assert b'"received":{ "a": 1.10}' in data
    assert change_from(event(data)) == ContactChange(
        system="cgb", contact_id="7", phone=phone, at=read, fields={"Email": "noa@example.com"}
    )


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ({"system": None}, "system"),
        ({"system": ""}, "system"),
        ({"contact_id": 7}, "contact_id"),
        ({"contact_id": ""}, "contact_id"),
        ({"phone": 972505550142}, "phone"),
        ({"phone": "972505550142"}, "E.164"),
        ({"at": 5}, "time"),
        ({"at": "2031-03-01T12:00:00"}, "offset"),
        ({"fields": None}, "fields"),
        ({"fields": []}, "fields"),
        ({"fields": {"canary": 1}}, "fields"),
    ],
)
def test_another_form_is_malformed(new: dict[str, Any], said: str) -> None:
    assert change_from(event(json.dumps(SOUND).encode())).fields == {}
    with pytest.raises(Malformed, match=said) as caught:
        change_from(event(json.dumps(SOUND | new).encode()))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("data", [b"[]", b"7", b'"text"', b"null", b"{"])
def test_data_that_are_no_object_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        change_from(event(data))


def test_an_odd_body_fails_with_what_is_odd() -> None:
    with pytest.raises(Malformed, match=r"^v is missing$"):
        change_from(event(odd_data("cgb", "v is missing", b'{"a": 1}')))
    for odd in (None, "", 5):
        with pytest.raises(Malformed, match="not understood"):
            change_from(event(json.dumps(SOUND | {"odd": odd}).encode()))


def test_a_test_contact_is_marked_at_the_end_of_its_id() -> None:
    assert is_test_contact("310214-TEST")
    assert not any(map(is_test_contact, ("TEST", "-TEST-1", "310214", 7, None)))
