"""The demonstration notices what its conversation lacks, and what is there twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres.operator.demo_conversation import KeptMessage
from daemon.conversations.clarification.hearing import ANSWER
from daemon.demo.chat import ACTS, ATTRIBUTES, LABELS, ORDERED, Held
from daemon.demo.chat_judging import judged
from daemon.sandbox.chatwoot_account import INBOX_ID, Contact, Conversation, Message

BODY = b'{"text": "invented"}'
PHONE = "+12025550143"
LOST, NOTE, VOICE, ORDER, TAP = range(5)


def held(tmp_path: Path) -> Held:
    """A conversation that took its course."""
    file = tmp_path / "an object"
    file.write_bytes(BODY)
    contact = Contact(id=1, phone_number=PHONE, custom_attributes=dict(ATTRIBUTES))
    talk = Conversation(id=1, contact=contact, inbox_id=INBOX_ID, address=PHONE[1:], labels=list(LABELS))
    mine = []
    for act in ACTS:
        mine.append(message(len(talk.messages), act.text, 0))
        talk.messages.append(mine[-1])
        asked = sum(one.message_type for one in talk.messages)
        for n in range(asked + 1, act.answered + 1):
            talk.messages.append(message(len(talk.messages), f"question {n}", 1))
    return Held(
        talk=talk,
        mine=mine,
        answered=[act.answered for act in ACTS],
        kept=[kept(act.kind, act.text, file) for act in ACTS],
        orders=[{**ORDERED, "original_content": "Write a post"}],
        swept=1,
        sends={f"ours-{n}": 1 for n in range(ACTS[-1].answered)},
    )


def message(id: int, text: str, type: int) -> Message:
    return Message(id=id, content=text, message_type=type, content_type="text", content_attributes={})


def kept(kind: str, text: str, file: Path) -> KeptMessage:
    intent, why = ("ORDER", "words") if kind == "order" else ("NOTE", ANSWER if kind in ("tap", "correction") else "-")
    return KeptMessage(
        rows=1,
        status="stored",
        content=text,
        object_at=file.as_uri(),
        sha256=sha256(BODY).hexdigest(),
        intent=intent,
        why=why,
        voice="completed" if kind == "voice" else None,
        files=(1, 1) if kind == "voice" else (0, 0),
    )


async def test_a_conversation_that_took_its_course_is_sound(tmp_path: Path) -> None:
    assert await judged(held(tmp_path)) == []


def spoil_kept(at: int, **changed: Any) -> Callable[[Held], None]:
    def spoil(one: Held) -> None:
        found = one.kept[at]
        assert found is not None
        one.kept[at] = replace(found, **changed)

    return spoil


def lose(one: Held) -> None:
    one.kept[NOTE] = None


def answer_a_note(one: Held) -> None:
    one.answered[NOTE] = 1


def ask_again(one: Held) -> None:
    one.talk.messages.append(message(99, "question 1", 1))


def ask_twice(one: Held) -> None:
    one.bots[1].content = one.bots[0].content


def send_twice(one: Held) -> None:
    one.sends = {**one.sends, "ours-0": 2}


def order_twice(one: Held) -> None:
    one.orders *= 2


def forget_the_correction(one: Held) -> None:
    one.orders = [{**ORDERED, "platform": "linkedin"}]


def forget_a_label(one: Held) -> None:
    one.talk.labels.remove(LABELS[0])


def keep_two_stages(one: Held) -> None:
    one.talk.labels.append("journey-first-contact")


def forget_the_attributes(one: Held) -> None:
    one.talk.contact.custom_attributes.clear()


def sweep_in_vain(one: Held) -> None:
    one.swept = 0


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lose, "nothing was kept of it"),
        (spoil_kept(NOTE, rows=2), "it has 2 rows"),
        (spoil_kept(NOTE, status="error"), "with the state error"),
        (spoil_kept(NOTE, content="something else"), "its text was kept as"),
        (spoil_kept(NOTE, intent="ORDER"), "understood as ORDER"),
        (spoil_kept(ORDER, intent="NOTE"), "understood as NOTE"),
        (spoil_kept(TAP, why="no words of a rule"), "understood as NOTE (no words of a rule)"),
        (spoil_kept(VOICE, voice="error"), "its voice note is error"),
        (spoil_kept(VOICE, files=(0, 1)), "0 of its 1 files are stored"),
        (spoil_kept(NOTE, sha256="0" * 64), "its object is not what its row says"),
        (spoil_kept(NOTE, object_at="file:///nowhere/at/all"), "its object is not what its row says"),
        (spoil_kept(NOTE, object_at=None), "its object is not what its row says"),
        (answer_a_note, "the bot had written 1 messages, and not 0"),
        (ask_again, "the bot has written 5 messages"),
        (ask_twice, "a question was asked twice"),
        (send_twice, "a message of the bot was sent twice"),
        (order_twice, "the orders are"),
        (forget_the_correction, "the orders are"),
        (forget_a_label, "the labels are"),
        (keep_two_stages, "the labels are"),
        (forget_the_attributes, "the attributes are {}"),
        (sweep_in_vain, "the sweep has found 0 messages"),
    ],
)
async def test_what_is_missing_or_doubled_is_told(tmp_path: Path, spoil: Callable[[Held], None], told: str) -> None:
    one = held(tmp_path)
    spoil(one)
    wrong = await judged(one)
    assert any(told in text for text in wrong), wrong
