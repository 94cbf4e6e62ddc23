"""What is wrong with a request is told in plain words, by its place, and never with its value."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from schemas.api.messages import JobIn, MessageIn
from schemas.api.queries import MessageQuery
from schemas.api.wrong import told

TO = "+972505550142"


def wrong(model: type[BaseModel], given: Any, names_of: Any = None) -> str:
    with pytest.raises(ValidationError) as found:
        model.model_validate(given)
    return told(found.value, names_of)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"to": TO, "text": "hi", "txt": "secret"}, "txt is not known here"),
        ({"text": "hi"}, "to is missing"),
        ({"to": TO}, "give exactly one of "),
        ({"to": TO, "text": ""}, "text is empty"),
        ({"to": TO, "text": "x" * 4097}, "text has more than 4096 characters"),
        ({"to": TO, "text": 7}, "text must be a text"),
        ({"to": TO, "template": "t"}, "template must be an object"),
        ({"to": TO, "text": "hi", "provider": "telex"}, "provider must be one of meta, twilio, whapi, cgb, chatwoot"),
        ({"to": TO, "media": {"url": "visa.pdf", "type": "document"}}, "media.url must be an address that begins with"),
        ({"to": TO, "media": {"url": "https://example.com/a"}}, "media.type is missing"),
        ({"to": TO, "choices": {"text": "?", "items": []}}, "choices.items is empty"),
        ({"to": TO, "text": "hi", "not_before": "2031-02-14T09:00:00"}, "not_before lacks its offset"),
        ({"to": TO, "text": "hi", "not_before": "0001-01-01T00:00:00Z"}, "not_before: the year must be"),
        ({"to": TO, "text": "hi", "not_before": "soon"}, "not_before must be a time, as 2031"),
        ([], "must be an object"),
    ],
)
def test_a_message_that_is_no_message(given: Any, said: str) -> None:
    found = wrong(MessageIn, given)
    assert said in found
    assert not any(word in found for word in ("Input should", "Field required", "Value error", "secret"))


def test_a_name_that_may_be_of_two_lists_is_told_with_all_of_them_once() -> None:
    found = wrong(MessageQuery, {"status": "lost"})
    assert found.startswith("status must be one of queued, sending, ")
    assert found.endswith("canceled, received")


def test_it_is_told_by_the_names_of_where_it_was_typed() -> None:
    given = {"to": TO, "media": {"url": "visa.pdf", "type": "pdf"}}
    found = wrong(MessageIn, given, {"media.url": "URL", "media.type": "--type"})
    assert found.startswith("URL must be an address")
    assert "; --type must be one of image, " in found


def test_an_older_program_is_told_the_names_of_its_own_shape() -> None:
    assert wrong(JobIn, {"to": TO}) == "give exactly one of message, template, fileUrl"


def test_at_most_five_faults_are_told() -> None:
    assert wrong(MessageIn, {"to": TO, "text": "hi"} | {f"x{n}": 1 for n in range(9)}).count(";") == 4
