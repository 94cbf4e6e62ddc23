"""What a file for `--edit` may hold: the new data, or the document that `show --json` printed."""

from __future__ import annotations

import pytest

from daemon.operator.edits import OtherDocument, new_data

OF = {"number": 3, "event_id": "e"}


@pytest.mark.parametrize(
    "file", [b'{"form": {}, "order": {}}', b'{"data": 1}', b'{"number": 3, "data": 1}', b"a=b", b"[1]", b""]
)
def test_a_file_that_is_no_document_of_ours_is_the_data(file: bytes) -> None:
    assert new_data(file, OF, "data") == file


def test_of_a_document_the_data_count_whether_they_are_json_or_text() -> None:
    assert new_data(b'{"number": 3, "event_id": "e", "data": {"n": 2}}', OF, "data") == b'{"n":2}'
    assert new_data(b'{"number": 3, "event_id": "e", "data": "a=b"}', OF, "data") == b"a=b"


def test_the_document_of_something_else_is_refused() -> None:
    with pytest.raises(OtherDocument, match="another one"):
        new_data(b'{"number": 4, "event_id": "e", "data": {}}', OF, "data")


def test_the_document_of_an_event_is_refused_and_says_which_one_to_take() -> None:
    event = b'{"id": "e", "type": "order.received", "source": "orders", "endings": [], "data": {"order": {"id": "A"}}}'
    with pytest.raises(OtherDocument, match="`events show --json` prints"):
        new_data(event, OF, "data")
