"""Whatever Chatwoot answers, a message is taken or ends in an error that the bus knows; no answer is taken for less
than it may mean."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.chatwoot import answers
from adapters.chatwoot.client import judge
from adapters.chatwoot.template_list import Known, read_inbox
from adapters.http import Reply
from schemas.errors import ChannelDown, FerrymanError, Refused, Transient, Uncertain

NOW: Final = datetime(2031, 2, 14, 9, 30, 59, tzinfo=UTC)
WORDS: Final = """
error errors message attributes payload data id inbox_id meta sender messages contact contact_inbox contact_inboxes
inbox source_id phone_number can_reply status last_activity_at created_at content_attributes conversation
message_templates components name language type text format buttons url
"""
KEYS: Final = st.sampled_from(WORDS.split())
VALUES: Final = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(["phone_number", "Too many messages", "Redis", "APPROVED", "BODY", "{{1}}", "+972505550142", "7"])
)
JSON: Final = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=20
)
ANSWERS: Final = JSON.map(orjson.dumps) | st.binary(max_size=40) | st.sampled_from([b"", b"<html></html>", b"[" * 9999])
STATUSES: Final = st.sampled_from([200, 200, 201, 204, 302, 400, 401, 403, 404, 408, 413, 422, 422, 429, 500, 502, 503])
HEADERS: Final = st.dictionaries(st.just("Retry-After"), st.sampled_from(["7", "soon", ""]))
READERS: Final[tuple[Callable[[Any], Any], ...]] = (
    answers.contacts,
    answers.contact_made,
    answers.contactable,
    answers.conversations,
    answers.conversation,
    answers.messages,
    answers.message_made,
    read_inbox,
)


def outcome(reply: Reply, *, write: bool = True, known: bool = True) -> int | FerrymanError:
    """What the answer to a message means."""
    how: dict[str, Any] = {"write": write, "known": known, "creates_message": write}
    try:
        return judge(reply, answers.message_made, private=["parcel"], now=NOW, **how)
    except FerrymanError as error:
        return error


@given(reply=st.builds(Reply, STATUSES, HEADERS, ANSWERS))
@example(reply=Reply(200, {}, b'{"error":"no"}'))
@example(reply=Reply(422, {}, b'{"error":"Error connecting to Redis"}'))
def test_no_answer_is_a_crash_or_hides_that_a_message_may_have_gone(reply: Reply) -> None:
    ended = outcome(reply)
    assert isinstance(ended, (int, Transient, Uncertain, ChannelDown, Refused))
    if isinstance(ended, int):
        assert 200 <= reply.status < 300
        assert ended > 0
    elif 200 <= reply.status < 300 or reply.status >= 500:
        assert isinstance(ended, Uncertain)
    elif reply.status != 422:
        assert not isinstance(ended, Uncertain)
    if isinstance(ended, Transient) and ended.retry_after_s is not None:
        assert 0 <= ended.retry_after_s <= 3600


@given(reply=st.builds(Reply, STATUSES, HEADERS, ANSWERS), known=st.booleans())
def test_what_changes_nothing_is_never_uncertain(reply: Reply, known: bool) -> None:
    assert not isinstance(outcome(reply, write=False, known=known), Uncertain)


@given(data=JSON, read=st.sampled_from(READERS))
def test_no_shape_of_an_answer_is_a_crash(data: Any, read: Callable[[Any], Any]) -> None:
    found = read(data)
    assert found is None or isinstance(found, list | int | tuple | answers.Contact | answers.Conversation | Known)


def test_a_rate_is_waited_for_until_the_next_minute_of_the_clock() -> None:
    limited = outcome(Reply(429, {}, b"Retry later\n"))
    assert isinstance(limited, Transient)
    assert (limited.limited, limited.retry_after_s) == (True, 2.0)
    told = outcome(Reply(429, {"Retry-After": "7"}, b"Retry later\n"))
    assert isinstance(told, Transient)
    assert told.retry_after_s == 7.0
