"""Whatever CGB answers, every request of either style and every question of a checker of numbers ends in a value, or in
an error that the bus knows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.channel import Channel
from adapters.gate import Gate
from adapters.http import READS, Reply
from adapters.ports import ContactDirectory
from adapters.registry import CHECKERS, DIRECTORIES
from schemas.contacts import ContactDraft, DirectoryContact
from schemas.errors import ChannelDown, FerrymanError, Permanent, Transient, Uncertain
from schemas.phone import Phone

T = TypeVar("T")

PHONE: Final = Phone("+972505550142")
DRAFT: Final = ContactDraft(phone=PHONE, name="Noa", email=None, fields={"OrderNumber": "IL1"})

KEYS: Final = st.sampled_from(
    (
        *("success", "error", "message", "code", "data", "id", "contact_id", "phone", "first_name"),
        *("name", "value", "custom_fields", "cufs", "valid", "contacts", "input", "status"),
    )
)
VALUES: Final = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(["972505550142", "+972505550142", "exists already", "messages", "invalid token", "404", "valid"])
)
JSON: Final = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=12
)
ANSWERS: Final = JSON.map(orjson.dumps) | st.binary(max_size=40) | st.sampled_from([b"", b"<html></html>", b"[" * 9999])
STATUSES: Final = st.sampled_from([200, 200, 200, 201, 204, 301, 400, 401, 403, 404, 409, 422, 429, 500, 502, 503])
HEADERS: Final = st.dictionaries(st.just("Retry-After"), st.sampled_from(["7", "soon", ""]), max_size=1)


class Answering:
    """Stands for a gate, and gives every request the same answers in turn. *wrote*: a write was asked for."""

    def __init__(self, replies: list[Reply]) -> None:
        self._replies = replies
        self._asked = 0
        self.wrote = False
        self.channel = Channel("cgb")

    async def request(self, method: str, url: str, judge: Callable[[Reply], T], **_: Any) -> T:
        self.wrote |= method not in READS
        reply = self._replies[self._asked % len(self._replies)]
        self._asked += 1
        return judge(reply)


CALLS: Final[dict[str, Callable[[ContactDirectory], Awaitable[object]]]] = {
    "find": lambda cgb: cgb.find(PHONE),
    "create": lambda cgb: cgb.create(DRAFT),
    "update": lambda cgb: cgb.update(PHONE.digits, {"OrderNumber": "IL1"}),
    "field_names": lambda cgb: cgb.field_names(),
}
RETURNED: Final[dict[str, tuple[type, ...]]] = {
    "find": (DirectoryContact, type(None)),
    "create": (str,),
    "update": (type(None),),
    "field_names": (frozenset, type(None)),
}


async def outcome(gate: Answering, style: str, verb: str) -> object:
    """What the call returned or raised."""
    cgb = DIRECTORIES[style]()(cast(Gate, gate), base_url="http://cgb.test/api", api_key=lambda: "key", cache_s=60)
    try:
        return await CALLS[verb](cgb)
    except FerrymanError as error:
        return error


@pytest.mark.parametrize("style", list(DIRECTORIES))
@pytest.mark.parametrize("verb", list(CALLS))
@given(replies=st.lists(st.builds(Reply, STATUSES, HEADERS, ANSWERS), min_size=1, max_size=3))
def test_no_answer_is_a_crash(style: str, verb: str, replies: list[Reply]) -> None:
    gate = Answering(replies)
    ended = asyncio.run(outcome(gate, style, verb))
    assert isinstance(ended, (Transient, Uncertain, ChannelDown, Permanent, *RETURNED[verb]))
    assert gate.wrote or not isinstance(ended, Uncertain)
    if isinstance(ended, DirectoryContact):
        assert ended.id
        assert all(isinstance(value, str) for value in ended.fields.values())


@pytest.mark.parametrize("style", list(DIRECTORIES))
@given(reply=st.builds(Reply, st.sampled_from([200, 201]), HEADERS, st.binary(max_size=40)))
def test_bytes_that_are_no_json_make_a_write_uncertain(style: str, reply: Reply) -> None:
    try:
        orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        for verb in ("create", "update"):
            assert isinstance(asyncio.run(outcome(Answering([reply]), style, verb)), Uncertain)


@pytest.mark.parametrize("name", list(CHECKERS))
@given(replies=st.lists(st.builds(Reply, STATUSES, HEADERS, ANSWERS), min_size=1, max_size=2))
def test_no_answer_to_a_checker_is_a_crash_or_leaves_a_doubt(name: str, replies: list[Reply]) -> None:
    gate = cast(Gate, Answering(replies))
    checker = CHECKERS[name]()(gate, base_url="http://checker.test", api_key=lambda: "key")
    try:
        assert asyncio.run(checker.check([PHONE])) in ([True], [False], [None])
    except FerrymanError as error:
        assert not isinstance(error, Uncertain)  # noqa: PT017 - most answers are errors
