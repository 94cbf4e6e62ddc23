"""Who has written a message, by what it shows of them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.contacts.writers import wrote
from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.phone import Phone
from schemas.told import message_data
from tests.support.toy import NOON

PHONE: Final = Phone.parse_e164("+972505550142")
IL: Final = "972505550142"


def event(data: bytes) -> Event:
    return Event(id="e", type="message.received", source="test", subject="s", time=NOON, data=data)


def received(**members: Any) -> Event:
    told: dict[str, Any] = {
        "system": "meta",
        "contact_id": IL,
        "phone": PHONE,
        "at": None,
        "channel": "whatsapp",
        "text": "hello",
        "message_id": "m1",
        "received": b"{}",
    }
    return event(message_data(**told | members))


def shown(event: Event) -> dict[str, str]:
    writer = wrote(event)
    assert writer is not None
    return {one.kind.value: one.value for one in writer.identities}


@pytest.mark.parametrize(
    ("members", "identities"),
    [
        ({}, {"phone": "+972505550142", "wa_id": IL}),
        ({"bsuid": "IL.77120"}, {"phone": "+972505550142", "wa_id": IL, "bsuid": "IL.77120"}),
        ({"phone": None, "contact_id": "IL.77120", "bsuid": "IL.77120"}, {"bsuid": "IL.77120"}),
        ({"system": "whapi", "phone": None, "contact_id": "12036302@g.us"}, {}),
        ({"system": "twilio", "channel": "sms"}, {"phone": "+972505550142"}),
        ({"system": "cgb", "channel": None}, {"phone": "+972505550142", "cgb": IL}),
        ({"channel": "whatsapp-group"}, {"phone": "+972505550142"}),
        ({"contact_id": "٩٧٢"}, {"phone": "+972505550142"}),
        ({"contact_id": "9" * 21}, {"phone": "+972505550142"}),
    ],
)
def test_a_message_shows_the_identities_that_its_system_knows(
    members: dict[str, Any], identities: dict[str, str]
) -> None:
    found = received(**members)
    assert (shown(found) if identities else wrote(found)) == (identities or None)


@pytest.mark.parametrize("members", [{"kind": "system"}, {"kind": "user_preferences"}, {"contact_id": "2612-TEST"}])
def test_what_whatsapp_tells_of_a_person_and_what_a_test_says_show_nobody(members: dict[str, Any]) -> None:
    assert wrote(received(**members)) is None


def test_a_body_that_was_not_understood_shows_nobody() -> None:
    assert wrote(event(b'{"system": "meta", "odd": "a message has no id", "received": {}}')) is None


def test_the_name_is_without_steering_and_cut() -> None:
    writer = wrote(received(name=" Noa\u202e\nExample" + "x" * 200))
    assert writer is not None
    assert writer.name == "Noa Example" + "x" * 89
    blank = wrote(received(name=" \u202e "))
    assert blank is not None
    assert blank.name is None


@given(st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.dictionaries(st.text(), inner)))
def test_any_data_show_somebody_or_nobody_or_are_malformed(members: Any) -> None:
    told = {"system": "meta", "contact_id": IL, "phone": "+972505550142", "channel": "whatsapp"}
    odd = told | {"name": members, "bsuid": members, "kind": members if isinstance(members, str) else "text"}
    for data in (odd, members, told | {"contact_id": members}, told | {"phone": members}):
        with suppress(Malformed):
            writer = wrote(event(json.dumps(data).encode()))
            assert writer is None or all(one.value for one in writer.identities)
