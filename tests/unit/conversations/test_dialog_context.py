"""What a conversation remembers of its dialog goes to JSON and back, and no document breaks it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.conversations.dialogs.context import Asked, Context, Past, Waiting
from daemon.conversations.dialogs.dialog import Said, begin, due, heard, matches_open_question, paused, resumed
from tests.support.dialogs import CHAT, RULES, START, Talk

names = st.from_regex(r"[a-z_]{1,20}", fullmatch=True)
values = st.text(st.characters(categories=["L", "N", "S"]), min_size=1, max_size=30)
counts = st.integers(0, 2**31 - 1)
times = st.datetimes(datetime(2000, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
params = st.dictionaries(names, values, max_size=5)
keys = st.from_regex(r"[a-z]{3,8}:[0-9A-Za-z.=]{1,40}", fullmatch=True)
contexts = st.builds(
    Context,
    clarifying=st.none() | names,
    params=params,
    sender_id=st.none() | names,
    account_id=st.none() | names,
    created_at=st.none() | times,
    dialog=names,
    dialog_id=st.uuids(),
    language=st.none() | st.sampled_from(["en", "he"]),
    asked=st.lists(
        st.builds(Asked, st.uuids(), names, counts, st.lists(st.tuples(values, names), max_size=3).map(tuple)),
        max_size=3,
    ).map(tuple),
    number=counts,
    since=st.none() | times,
    reminded=st.booleans(),
    wrong=counts,
    paused_until=st.none() | times,
    handled=st.lists(keys, max_size=5).map(tuple),
    past=st.lists(st.builds(Past, st.uuids(), counts), max_size=3).map(tuple),
    waiting=st.lists(
        st.builds(
            Waiting, names, st.uuids(), params.map(lambda told: tuple(told.items())), st.sampled_from([None, "pt"])
        ),
        max_size=3,
    ).map(tuple),
    version=counts,
)


@given(contexts)
def test_a_context_is_the_same_after_it_was_stored(context: Context) -> None:
    assert Context.from_json(json.loads(json.dumps(context.to_json()))) == context
    over = context.over()
    assert Context.from_json(json.loads(json.dumps(over.to_json()))) == over
    assert not over.is_open
    assert "clarifyingField" not in over.to_json()


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.uuids().map(str)
    | times.map(str),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*Talk().context.to_json(), "dialog", "dialogId", "id", "field", "options", "params"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
KEYS = (
    "clarifyingField",
    "orderParams",
    "senderId",
    "accountId",
    "createdAt",
    "dialog",
    "dialogId",
    "language",
    "asked",
    "number",
    "since",
    "reminded",
    "wrong",
    "pausedUntil",
    "handled",
    "past",
    "waiting",
    "version",
)


@given(ODD | st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, ODD)))
def test_no_document_breaks_it(told: Any) -> None:
    context = Context.from_json(told)
    assert Context.from_json(json.loads(json.dumps(context.to_json()))) == context


@given(
    st.fixed_dictionaries(
        {"dialog": st.sampled_from(["content_order", "applicant_issue", "gone"]), "dialogId": st.uuids().map(str)},
        optional={
            **{key: ODD for key in KEYS if key not in ("dialog", "dialogId")},
            "clarifyingField": st.sampled_from(["platform", "topic", "face_photo", "gone"]) | ODD,
            "orderParams": st.dictionaries(st.sampled_from(["platform", "topic", "categories"]), values) | ODD,
        },
    ),
    st.sampled_from(["LinkedIn", "2", "cancel", "something else", "restart", "change tone", ""]) | st.text(max_size=40),
)
def test_whatever_was_stored_every_step_can_be_made(told: Any, text: str) -> None:
    context = Context.from_json(told)
    said = Said(text=text, at=START, message_key="chatwoot:1", answers=uuid4())
    matches_open_question(RULES, context, said)
    for at in (START, START.replace(year=9999)):
        due(RULES, context, CHAT, at)
    steps = [
        heard(RULES, context, CHAT, said, START),
        due(RULES, context, CHAT, START),
        paused(RULES, context, CHAT, START + timedelta(minutes=30), START),
        resumed(RULES, context, CHAT, START),
        begin(RULES, "content_order", CHAT, {}, context, "en", START, message_key="chatwoot:2"),
    ]
    for step in steps:
        assert len(step.asks) <= 1
        assert Context.from_json(json.loads(json.dumps(step.context.to_json()))) == step.context


@pytest.mark.parametrize(
    "told",
    [None, 5, "text", [], {}, {"campaign": "spring"}, {"clarifyingField": "platform"}, {"dialog": "content_order"}],
)
def test_a_foreign_document_is_an_empty_context(told: object) -> None:
    assert Context.from_json(told) == Context()
    assert Context().to_json() == {}


def test_the_keys_of_the_seed_are_kept() -> None:
    talk = Talk()
    talk.begin({"platform": "blog"}, sender_id="123", account_id="789")
    stored = talk.context.to_json()
    assert {
        name: stored[name] for name in ("clarifyingField", "orderParams", "senderId", "accountId", "createdAt")
    } == {
        "clarifyingField": "length",
        "orderParams": {"platform": "blog"},
        "senderId": "123",
        "accountId": "789",
        "createdAt": "2031-02-14T09:00:00+00:00",
    }


def test_what_is_remembered_is_bounded() -> None:
    talk = Talk()
    for _ in range(30):
        talk.begin()
        for _ in range(3):
            talk.say("change length")
            talk.say("change tone")
        talk.say("cancel")
    size = len(json.dumps(talk.context.to_json()))
    talk.begin()
    for _ in range(50):
        talk.say("change length")
        talk.say("change tone")
    assert len(talk.asks) == 30 * 8 + 101
    talk.say("Short", answers=talk.question("length", 0))
    assert talk.params == {"length": "short"}
    assert len(json.dumps(talk.context.to_json())) < size + 12_000
