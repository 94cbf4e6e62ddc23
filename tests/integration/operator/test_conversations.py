"""Conversations as an operator finds them, and what `ferryman conversations` shows of one."""

from __future__ import annotations

import getpass
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from adapters.postgres.operator.conversations import Wanted
from adapters.postgres.pool import Pool
from daemon.operator import conversations
from daemon.operator.naming import SeveralFit
from schemas.api.conversation_answers import ConversationDetail
from tests.support.contacts_verb import Verb, contacts_verb
from tests.support.conversations import (
    ACCOUNT,
    NAME,
    PHONE,
    archived,
    asking,
    buffered,
    chatwoot_chat,
    direct_chat,
    insert,
    letter,
    sent,
    wrote,
)
from tests.support.people import bought
from tests.support.toy import NOON

HOUR: Final = timedelta(hours=1)
SECRET: Final = "canary of what was said"
OTHER: Final = "+12025550143"
LUIS: Final = "+5215555550142"
ALL: Final = Wanted()


@pytest.fixture
def verb(redis: Redis, redis_url: str, database_url: str) -> Verb:
    """`ferryman conversations …` on the test's stores."""
    return contacts_verb(redis_url, database_url, "conversations")


async def ids(db: Pool, text: str | None, wanted: Wanted = ALL, limit: int = 20) -> list[str]:
    listed = await conversations.find(db, text, wanted, limit, reveal=False, actor="test")
    return [one["id"] for one in listed.found]


async def shown(db: Pool, text: str, limit: int = 50, *, reveal: bool = False) -> dict[str, Any]:
    return await conversations.show(db, text, limit, NOON + HOUR, reveal=reveal, actor="test")


@pytest.fixture
async def known(db: Pool) -> dict[str, str]:
    """Conversations with three people, and the ids of what was said in them."""
    await chatwoot_chat(db, 481, minutes=10)
    await chatwoot_chat(db, 482, minutes=20)
    await direct_chat(db, "meta", "12025550143", minutes=30, name="Dan O'Hara")
    hidden = await direct_chat(db, "whapi", "IL.77120", minutes=40, name="Даниил Öberg")
    luis = await direct_chat(db, "twilio", LUIS[1:], minutes=50, name=None)
    await bought(db, LUIS, 1, name="Luis Ortega")
    await wrote(db, 9001, SECRET)
    await archived(db, 9001, 481, SECRET)
    ours = await sent(db, SECRET, system="meta", phone=OTHER, provider_message_id="wamid.OURS")
    order = await insert(
        db, "content_orders", id=uuid4(), params_json={"topic": SECRET}, chat=f"chatwoot:{ACCOUNT}:482", event_id="e"
    )
    (direct,) = await ids(db, OTHER)
    return {"ours": str(ours), "order": str(order), "meta": direct, "whapi": f"c{hidden}", "twilio": f"c{luis}"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("481", ["chatwoot:3:481"]),
        ("3:481", ["chatwoot:3:481"]),
        ("chatwoot:3:481", ["chatwoot:3:481"]),
        ("4:481", []),
        (PHONE, ["chatwoot:3:482", "chatwoot:3:481"]),
        ("050-555-0142", ["chatwoot:3:482", "chatwoot:3:481"]),
        ("+1 (202) 555-0143", ["meta"]),
        ("meta:106:12025550143", ["meta"]),
        ("whapi:106:IL.77120", ["whapi"]),
        ("+52 55 5555 0142", ["twilio"]),
        ("9001", ["chatwoot:3:481"]),
        ("chatwoot:9001", ["chatwoot:3:481"]),
        ("wamid.OURS", ["meta"]),
        ("noa", ["chatwoot:3:482", "chatwoot:3:481"]),
        ("O'Hara", ["meta"]),
        ("дан ÖB", ["whapi"]),
        ("ortega", ["twilio"]),
        ("nobody", []),
        ("%", []),
        ("c0", []),
        ("999999999999999999999", []),
    ],
)
async def test_a_conversation_is_found_by_whatever_is_known_of_it(
    db: Pool, known: dict[str, str], text: str, found: Sequence[str]
) -> None:
    assert await ids(db, text) == [known.get(one, one) for one in found], "the newest first"


async def test_a_conversation_is_found_by_ids_of_ours_and_their_beginnings(db: Pool, known: dict[str, str]) -> None:
    for name, found in (("ours", known["meta"]), ("order", "chatwoot:3:482")):
        assert await ids(db, known[name]) == [found]
        assert await ids(db, known[name][:8].upper()) == [found]
    assert await ids(db, known["meta"]) == [known["meta"]]


async def test_a_page_goes_on_where_the_one_before_it_ended(db: Pool, known: dict[str, str]) -> None:
    whole = await ids(db, None)
    assert len(whole) == 5
    assert [
        one["found_by"] for one in (await conversations.find(db, "481", ALL, 5, reveal=False, actor="t")).found
    ] == ["chatwoot"]
    paged, before = [], None
    for _ in range(3):
        found, more = await conversations.find(db, None, ALL, 2, reveal=False, actor="test", before=before)
        paged += [one["id"] for one in found]
        before = found[-1]["newest_at"], found[-1]["number"]
    assert (paged, more) == (whole, False)


async def test_a_list_has_what_waits_for_a_person_or_for_us(db: Pool) -> None:
    await chatwoot_chat(db, 1, minutes=1)
    await chatwoot_chat(db, 2, minutes=2, context_json=asking("topic"))
    await chatwoot_chat(db, 3, minutes=3, escalated_at=NOON)
    await chatwoot_chat(db, 4, minutes=4, settles_at=NOON)
    await chatwoot_chat(db, 5, minutes=5)
    await buffered(db, 50, 5)
    await chatwoot_chat(db, 6, minutes=6, phone=LUIS)
    await sent(db, SECRET, phone=LUIS, status="queued")
    await chatwoot_chat(db, 7, minutes=7)
    note = await archived(db, 70, 7, SECRET)
    await insert(db, "note_attachments", id=uuid4(), meeting_note_id=note, place=0, kind="image")
    await direct_chat(db, "meta", OTHER[1:], minutes=8)
    note = await archived(
        db, 80, None, SECRET, message_key="meta:80", line=OTHER, chatwoot_message_id=None, chatwoot_conversation_id=None
    )
    await insert(db, "audio_files", id=uuid4(), meeting_note_id=note)
    (direct,) = await ids(db, OTHER)
    assert await ids(db, None, Wanted(open=True)) == ["chatwoot:3:2"]
    assert await ids(db, None, Wanted(escalated=True)) == ["chatwoot:3:3"]
    assert await ids(db, None, Wanted(waiting=True)) == [direct, *(f"chatwoot:3:{n}" for n in (7, 6, 5, 4))]
    assert await ids(db, None, Wanted(open=True, escalated=True)) == ["chatwoot:3:3", "chatwoot:3:2"], "any of them"
    assert await ids(db, PHONE, Wanted(escalated=True)) == ["chatwoot:3:3"]


async def test_a_name_that_fits_several_is_refused_with_what_it_fits(
    db: Pool, known: dict[str, str], verb: Verb
) -> None:
    with pytest.raises(SeveralFit):
        await shown(db, PHONE)
    code, said = await verb("show", PHONE)
    assert code == 2
    assert said.index("chatwoot:3:482") < said.index("chatwoot:3:481")
    assert PHONE not in said.replace(f"show {PHONE}", "")


async def test_what_names_none_says_what_to_give(known: dict[str, str], verb: Verb) -> None:
    for argv in (("show", "nothing"), ("find", "nothing")):
        code, said = await verb(*argv)
        assert (code, "no conversation is found by this" in said) == (1, True)


async def a_conversation(db: Pool) -> UUID:
    """A conversation in which something of each kind was said; returns the open question."""
    question = await sent(db, SECRET, minutes=5, kind="choices")
    context = asking("tone", question, question, wrong=1)
    due = NOON + 2 * HOUR
    await chatwoot_chat(db, 481, minutes=7, context_json=context, context_version=4, due_at=due)
    await chatwoot_chat(db, 482)
    await wrote(db, 9001, SECRET, minutes=1)
    note = await archived(db, 9001, 481, SECRET, minutes=1, intent="ORDER", intent_reason="it asks for a post")
    await buffered(db, 9001, 481, minutes=1, understood_at=NOON)
    file = await insert(
        db, "note_attachments", id=uuid4(), meeting_note_id=note, place=0, kind="voice", status="stored", bytes=9
    )
    await insert(
        db,
        "audio_files",
        id=uuid4(),
        meeting_note_id=note,
        note_attachment_id=file,
        transcription=SECRET,
        transcription_status="completed",
        duration_seconds=12,
    )
    await wrote(db, 9002, SECRET, minutes=2)
    await archived(db, 9002, 482, "of the other conversation", minutes=2)
    await wrote(db, 9003, SECRET, minutes=7)
    await sent(db, SECRET, system="twilio", minutes=8)
    await insert(
        db, "content_orders", id=UUID(int=5), params_json={"topic": SECRET}, chat="chatwoot:3:481", event_id="e"
    )
    return question


async def test_a_conversation_is_one_timeline_of_both_ways(db: Pool) -> None:
    question = await a_conversation(db)
    document = await shown(db, "481")
    said = [(one["direction"], one["message_key"] or one["id"]) for one in document["timeline"]]
    assert said == [("in", "chatwoot:9001"), ("out", str(question)), ("in", "chatwoot:9003")]
    first, asked, last = document["timeline"]
    assert first["note"] | {"id": None} == {
        "id": None,
        "status": "stored",
        "error": None,
        "storage_path": "gs://pacelane-whatsapp-1f/2031/481/9001.json",
        "intent": "ORDER",
        "confidence": None,
        "reason": "it asks for a post",
    }
    ((file,), understanding) = first["files"], first["understanding"]
    told = file["kind"], file["status"], file["bytes"], file["transcription"], file["duration_seconds"], understanding
    assert told == ("voice", "stored", 9, "completed", 12, "understood")
    assert (asked["kind"], asked["status"], asked["purpose"]) == ("choices", "sent", "dialog:content_order")
    assert (last["note"], last["understanding"]) == (None, None), "no worker has come to it yet"
    assert document["dialog"] == {
        "name": "content_order",
        "id": str(UUID(int=7)),
        "question": "tone",
        "asked": 2,
        "asked_at": NOON + timedelta(minutes=5),
        "message_id": str(question),
        "message_status": "sent",
        "wrong_answers": 1,
        "reminded": False,
        "params": {"topic": "…", "platform": "linkedin"},
        "paused_until": None,
        "version": 4,
    }
    ((order,),) = (document["content_orders"],)
    assert (order["id"], order["ready_at"], order["params"]) == (str(UUID(int=5)), None, {"topic": "…"})
    assert not document["earlier"]


async def test_what_agents_have_written_is_a_fact_of_the_timeline_and_labels_are_shown(db: Pool, verb: Verb) -> None:
    await chatwoot_chat(db, 481, labels=["vip", "hot-lead"])
    await wrote(db, 1, SECRET)
    chat, at = f"chatwoot:{ACCOUNT}:481", NOON + timedelta(minutes=1)
    await db.execute("INSERT INTO agent_replies (event_id, chat, at) VALUES ('e', $1, $2)", chat, at)
    await sent(db, SECRET, minutes=2)
    document = await shown(db, "481")
    assert document["labels"] == ["hot-lead", "vip"]
    assert [(one["direction"], one["kind"]) for one in document["timeline"]] == [
        ("in", "text"),
        ("out", "agent_reply"),
        ("out", "text"),
    ]
    ConversationDetail.model_validate(document)
    out = (await verb("show", "481"))[1]
    assert "agent_reply" in out
    assert '["hot-lead","vip"]' in out


async def test_a_message_for_one_conversation_is_shown_in_no_other(db: Pool) -> None:
    for number in (481, 482):
        await chatwoot_chat(db, number)
    await sent(db, SECRET, conversation=481)
    await sent(db, SECRET, minutes=1)
    assert [len((await shown(db, number))["timeline"]) for number in ("481", "482")] == [2, 1]


async def test_the_newest_messages_are_shown_and_it_is_said_that_there_are_more(db: Pool) -> None:
    await a_conversation(db)
    document = await shown(db, "481", 2)
    assert [one["message_key"] for one in document["timeline"]] == [None, "chatwoot:9003"]
    assert document["earlier"]


async def test_a_person_without_a_phone_has_a_timeline_too(db: Pool) -> None:
    number = await direct_chat(db, "meta", "IL.77120")
    await wrote(db, "wamid.1", SECRET, system="meta", phone=None)
    await archived(
        db,
        "wamid.1",
        None,
        SECRET,
        message_key="meta:wamid.1",
        contact_identifier="IL.77120",
        chatwoot_message_id=None,
        chatwoot_conversation_id=None,
    )
    (said,) = (await shown(db, f"c{number}"))["timeline"]
    assert (said["message_key"], said["status"], said["note"]["status"]) == ("meta:wamid.1", "received", "stored")


async def test_nothing_of_a_person_is_shown_unless_it_is_asked_for_and_that_is_written_down(
    db: Pool, verb: Verb
) -> None:
    await a_conversation(db)
    number = await direct_chat(db, "meta", OTHER[1:])
    personal = (SECRET, PHONE[1:], OTHER[1:], NAME, "bicycles")
    for argv in (["show", "481"], ["show", f"c{number}"], ["find"], ["find", "481"]):
        for more in ([], ["--json"]):
            code, said = await verb(*argv, *more)
            assert code == 0, said
            assert not any(text in said for text in personal), said
    assert await db.fetchval("SELECT count(*) FROM audit_log") == 0
    code, said = await verb("show", "481", "--reveal")
    assert said.count(SECRET) == 5
    assert all(text in said for text in (PHONE, NAME, "bicycles"))
    code, said = await verb("find", "--reveal", "--json", "--limit", "1")
    assert [one["phone"] for one in json.loads(said.partition("\nthere are more")[0])] == [PHONE]
    code, said = await verb("find", OTHER, "--reveal")
    assert OTHER in said
    rows = await db.fetch("SELECT actor, action, subject, detail::text FROM audit_log ORDER BY id")
    who = getpass.getuser(), "conversation.revealed"
    subjects = ["conversation:chatwoot:3:481", "conversation:chatwoot:3:481", f"conversation:c{number}"]
    assert [tuple(row) for row in rows] == [(*who, subject, "{}") for subject in subjects]


async def test_nothing_that_was_said_steers_the_terminal(db: Pool, verb: Verb) -> None:
    hostile = "\x1b[2J\u202edrow\u2066\x9b1m\r\nforged line"
    await chatwoot_chat(
        db, 481, name=hostile, escalated_at=NOON, escalated_why=hostile, context_json=asking(hostile), status=hostile
    )
    await wrote(db, 9001, hostile, kind=hostile, error=hostile)
    await archived(db, 9001, 481, hostile, error_details=hostile, intent=hostile, intent_reason=hostile)
    for argv in (["show", "481", "--reveal"], ["find", "--reveal"], ["show", "481", "--reveal", "--json"]):
        code, said = await verb(*argv)
        assert code == 0
        assert not set(said) & set("\x1b\u202e\u2066\x9b\r"), argv
        assert "\nforged line" not in said


async def test_a_context_of_any_shape_is_shown(db: Pool) -> None:
    for number, context in enumerate(
        ([], {"asked": 7, "orderParams": []}, {"clarifyingField": 3}, {"since": "noon"}), 1
    ):
        await chatwoot_chat(db, number, context_json=json.dumps(context))
        assert (await shown(db, f"3:{number}"))["question"] is None


async def test_a_letter_of_another_conversation_of_the_person_is_left_out(db: Pool) -> None:
    await chatwoot_chat(db, 481)
    told: Sequence[dict[str, Any]] = (
        {"conversation": {"account": "3", "id": "481"}},
        {"conversation": {"account": "3", "id": "482"}},
        {"chat": "chatwoot:3:481"},
        {"chat": "chatwoot:3:482"},
        {"odd": "fields is not an object"},
    )
    for number, data in enumerate(told):
        await letter(db, f"e{number}", data)
    document = await shown(db, "481")
    assert [one["event_id"] for one in document["dead_letters"]] == ["e4", "e2", "e0"]
    assert sum("has given up on message.received" in one for one in document["waits"]) == 3
