"""When what a person writes is understood, and what it says as one: values in, values out."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.buffered_messages import Buffered
from daemon.conversations.clarification.buffering import Pace, as_one, message_of, settles_at
from schemas.conversations import chat_of
from tests.support.conversation import MINUTE, NOW, SECOND, chatwoot_message

PACE = Pace(30 * SECOND, 5 * MINUTE)


def a_message(place: int, text: str | None = "hello", *, came: timedelta = timedelta(0), **given: Any) -> Buffered:
    kept: dict[str, Any] = {"kind": "text", "at": NOW + place * SECOND, **given}
    return Buffered(
        chat="chatwoot:1:42", key=f"chatwoot:{place}", event_id="e", place=place, text=text, came_at=NOW + came, **kept
    )


@pytest.mark.parametrize(
    ("came", "now", "waits", "wanted"),
    [
        ([0], 0, False, 30),
        ([0, 20], 20, False, 50),
        ([0, 100, 290], 290, False, 300),
        ([0], 0, True, 300),
        ([0, 10], 10, True, 300),
    ],
)
def test_silence_ends_what_belongs_together_and_so_does_time(
    came: list[int], now: int, waits: bool, wanted: int
) -> None:
    waiting = [a_message(n, came=at * SECOND, waits_for_text=waits and not n) for n, at in enumerate(came)]
    assert settles_at(waiting, NOW + now * SECOND, PACE) == NOW + wanted * SECOND


@given(order=st.permutations(range(6)))
def test_whatever_the_order_of_arrival_a_text_reads_as_it_was_written(order: list[int]) -> None:
    one = as_one([a_message(n, f"line {n}") for n in order])
    assert one.text == "\n".join(f"line {n}" for n in range(6))
    assert (one.key, one.at, one.first.key) == ("chatwoot:5", NOW + 5 * SECOND, "chatwoot:0")
    assert len(one.keys) == 6


def test_messages_whose_ids_have_no_order_go_by_their_times() -> None:
    made = [a_message(n, f"{n}") for n in range(5)]
    mixed = [Buffered(**{**{name: getattr(m, name) for name in m.__slots__}, "place": 0}) for m in made]
    random.Random(1).shuffle(mixed)
    assert as_one(mixed).text == "0\n1\n2\n3\n4"


def test_a_picture_among_texts_is_what_came() -> None:
    one = as_one([a_message(1, "here it is"), a_message(2, None, kind="image"), a_message(3, "is that better?")])
    assert (one.kind, one.text) == ("image", "here it is\nis that better?")


def test_what_was_tapped_or_replied_to_is_kept() -> None:
    question = UUID(int=7)
    one = as_one([a_message(1, "LinkedIn", choice="linkedin", answers=question), a_message(2, "thanks")])
    assert (one.choice, one.answers) == ("linkedin", question)


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ({}, {"place": 5, "text": "hello", "source_id": None, "waits_for_text": False}),
        ({"received": {"source_id": "wamid.1"}}, {"source_id": "wamid.1"}),
        ({"text": None, "kind": "voice"}, {"text": None, "waits_for_text": True}),
        ({"text": "said", "kind": "voice"}, {"text": "said", "waits_for_text": False}),
        ({"text": "  "}, {"text": None}),
        ({"message_id": "test-message-123"}, {"key": "chatwoot:test-message-123", "place": 0}),
        ({"message_id": None}, {"place": 0}),
        ({"message_id": "9" * 40}, {"place": 0}),
    ],
)
def test_a_message_is_kept_as_it_was_told(told: dict[str, Any], wanted: dict[str, Any]) -> None:
    event = chatwoot_message(5, "hello")
    data = {**event.json(), **told}
    message = message_of(data, event, chat_of(data), NOW)
    assert {name: getattr(message, name) for name in wanted} == wanted
    assert message.key.startswith("chatwoot:")
