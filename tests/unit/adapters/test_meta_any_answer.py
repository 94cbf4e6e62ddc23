"""Whatever Meta answers, a message is taken or ends in an error that the bus knows; no answer is taken for less than it
may mean."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.http import Reply
from adapters.meta.client import judge, taken
from schemas.errors import ChannelDown, FerrymanError, Refused, Transient, Uncertain
from schemas.messages import Taken
from schemas.webhooks.meta_codes import CODES

NOW: Final = datetime(2031, 2, 14, 9, 30, tzinfo=UTC)
KNOWN: Final = st.sampled_from(list(CODES))
KEYS: Final = st.sampled_from(
    ["error", "code", "message", "error_data", "details", "error_subcode", "messages", "contacts", "id", "wa_id"]
)
VALUES: Final = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | KNOWN
)
JSON: Final = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=12
)
FAILURES: Final = st.builds(lambda code, more: {"error": {**more, "code": code}}, KNOWN, st.dictionaries(KEYS, VALUES))
ANSWERS: Final = (
    (JSON | FAILURES).map(orjson.dumps) | st.binary(max_size=40) | st.sampled_from([b"", b"<html></html>", b"[" * 9999])
)
STATUSES: Final = st.sampled_from([200, 200, 201, 204, 302, 400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504])
HEADERS: Final = st.dictionaries(
    st.sampled_from(["Retry-After", "X-Business-Use-Case-Usage"]),
    st.sampled_from(["7", "soon", "", "{}", '{"1":[{"estimated_time_to_regain_access":1e300}]}', "[[]]"]),
)


def outcome(reply: Reply, *, write: bool = True) -> Taken | FerrymanError:
    """What the answer to a message means."""
    try:
        found: Taken = judge(reply, taken, channel="meta", write=write, private=["parcel"], now=NOW)
        return found
    except FerrymanError as error:
        return error


@given(reply=st.builds(Reply, STATUSES, HEADERS, ANSWERS))
@example(reply=Reply(500, {}, b'{"error":{"code":1}}'))
@example(reply=Reply(200, {}, b'{"error":{"code":1}}'))
def test_no_answer_is_a_crash_or_hides_that_a_message_may_have_gone(reply: Reply) -> None:
    ended = outcome(reply)
    assert isinstance(ended, (Taken, Transient, Uncertain, ChannelDown, Refused))
    if isinstance(ended, Taken):
        assert 200 <= reply.status < 300
        assert ended.provider_id
    elif not _names_a_code(reply.body):
        assert isinstance(ended, Uncertain) is (200 <= reply.status < 300 or reply.status >= 500)
    if isinstance(ended, Transient) and ended.retry_after_s is not None:
        assert 0 <= ended.retry_after_s <= 86_400


@given(reply=st.builds(Reply, STATUSES, HEADERS, ANSWERS))
def test_what_changes_nothing_is_never_uncertain(reply: Reply) -> None:
    assert not isinstance(outcome(reply, write=False), Uncertain)


def _names_a_code(body: bytes) -> bool:
    """Whether an answer says in Meta's own words that it is a failure."""
    try:
        data: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(data, dict) and isinstance(data.get("error"), dict)
