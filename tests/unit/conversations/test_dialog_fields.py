"""What each kind of field takes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from daemon.conversations.dialogs.rules import Dialog, DialogField, DialogRules
from tests.support.dialogs import RULES, Talk, body

THUMBS = [{"value": "up", "title": "👍"}, {"value": "down", "title": "👎"}]


SIGNALS = [{"value": "go", "title": "Go"}, {"value": "stop", "title": "Stop"}]


def a_dialog(**given: object) -> DialogRules:
    """A dialog with one field."""
    told = {"name": "it", "names": {"en": ("It",)}, "prompt": {"en": "It?"}, **given}
    field = DialogField.model_validate(told)
    shipped = RULES.dialogs[0]
    changes = {"fields": (field,), "confirmation": {"en": "Got {it}."}, "notes": True}
    dialog: Dialog = shipped.model_copy(update=changes)
    return RULES.model_copy(update={"dialogs": (dialog,)})


@pytest.mark.parametrize(
    ("given", "text", "value"),
    [
        ({"kind": "number"}, "3", "3"),
        ({"kind": "number"}, "We are 3", "3"),
        ({"kind": "number"}, "٣", "3"),
        ({"kind": "number"}, "2,5", "2.5"),
        ({"kind": "number"}, "3 or 4", None),
        ({"kind": "number", "min": 1, "max": 9}, "10", None),
        ({"kind": "number"}, "many", None),
        ({"kind": "date"}, "2031-12-31", "2031-12-31"),
        ({"kind": "date"}, "31.12.2031", "2031-12-31"),
        ({"kind": "date"}, "1/2/2031", "2031-02-01"),
        ({"kind": "date"}, "12/31/2031", "2031-12-31"),
        ({"kind": "date"}, "it is 5-6-2031.", "2031-06-05"),
        ({"kind": "date"}, "٣١/١٢/٢٠٣١", "2031-12-31"),
        ({"kind": "date"}, "31.13.2031", None),
        ({"kind": "date"}, "30.2.2031", None),
        ({"kind": "date"}, "next week", None),
        ({"kind": "date"}, "1.1.2031 or 2.1.2031", None),
        ({"kind": "email"}, "It is Dana.Levi@Example.com, thanks", "dana.levi@example.com"),
        ({"kind": "email"}, "dana@example", None),
        ({"kind": "email"}, "a@example.com b@example.com", None),
        ({"kind": "phone"}, "+1 (202) 555-0143", "+12025550143"),
        ({"kind": "phone"}, "call 00972 50 555 0142", "+972505550142"),
        ({"kind": "phone"}, "12345", None),
        ({"kind": "text"}, "  Dana   Levi ", "Dana Levi"),
        ({"kind": "text", "min": 3}, "ab", None),
        ({"kind": "text", "max": 4}, "abcdef", "abcd"),
        ({"kind": "text"}, "...", None),
        ({"kind": "choice", "options": THUMBS}, "👎", "down"),
        ({"kind": "choice", "options": SIGNALS}, "stop", "stop"),
    ],
    ids=str,
)
def test_what_a_field_takes(given: Mapping[str, object], text: str, value: str | None) -> None:
    talk = Talk(a_dialog(**given))
    talk.begin()
    step = talk.say(text, answers=talk.question("it"))
    if value is None:
        assert step.completed is None
        assert not step.used or body(step).endswith("It?")
        assert "Sorry" in body(step) or not step.used
    else:
        assert step.completed is not None
        assert step.completed.params == {"it": value.lower() if given.get("lower") else value}


def test_a_number_in_a_note_is_no_answer() -> None:
    talk = Talk(a_dialog(kind="number"))
    talk.begin()
    assert not talk.say("We met 3 people from the agency today and it went well").used


def test_an_optional_field_is_taken_and_never_asked_for() -> None:
    rules = a_dialog(kind="text")
    extra = DialogField.model_validate(
        {"name": "colour", "kind": "choice", "required": False, "names": {"en": ("Colour",)}, "prompt": {"en": "?"}}
        | {"options": [{"value": "red", "title": "Red"}, {"value": "blue", "title": "Blue"}]}
    )
    dialog = rules.dialogs[0].model_copy(update={"fields": (*rules.dialogs[0].fields, extra)})
    talk = Talk(rules.model_copy(update={"dialogs": (dialog,)}))
    talk.begin()
    talk.say("colour: red")
    step = talk.say("Something nice to read")
    assert step.completed is not None
    assert step.completed.params == {"it": "Something nice to read", "colour": "red"}
