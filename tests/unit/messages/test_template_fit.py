"""A message is found to fit its template exactly where WhatsApp takes it: by tables, and against the simulator's own
rules for any template and any variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.meta.template_list import _definition
from adapters.meta.templates import body_of, refusal
from daemon.messages.template_fit import LONGEST_BODY, LONGEST_CODE, LONGEST_HEADER, Unfit, definition_of, fitted
from daemon.sandbox import meta_templates
from daemon.sandbox.meta_templates import definition
from schemas.messages import Template
from schemas.template_parts import parts_of
from schemas.templates import Known, TemplateDefinition, places_of

READ = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
IMAGE = "https://cdn.example.test/a.png"
PDF = "https://cdn.example.test/a.pdf"
ANY_FILE = "https://cdn.example.test/files?id=7"
URL = {"type": "URL", "text": "Open", "url": "https://example.test/{{1}}"}
FIXED = {"type": "URL", "text": "Open", "url": "https://example.test/"}
REPLY = {"type": "QUICK_REPLY", "text": "Stop"}
CODE = {"type": "COPY_CODE", "example": "25OFF"}
CALL = {"type": "PHONE_NUMBER", "text": "Call", "phone_number": "+972505550142"}


def read(row: Mapping[str, Any]) -> TemplateDefinition:
    found = _definition(row)
    assert found is not None
    return found


def message(variables: Mapping[str, str], language: str | None = "en_US") -> Template:
    return Template("parcel_ready", language, dict(variables))


def known(*rows: Mapping[str, Any]) -> Known:
    return Known("parcel_ready", [read(row) for row in rows], READ)


def why(row: Mapping[str, Any], variables: Mapping[str, str]) -> str | None:
    """Why the message does not fit, by our rules; and the simulator takes it exactly where there is nothing."""
    try:
        fit = fitted(message(variables), read(row))
    except Unfit as unfit:
        return str(unfit)
    assert refusal(fit) is None
    assert meta_templates.refusal([row], body_of(fit)) is None
    return None


# which template


@pytest.mark.parametrize(
    ("rows", "language", "says"),
    [
        ([definition()], "en_US", None),
        ([definition(), definition(language="he", status="PAUSED")], "en_US", None),
        ([], "en_US", "templates sync"),
        ([], "en_US", "2031-03-01 12:00 UTC"),
        ([definition(language="he"), definition(language="en")], "en_US", "there in en, he:"),
        ([definition(language="he")], None, "there in he:"),
        ([definition(status="PAUSED")], "en_US", "paused"),
        ([definition(status="DISABLED")], "en_US", "disabled"),
        ([definition(status="REJECTED")], "en_US", "rejected"),
        ([definition(status="PENDING")], "en_US", "not approved yet"),
        ([definition(status="LIMIT_EXCEEDED")], "en_US", "cannot be sent"),
        ([definition(status="A_WORD_OF_2032")], "en_US", "cannot be sent"),
    ],
)
def test_a_template_must_be_there_in_its_language_and_approved(
    rows: list[dict[str, Any]], language: str | None, says: str | None
) -> None:
    if says is None:
        assert definition_of(message({}, language), known(*rows)).language == language
        return
    with pytest.raises(Unfit, match=says) as caught:
        definition_of(message({}, language), known(*rows))
    assert caught.value.unknown is ("there in" in says or not rows)


# what a message gives it


@pytest.mark.parametrize(
    ("row", "variables", "says"),
    [
        # the body, numbered
        (definition(), {}, None),
        (definition(body="{{1}} {{2}}"), {"1": "a", "2": "b"}, None),
        (definition(body="{{1}} {{1}}"), {"1": "a"}, None),
        (definition(body="{{1}}"), {"1": "a", "fallback_message": "said in another way"}, None),
        (definition(body="{{1}} {{2}}"), {"1": "a"}, "2 variables, numbered 1, 2: give 2 as well"),
        (definition(body="{{1}} {{2}}"), {}, "give 1, 2 as well"),
        (definition(body="{{1}}"), {"1": "a", "2": "b"}, "and 1 more are given"),
        (definition(), {"1": "a"}, "no variables, and 1 are given"),
        (definition(body="{{1}}"), {"who": "Noa"}, "numbered 1: give 1 as well, and no others"),
        # the body, named
        (definition(body="{{who}} {{when}}"), {"when": "now", "who": "Noa"}, None),
        (definition(body="{{who}} {{when}}"), {"who": "Noa"}, "named who, when: give when as well"),
        (definition(body="{{who}}"), {"1": "Noa"}, "named who: give who as well, and no others"),
        # the header
        (definition(header="Order {{1}}"), {"header": "7"}, None),
        (definition(header="Order {{1}}"), {"header_text": "7"}, None),
        (definition(header="Order {{1}}"), {"header": IMAGE[:40]}, None),
        (definition(header="Order {{1}}"), {}, "header shows a text: give what fills its place"),
        (definition(header="Order"), {"header": "7"}, "header takes nothing"),
        (definition(), {"header": IMAGE}, "header takes nothing"),
        (definition(header="IMAGE"), {"header": IMAGE}, None),
        (definition(header="IMAGE"), {"header": ANY_FILE}, None),
        (definition(header="IMAGE"), {"header_image": ANY_FILE}, None),
        (definition(header="IMAGE"), {}, "shows an image: give the address"),
        (definition(header="IMAGE"), {"header": "7"}, "shows an image: give the address"),
        (definition(header="IMAGE"), {"header": PDF}, "the address is that of a document"),
        (definition(header="IMAGE"), {"header_document": ANY_FILE}, "for another: call it header"),
        (definition(header="DOCUMENT"), {"header": PDF, "header_filename": "visa.pdf"}, None),
        (definition(header="IMAGE"), {"header": IMAGE, "header_filename": "visa.pdf"}, "shows no document"),
        (definition(header="VIDEO"), {"header": "https://cdn.example.test/a.mp4"}, None),
        (definition(header="Order {{1}}"), {"header:number": "7"}, "for another"),
        # the header, named
        (definition(header="Order {{number}}", body="{{who}}"), {"number": "7", "who": "Noa"}, None),
        (definition(header="Order {{number}}", body="{{who}}"), {"header": "7", "who": "Noa"}, None),
        (definition(header="Order {{number}}", body="{{who}}"), {"header:number": "7", "who": "Noa"}, None),
        (definition(header="To {{who}}", body="{{who}}"), {"who": "Noa"}, None),
        (definition(header="Order {{number}}", body="{{who}}"), {"who": "Noa"}, "header shows a text"),
        (definition(header="Order {{number}}", body="{{who}}"), {"header:who": "7", "who": "Noa"}, "for another"),
        # buttons
        (definition(buttons=[URL]), {"button_0": "t/991"}, None),
        (definition(buttons=[REPLY, URL]), {"button_1": "t/991"}, None),
        (definition(buttons=[REPLY, URL]), {"button_0": "STOP", "button_1_url": "t/991"}, None),
        (definition(buttons=[REPLY]), {"button_0_payload": "STOP"}, None),
        (definition(buttons=[CODE]), {"button_0": "25OFF"}, None),
        (definition(buttons=[CODE]), {"button_0_code": "25OFF"}, None),
        (definition(buttons=[CALL, FIXED]), {}, None),
        (definition(buttons=[REPLY, URL]), {}, "button 1 needs the end of its address: give button_1"),
        (definition(buttons=[CODE]), {}, "button 0 needs the code that it copies"),
        (definition(buttons=[FIXED]), {"button_0": "t/991"}, "button 0 takes nothing"),
        (definition(buttons=[CALL]), {"button_0_payload": "x"}, "button 0 takes nothing"),
        (definition(buttons=[URL]), {"button_0": "a", "button_7": "b"}, "button 7 takes nothing, or there is none"),
        (definition(buttons=[URL]), {"button_0_code": "25OFF"}, "button 0 takes the end of its address"),
        # lengths, with the variables in their places
        (definition(body="x" * 1000 + "{{1}}"), {"1": "y" * 24}, None),
        (definition(body="x" * 1000 + "{{1}}"), {"1": "y" * 25}, f"1025 characters, and WhatsApp takes {LONGEST_BODY}"),
        (definition(header="x" * 50 + "{{1}}"), {"header": "y" * 10}, None),
        (definition(header="x" * 50 + "{{1}}"), {"header": "y" * 11}, f"WhatsApp takes {LONGEST_HEADER}"),
        (definition(buttons=[CODE]), {"button_0": "y" * 16}, f"WhatsApp takes {LONGEST_CODE}"),
    ],
    ids=lambda found: str(found)[:60],
)  # fmt: skip
def test_a_message_gives_its_template_what_it_takes(
    row: dict[str, Any], variables: dict[str, str], says: str | None
) -> None:
    found = why(row, variables)
    assert found is None if says is None else says in (found or "")


@pytest.mark.parametrize(
    "component",
    [
        {"type": "CAROUSEL", "cards": []},
        {"type": "LIMITED_TIME_OFFER", "limited_time_offer": {}},
        {"type": "HEADER", "format": "LOCATION"},
        {"type": "BUTTONS", "buttons": [{"type": "MPM", "text": "See"}]},
    ],
    ids=lambda one: str(one["type"]),
)
def test_a_template_that_variables_cannot_fill_is_said_to_be_one(component: dict[str, Any]) -> None:
    assert "variables cannot give" in (why(definition(components=[component]), {}) or "")


@pytest.mark.parametrize(
    "components",
    [
        [],
        [{}],
        [{"type": 7, "text": 7}],
        [{"type": "BODY"}],
        [{"type": "HEADER", "format": None, "text": ["x"]}],
        [{"type": "BUTTONS", "buttons": "x"}],
        [{"type": "BUTTONS", "buttons": [7, {}, {"type": "URL"}, {"type": "FLOW"}]}],
    ],
    ids=str,
)
def test_what_is_not_understood_of_a_template_refuses_no_message(components: list[Any]) -> None:
    assert fitted(message({"1": "a"}), TemplateDefinition(name="parcel_ready", components=components)).variables


def test_what_a_message_calls_by_its_full_name_already_stays_as_it_is() -> None:
    given = message({"header_image": IMAGE, "1": "a", "button_0_payload": "STOP", "fallback_message": "x"})
    assert fitted(given, read(definition(body="{{1}}", header="IMAGE", buttons=[REPLY]))) is given


def test_the_full_names_are_put_in_place_of_the_short_ones() -> None:
    row = definition(body="{{who}}", header="Order {{number}}", buttons=[REPLY, URL, CODE])
    given = {"who": "Noa", "number": "7", "button_0": "STOP", "button_1": "t/991", "button_2": "25OFF"}
    assert fitted(message(given), read(row)).variables == {
        "who": "Noa",
        "header:number": "7",
        "button_0_payload": "STOP",
        "button_1": "t/991",
        "button_2_code": "25OFF",
    }


def test_the_places_of_a_template_are_told_by_the_names_of_their_variables() -> None:
    row = definition(body="{{2}} {{1}}", header="IMAGE", buttons=[REPLY, URL, CALL, CODE])
    assert places_of(read(row)).names == ["header", "1", "2", "(button_0)", "button_1", "button_3"]


def test_every_name_that_the_page_gives_to_senders_has_its_meaning() -> None:
    page = (Path(__file__).parents[3] / "deploy" / "SENDING.md").read_text(encoding="utf-8")
    table = page.partition("\n## Templates\n")[2].partition("\n## ")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    names = [name for cell in cells for name in re.findall("`([^`]+)`", cell)]
    assert len(names) > 8
    assert {name for name in names if name in parts_of({name: "a"}).body} == set()


# any template, any variables

NAMES = ("1", "2", "3", "who", "number", "header", "header_image", "header_document", "header_text", "header:number")
BUTTONS = tuple(f"button_{n}{kind}" for n in range(3) for kind in ("", "_url", "_payload", "_code"))
VALUES = st.sampled_from(["a", "7\nlines", "x" * 16, "x" * 70, "x" * 600, IMAGE, PDF, ANY_FILE])
BODIES = st.sampled_from(["plain", "{{1}}", "{{2}} and {{1}}", "{{who}}", "{{who}} {{number}}", "y" * 900 + "{{1}}"])
HEADERS = st.sampled_from([None, "Order", "Order {{1}}", "Order {{number}}", "IMAGE", "VIDEO", "DOCUMENT"])


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    body, header = draw(BODIES), draw(HEADERS)
    form = "NAMED" if "{{who}}" in body or header == "Order {{number}}" else "POSITIONAL"
    if form == "NAMED":
        body, header = body.replace("{{1}}", "{{one}}").replace("{{2}}", "{{two}}"), (header or "").replace("{{1}}", "")
    buttons = draw(st.lists(st.sampled_from([URL, FIXED, REPLY, CODE, CALL]), max_size=3))
    return definition(body=body, header=header or None, buttons=buttons, parameter_format=form)


@settings(max_examples=1500, deadline=None)
@given(rows(), st.dictionaries(st.sampled_from((*NAMES, *BUTTONS, "one", "two", "fallback_message")), VALUES))
def test_a_message_that_fits_is_taken_and_one_whose_names_are_whole_and_that_is_taken_fits(
    row: dict[str, Any], variables: dict[str, str]
) -> None:
    given_ = message(variables)
    if refusal(given_) is not None and "header must end" not in (refusal(given_) or ""):
        return  # no template takes it
    found = why(row, variables)
    if found is not None and refusal(given_) is None:
        assert meta_templates.refusal([row], body_of(given_)) is not None
