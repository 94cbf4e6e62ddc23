"""Dialogs on a real Postgres: from an order over its questions to its row, each question once."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from adapters.postgres import buffered_messages, conversations, messages
from adapters.postgres.pool import Pool
from daemon.bus.outcome import Done, Turn
from daemon.conversations.clarification.answering import NoWay
from daemon.conversations.clarification.buffering import Pace
from daemon.conversations.clarification.clarification import buried
from schemas.conversations import chat_of
from schemas.envelope import Event
from schemas.errors import Permanent
from tests.support.conversation import (
    AT_ONCE,
    CHAT,
    CONVERSATION,
    E164,
    MINUTE,
    NOW,
    ORDER,
    SECOND,
    USUAL,
    an_event,
    changed,
    chatwoot_message,
    clock,
    context,
    decided,
    deps_of,
    handled,
    orders,
    questions,
    recorded,
    sent,
)

GOES_FIRST = ["cgb", "meta", "chatwoot"]
ANSWERS = ["LinkedIn", "Short", "Professional", "Trends"]


async def test_an_order_is_asked_for_what_it_lacks_and_becomes_a_row(db: Pool) -> None:
    deps = deps_of(db)
    end, (asked,) = await handled(db, chatwoot_message(1, ORDER), deps)
    assert (end, asked.type, asked.subject) == ("done", "message.requested", E164)
    (first,) = await questions(db)
    assert first["content"]["text"] == "📱 Which platform would you like content for?"
    assert [one["title"] for one in first["content"]["items"]] == ["LinkedIn", "Instagram", "Twitter", "Blog"]
    assert first["purpose"] == "dialog:content_order"
    opened = await context(db)
    assert opened["clarifyingField"] == "platform"
    assert (opened["senderId"], opened["accountId"]) == ("77", "1")
    for n, text in enumerate(ANSWERS, 2):
        await sent(db)
        _, emitted = await handled(db, chatwoot_message(n, text, at=NOW + n * SECOND), deps)
    assert [event.type for event in emitted] == ["content_order.completed", "message.requested"]
    (order,) = await orders(db)
    params = order["params"]
    assert {name: params[name] for name in ("platform", "length", "tone", "topic")} == {
        "platform": "linkedin",
        "length": "short",
        "tone": "professional",
        "topic": "trends",
    }
    assert params["original_content"] == ORDER
    assert params["context"] == {
        "chatwoot_message_id": "1",
        "contact_id": "77",
        "sender_name": "Noa",
        "created_at": NOW.isoformat(),
    }
    assert (order["chatwoot_conversation_id"], order["phone"], order["provider"]) == (42, E164, "chatwoot")
    assert emitted[0].json()["order_id"] == str(order["id"])
    closed = await context(db)
    assert "clarifyingField" not in closed
    assert "origins" not in closed
    assert len(await questions(db)) == 5, "four questions and one confirmation"
    (row,) = await db.fetch("SELECT message_count, phone, name FROM conversations")
    assert tuple(row) == (5, E164, "Noa")


async def test_whatever_comes_again_changes_nothing(db: Pool) -> None:
    deps, events = deps_of(db), [chatwoot_message(1, ORDER)]
    events += [chatwoot_message(n, text, at=NOW + n * SECOND) for n, text in enumerate(ANSWERS, 2)]
    for event in events:
        await handled(db, event, deps)
        for again in (event, event._replace(id="another", replayid="clarification:1")):
            assert await handled(db, again, deps) == ("known already", [])
    assert len(await questions(db)) == 5
    assert len(await orders(db)) == 1
    assert await db.fetchval("SELECT message_count FROM conversations") == 5


async def test_of_two_that_decide_by_the_same_context_one_counts_and_the_other_is_heard_after_it(db: Pool) -> None:
    deps = deps_of(db)
    await handled(db, chatwoot_message(1, ORDER), deps)
    both = [await decided(db, chatwoot_message(n, text), deps) for n, text in ((2, "LinkedIn"), (3, "Short"))]
    emitted = [await recorded(db, one) for one in both]
    assert [len(one) for one in emitted] == [1, 0], "the second had read the first question as the open one"
    assert (await context(db))["clarifyingField"] == "length"
    (asked,) = await clock(db, deps, NOW + SECOND)
    assert asked.type == "message.requested"
    assert (await context(db))["clarifyingField"] == "tone"
    assert len(await questions(db)) == 3


async def test_a_note_is_silent(db: Pool) -> None:
    assert await handled(db, chatwoot_message(1, "Met the supplier today"), deps_of(db)) == ("done", [])
    (row,) = await db.fetch("SELECT intent, intent_confidence, understood_at IS NULL FROM buffered_messages")
    assert (row[0], round(row[1], 2), row[2]) == ("NOTE", 0.7, False)


async def test_what_comes_close_together_is_understood_as_one_in_the_order_of_the_chat(db: Pool) -> None:
    deps = deps_of(db, pace=USUAL)
    texts = {3: "for LinkedIn", 1: "Hello", 4: "short and professional", 2: ORDER}
    for n, (id, text) in enumerate(texts.items()):
        assert await handled(db, chatwoot_message(id, text, at=NOW + n * SECOND), deps) == ("done", [])
    assert await clock(db, deps, NOW + 32 * SECOND) == [], "the last one came three seconds after the first"
    (asked,) = await clock(db, deps, NOW + 33 * SECOND)
    assert asked.type == "message.requested"
    (question,) = await questions(db)
    assert (await context(db))["origins"][(await context(db))["dialogId"]]["original_content"] == "\n".join(
        texts[id] for id in sorted(texts)
    )
    assert question["content"]["items"]
    assert await clock(db, deps, NOW + 5 * MINUTE) == []


async def test_who_never_stops_writing_is_understood_after_five_minutes(db: Pool) -> None:
    deps = deps_of(db, pace=USUAL)
    for n in range(30):
        at = NOW + n * 10 * SECOND
        await handled(db, chatwoot_message(n + 1, f"{ORDER} {n}", at=at), deps)
        assert await clock(db, deps, at + 9 * SECOND) == []
    (asked,) = await clock(db, deps, NOW + 300 * SECOND)
    assert asked.type == "message.requested"


async def test_an_answer_waits_for_nothing(db: Pool) -> None:
    deps = deps_of(db, pace=USUAL)
    await handled(db, chatwoot_message(1, ORDER), deps)
    await clock(db, deps, NOW + 30 * SECOND)
    await sent(db, ["900"])
    await handled(db, chatwoot_message(2, "wait, let me think about that for a while", at=NOW + MINUTE), deps)
    _, emitted = await handled(db, chatwoot_message(3, "linkedin", at=NOW + MINUTE, reply_to="900"), deps)
    assert [event.type for event in emitted] == ["message.requested"]
    assert (await context(db))["orderParams"] == {"platform": "linkedin"}
    assert await clock(db, deps, NOW + 5 * MINUTE) == [], "what was written before it was said beside it"


async def test_a_voice_note_is_waited_for_and_its_text_begins_a_dialog(db: Pool) -> None:
    deps = deps_of(db, pace=USUAL)
    await handled(db, chatwoot_message(1, None, kind="voice"), deps)
    assert await clock(db, deps, NOW + 2 * MINUTE) == []
    told = an_event("message.transcribed", NOW + 2 * MINUTE, message_key="chatwoot:1", text=ORDER, status="completed")
    assert await handled(db, told, deps) == ("done", [])
    (asked,) = await clock(db, deps, NOW + 150 * SECOND)
    assert asked.type == "message.requested"


@pytest.mark.parametrize("first", ["the text", "the message"])
async def test_a_text_that_comes_before_its_voice_note_or_long_after_it_counts(db: Pool, first: str) -> None:
    deps = deps_of(db, pace=USUAL)
    voice = chatwoot_message(1, None, kind="voice")
    told = an_event("message.transcribed", NOW + 9 * MINUTE, message_key="chatwoot:1", text=ORDER, status="completed")
    if first == "the text":
        await handled(db, told, deps, NOW)
        assert (await handled(db, voice, deps))[0] == "done"
    else:
        await handled(db, voice, deps)
        assert await clock(db, deps, NOW + 5 * MINUTE) == []
        await handled(db, told, deps)
    (asked,) = await clock(db, deps, NOW + 10 * MINUTE)
    assert asked.type == "message.requested"


async def test_while_an_agent_talks_the_bot_is_silent_and_no_answer_is_lost(db: Pool) -> None:
    deps = deps_of(db)
    await handled(db, chatwoot_message(1, ORDER), deps)
    await sent(db)
    at = NOW + MINUTE
    assert await handled(db, changed("agent_replied", at), deps) == ("done", [])
    assert await handled(db, chatwoot_message(2, "LinkedIn", at=at + SECOND), deps) == ("done", [])
    assert await handled(db, chatwoot_message(3, "thanks, that helps me a lot", at=at + MINUTE), deps) == ("done", [])
    assert await clock(db, deps, at + 29 * MINUTE) == []
    (asked,) = await clock(db, deps, at + 30 * MINUTE)
    assert asked.json()["content"]["text"].startswith("📏") or asked.json()["content"]["items"][0]["value"] == "short"
    assert len(await questions(db)) == 2


async def test_a_conversation_that_is_resolved_lets_the_bot_go_on(db: Pool) -> None:
    deps = deps_of(db)
    await handled(db, chatwoot_message(1, ORDER), deps)
    await sent(db)
    await handled(db, changed("agent_replied", NOW + MINUTE), deps)
    _, (asked,) = await handled(db, changed("status", NOW + 2 * MINUTE, status="resolved"), deps)
    assert asked.type == "message.requested"
    first, second = await questions(db)
    assert first["content"] == second["content"]
    assert await handled(db, changed("status", NOW + 3 * MINUTE, status="resolved"), deps) == ("done", [])


async def test_a_question_belongs_to_the_conversation_in_which_it_is_asked(db: Pool) -> None:
    deps = deps_of(db)
    other = {"account": "1", "id": "43", "inbox": "1"}
    for id, text, conversation in ((1, ORDER, CONVERSATION), (2, "LinkedIn", other)):
        at = NOW + id * MINUTE
        _, (asked,) = await handled(db, chatwoot_message(id, text, at=at, conversation=conversation), deps)
        message_id = UUID(asked.json()["message_id"])
        assert (
            str(await db.fetchval("SELECT conversation FROM messages WHERE id = $1", message_id)) == conversation["id"]
        )
        (state,) = await messages.states(db, [messages.Asked(message_id, E164, "chatwoot")])
        assert state.conversation == int(conversation["id"])


async def test_the_newest_labels_are_kept_whatever_comes_late(db: Pool) -> None:
    deps = deps_of(db)

    async def kept() -> object:
        return await db.fetchval("SELECT labels FROM conversations")

    await handled(db, changed("updated", NOW + MINUTE, labels=["hot-lead", "interest-audi"]), deps)
    assert await kept() == ["hot-lead", "interest-audi"]
    await handled(db, changed("updated", NOW, labels=["cold-lead"]), deps)
    await handled(db, changed("agent_replied", NOW + 2 * MINUTE, labels=None), deps)
    assert await kept() == ["hot-lead", "interest-audi"]
    await handled(db, changed("updated", NOW + MINUTE, labels=[]), deps)
    assert await kept() == []


async def test_a_reply_of_an_agent_is_kept_once_by_its_time(db: Pool) -> None:
    deps, told = deps_of(db), changed("agent_replied", NOW)
    for _ in range(2):
        await handled(db, told, deps)
    rows = await db.fetch("SELECT chat, at FROM agent_replies")
    assert [tuple(row) for row in rows] == [(chat_of(told.json()).key, NOW)]


async def test_what_is_replayed_of_an_agent_asks_nothing_again(db: Pool) -> None:
    """Promise: `replay --worker clarification` sends nobody what they have been sent."""
    deps = deps_of(db)
    await handled(db, chatwoot_message(1, ORDER), deps)
    await sent(db)
    spoke = changed("agent_replied", NOW + MINUTE)
    resolved = changed("status", NOW + 2 * MINUTE, status="resolved")
    await handled(db, spoke, deps)
    await handled(db, resolved, deps)
    assert len(await questions(db)) == 2
    await db.execute("DELETE FROM inbox")
    for event in (spoke, resolved):
        assert await handled(db, event, deps, NOW + 3 * MINUTE) == ("done", [])
    assert "pausedUntil" not in await context(db)
    assert len(await questions(db)) == 2


async def test_a_webhook_that_comes_late_ends_no_pause(db: Pool) -> None:
    deps = deps_of(db)
    await handled(db, chatwoot_message(1, ORDER), deps)
    await sent(db)
    await handled(db, changed("agent_replied", NOW + 2 * MINUTE, contact_id="1:"), deps)
    old = changed("status", NOW + MINUTE, status="resolved")
    assert await handled(db, old, deps, NOW + 3 * MINUTE) == ("done", [])
    assert "pausedUntil" in await context(db)
    (row,) = await db.fetch("SELECT status, contact_ref FROM conversations")
    assert tuple(row) == ("resolved", "1:77")


async def test_an_agent_who_is_assigned_and_silent_stops_nothing(db: Pool) -> None:
    deps = deps_of(db)
    await handled(db, changed("updated", assignee=True, status="open"), deps)
    _, (asked,) = await handled(db, chatwoot_message(1, ORDER, at=NOW + SECOND), deps)
    assert asked.type == "message.requested"


async def test_a_question_that_never_went_out_is_asked_again_when_its_person_writes(db: Pool) -> None:
    deps = deps_of(db)
    await handled(db, chatwoot_message(1, ORDER), deps)
    await db.execute("UPDATE messages SET status = 'skipped', error = 'window'")
    _, (asked,) = await handled(db, chatwoot_message(2, "Good morning, are you there?", at=NOW + MINUTE), deps)
    first, second = await questions(db)
    assert first["content"] == second["content"]
    assert asked.json()["message_id"] == str(second["id"]) != str(first["id"])
    await sent(db)
    await handled(db, chatwoot_message(3, "Twitter", at=NOW + 2 * MINUTE), deps)
    assert (await context(db))["orderParams"] == {"platform": "twitter"}


async def test_wrong_answers_are_asked_again_twice_and_then_a_person_goes_on(db: Pool) -> None:
    deps = deps_of(db)
    await handled(db, chatwoot_message(1, ORDER), deps)
    ends: list[list[Event]] = []
    for n in range(2, 5):
        await sent(db)
        ends.append((await handled(db, chatwoot_message(n, "9", at=NOW + n * SECOND), deps))[1])
    assert [[event.type for event in end] for end in ends] == [
        ["message.requested"],
        ["message.requested"],
        ["conversation.escalated", "message.requested"],
    ]
    handed = ends[-1][0].json()
    assert handed["conversation"] == {"account": "1", "id": "42", "inbox": "1"}
    assert (handed["chat"], handed["system"], handed["phone"], handed["why"]) == (
        CHAT,
        "chatwoot",
        E164,
        "wrong answers",
    )
    assert "clarifyingField" not in await context(db)
    (row,) = await db.fetch("SELECT escalated_at, escalated_why FROM conversations")
    assert (row[0] is not None, row[1]) == (True, "wrong answers")
    assert await handled(db, chatwoot_message(6, ORDER, at=NOW + MINUTE), deps) == ("done", []), "an agent's turn"
    before = changed("status", NOW - MINUTE, status="resolved")  # as a replay brings it
    assert await handled(db, before._replace(time=NOW - MINUTE), deps) == ("done", [])
    assert await db.fetchval("SELECT escalated_at FROM conversations") is not None
    await handled(db, changed("status", NOW + 2 * MINUTE, status="resolved"), deps)
    assert await db.fetchval("SELECT escalated_at FROM conversations") is None


async def test_who_cannot_be_answered_is_handed_to_a_person_once(db: Pool) -> None:
    deps = deps_of(db, way=NoWay("the person has no phone number"))
    _, emitted = await handled(db, chatwoot_message(1, ORDER, phone=None), deps)
    assert [event.type for event in emitted] == ["conversation.escalated"]
    assert emitted[0].json()["note"] == "the person has no phone number"
    assert await handled(db, chatwoot_message(2, ORDER, phone=None), deps) == ("done", [])
    assert await questions(db) == []
    assert await context(db) == {}


@pytest.mark.parametrize(("word", "stopped"), [("cancel", False), ("STOP", True)])
async def test_a_word_that_ends_a_dialog_takes_no_other_messages_from_its_person(
    db: Pool, word: str, stopped: bool
) -> None:
    deps = deps_of(db)
    await handled(db, chatwoot_message(1, ORDER), deps)
    _, emitted = await handled(db, chatwoot_message(2, word, at=NOW + SECOND), deps)
    assert "clarifyingField" not in await context(db)
    assert [event.type for event in emitted] == ([] if stopped else ["message.requested"])
    kept = await db.fetch("SELECT opted_out, at > $1 FROM opt_outs", NOW + SECOND)
    assert [tuple(row) for row in kept] == ([] if stopped else [(False, True)])


async def test_tests_and_what_says_nothing_are_left_alone(db: Pool) -> None:
    deps = deps_of(db)
    for event, why in (
        (chatwoot_message(1, ORDER, contact_id="x-TEST"), "test contact"),
        (chatwoot_message(2, None, kind="reaction"), "nothing said"),
    ):
        assert await handled(db, event, deps, NOW) == (why, [])
    assert await db.fetchval("SELECT count(*) FROM conversations") == 0


async def test_what_is_too_old_is_not_understood_and_its_conversation_can_be_looked_at(db: Pool) -> None:
    deps, old = deps_of(db), chatwoot_message(3, ORDER, at=NOW - timedelta(days=31))
    for _ in range(2):
        assert await handled(db, old, deps, NOW) == ("too old", [])
    (row,) = await db.fetch("SELECT phone, message_count, settles_at FROM conversations")
    assert tuple(row) == (E164, 0, None)


async def test_a_report_asks_for_the_right_photo_in_the_conversation_of_its_person(db: Pool) -> None:
    deps = deps_of(db)
    issue = {"category": "face_photo", "code": "blurred_photo", "label": "the photo is blurred"}
    told = {"phone": E164, "order_id": "IL1", "applicant_id": "apl_1", "applicant_name": "Noa", "issues": [issue]}
    report = an_event("applicant_issue.reported", NOW + MINUTE, **told)
    assert await handled(db, report, deps) == ("no conversation", [])
    await handled(db, chatwoot_message(1, "hello"), deps)
    _, (asked,) = await handled(db, report, deps)
    assert "the photo is blurred" in asked.json()["content"]["body"]
    await sent(db)
    photo = chatwoot_message(2, None, kind="image", at=NOW + 2 * MINUTE)
    _, emitted = await handled(db, photo, deps)
    assert sorted(event.type for event in emitted) == ["conversation.escalated", "message.requested"]
    assert "chatwoot:2" in emitted[0].json()["note"], "the agents are told which message has the photo"
    assert await orders(db) == []


async def test_who_does_not_answer_is_reminded_once_and_then_left_in_peace(db: Pool) -> None:
    deps = deps_of(db)
    await handled(db, chatwoot_message(1, ORDER), deps)
    await sent(db)
    due_at = "SELECT due_at FROM conversations"
    (reminder,) = await clock(db, deps, await db.fetchval(due_at))
    assert reminder.json()["purpose"] == "dialog:content_order"
    assert await clock(db, deps, await db.fetchval(due_at) - SECOND) == []
    assert await clock(db, deps, await db.fetchval(due_at)) == []
    assert "clarifyingField" not in await context(db)
    assert (await db.fetchval(due_at), len(await questions(db))) == (None, 2)


async def test_an_order_that_comes_during_another_dialog_waits_for_its_end_and_is_kept_whole(db: Pool) -> None:
    deps = deps_of(db)
    issue = {"category": "face_photo", "code": "blurred_photo", "label": "the photo is blurred"}
    told = {"phone": E164, "order_id": "IL1", "applicant_id": "apl_1", "applicant_name": "Noa", "issues": [issue]}
    await handled(db, chatwoot_message(1, "hello"), deps)
    await handled(db, an_event("applicant_issue.reported", NOW + SECOND, **told), deps)
    text = "By the way, please write a post for LinkedIn about our new bakery in the old town"
    assert await handled(db, chatwoot_message(2, text, at=NOW + 2 * SECOND), deps) == ("done", [])
    await handled(db, chatwoot_message(3, None, kind="image", at=NOW + 3 * SECOND), deps)
    (asked,) = await clock(db, deps, NOW + 4 * SECOND)
    assert asked.json()["purpose"] == "dialog:content_order"
    for n, answer in enumerate(("Short", "Casual", "Tips"), 4):
        await handled(db, chatwoot_message(n, answer, at=NOW + n * SECOND), deps)
    (order,) = await orders(db)
    assert order["params"]["original_content"] == text
    assert order["params"]["context"]["chatwoot_message_id"] == "2"


def told_by(system: str, event: Event, n: int) -> Event:
    """The same message as another system tells of it, which hears of the number as well. CGB gives no id."""
    number = {"number": "4711", "message_id": f"wamid.{n}"} if system == "meta" else {"message_id": None}
    told = {**event.json(), "system": system, "contact_id": "972505550142", **number}
    told.pop("conversation")
    return event._replace(id=f"{system} {n}", source=system, data=json.dumps(told).encode())


@pytest.mark.parametrize("pace", [AT_ONCE, USUAL])
@pytest.mark.parametrize("systems", [["meta", "chatwoot"], ["chatwoot", "meta"], ["cgb", "meta"], ["meta", "cgb"]])
async def test_what_two_systems_tell_of_begins_one_dialog_and_ends_it(db: Pool, pace: Pace, systems: list[str]) -> None:
    deps, at = deps_of(db, pace=pace), NOW
    for n, text in enumerate((ORDER, *ANSWERS), 1):
        event = chatwoot_message(n, text, at=at, received={"source_id": f"wamid.{n}"})
        for system in systems:
            await handled(db, event if system == "chatwoot" else told_by(system, event, n), deps)
        at += MINUTE
        await clock(db, deps, at)
        await sent(db)
    (order,) = await orders(db)
    assert order["params"]["platform"] == "linkedin"
    assert order["chat"].partition(":")[0] == (systems[0] if pace is AT_ONCE else max(systems, key=GOES_FIRST.index))
    assert len(await questions(db)) == 5


async def test_the_intent_of_a_message_comes_to_its_note_also_when_that_comes_later(db: Pool) -> None:
    insert = "INSERT INTO meeting_notes (message_key, event_id) VALUES ($1, 'e')"
    await db.execute(insert, "chatwoot:1")
    deps = deps_of(db)
    await handled(db, chatwoot_message(1, "a note"), deps)
    await handled(db, chatwoot_message(2, ORDER), deps)
    await db.execute("UPDATE buffered_messages SET understood_at = now()")
    assert await buffered_messages.note(db, 10) == 1
    await db.execute(insert, "chatwoot:2")
    assert await buffered_messages.note(db, 10) == 1
    assert await buffered_messages.note(db, 10) == 0
    rows = await db.fetch("SELECT intent, intent_reason FROM meeting_notes ORDER BY message_key")
    assert [tuple(row) for row in rows] == [("NOTE", "the words"), ("ORDER", "the words")]


async def test_many_processes_hand_on_what_has_settled_once(db: Pool) -> None:
    deps = deps_of(db, pace=USUAL)
    for n in range(40):
        where = {"account": "1", "id": str(n + 1), "inbox": "1"}
        await handled(db, chatwoot_message(n + 1, ORDER, conversation=where), deps)

    async def take() -> list[str]:
        async with db.acquire() as conn, conn.transaction():
            taken = [one.chat for one in await conversations.take_settled(conn, NOW + MINUTE, 15)]
            await asyncio.sleep(0)
            return taken

    taken = [chat for some in await asyncio.gather(*(take() for _ in range(4))) for chat in some]
    assert len(taken) == len(set(taken)) == 40


async def test_what_cannot_be_worked_on_is_told_its_person_once_a_day(db: Pool) -> None:
    deps, told = deps_of(db), []
    for n in range(3):
        event = chatwoot_message(n, ORDER)
        (asked,) = await recorded(db, Done(rows=tuple(buried(event, Permanent("broken"), Turn(NOW)))))
        assert (asked.type, asked.subject) == ("dialog.due", E164)
        told += (await handled(db, asked, deps))[1]
        assert buried(asked, Permanent("broken"), Turn(NOW)) == (), "no notice of a notice"
    (sent_once,) = told
    assert sent_once.json()["content"] == {
        "body": "I could not create your order. Please send it again in a few minutes."
    }
    (row,) = await questions(db)
    assert row["purpose"] == "notice:order_failed"
    tomorrow = Turn(NOW + timedelta(days=1))
    (asked,) = await recorded(db, Done(rows=tuple(buried(chatwoot_message(9, ORDER), Permanent("broken"), tomorrow))))
    assert len((await handled(db, asked, deps))[1]) == 1


@pytest.mark.parametrize("told", [{"odd": "fields is not an object"}, {"contact_id": 5}, {"conversation": {}}])
def test_what_was_not_understood_is_told_nobody(told: dict[str, Any]) -> None:
    event = chatwoot_message(1, ORDER)
    event = event._replace(data=json.dumps({**event.json(), **told}).encode())
    assert buried(event, Permanent("broken"), Turn(NOW)) == ()
