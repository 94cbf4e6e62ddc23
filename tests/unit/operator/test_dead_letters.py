"""Editing a dead letter: which key the edited event has."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from adapters.cgb.source import SOURCE as FLOWS
from adapters.json_guard import NotJson
from adapters.ports import Source
from adapters.postgres.operator.dead_letters import StoredLetter
from adapters.vizi.source import SOURCE as ORDERS
from daemon.operator import dead_letters
from schemas.envelope import Event

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
FORM = replace(ORDERS, name="form", decode=lambda body: {"never": "asked"}, keeps_body=False)


def letter(source: Source) -> StoredLetter:
    event = Event(
        id="1", type="message.received", source=source.name, subject="+447700900001", time=NOW, data=b'{"Body": "a"}'
    )
    return StoredLetter(1, "toy", event, "Refused", "no", 1, "open", NOW, None, None, 0, None)


def test_an_event_whose_data_are_not_its_webhooks_body_keeps_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: an event of a source that takes forms can be edited, though its JSON cannot be read as a form again."""
    monkeypatch.setattr(dead_letters, "SOURCES", (FORM,))
    edited = dead_letters.edited(letter(FORM), b'{"Body": "b"}')
    assert (edited.data, edited.subject) == (b'{"Body": "b"}', "+447700900001")
    with pytest.raises(NotJson):
        dead_letters.edited(letter(FORM), b"Body=b")


def test_a_letter_of_a_flow_is_mended_in_the_form_in_which_it_is_kept() -> None:
    mended = b'{"system": "cgb", "contact_id": "447700900001", "phone": "+447700900001", "text": "ok"}'
    edited = dead_letters.edited(letter(FLOWS), mended)
    assert (edited.data, edited.subject) == (mended, "+447700900001")
