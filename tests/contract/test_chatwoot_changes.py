"""What Chatwoot tells of conversations, contacts and messages that go out: what counts, and what costs nothing."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from adapters.chatwoot.source import SOURCE
from adapters.ports import Webhook
from daemon.sandbox.chatwoot_webhooks import contact, conversation, escaped, last, message, ours
from schemas.conversations import chat_of
from schemas.envelope import Event
from schemas.errors import Malformed

NOW: Final = datetime(2031, 2, 14, 9, 20, tzinfo=UTC)
PHONE: Final = "+12025550143"
NOOR: Final = contact(905, PHONE)
TALK: Final = conversation(481, NOOR, PHONE[1:])
INES: Final = {"id": 42, "name": "Ines", "email": "ines@example.test", "type": "user"}


def events(document: Any) -> list[Event]:
    body = escaped(document)
    return SOURCE.parse(Webhook(CIMultiDict(), body, ""), SOURCE.decode(body), NOW)


def one(document: Any) -> Event:
    (event,) = events(document)
    return event


def changed(*names: str, **members: Any) -> dict[str, Any]:
    """A `conversation_updated` that names these attributes."""
    told = [{name: {"previous_value": None, "current_value": 1}} for name in (*names, "updated_at")]
    return {"event": "conversation_updated", **TALK, "changed_attributes": told} | members


def by_agent(**members: Any) -> dict[str, Any]:
    return message(7308, "good morning", TALK, message_type="outgoing", sender=INES) | members


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (changed("status", status="resolved"), {"what": "updated", "status": "resolved", "assignee": False}),
        (changed("label_list", labels=["b", "a", "a"]), {"what": "updated", "labels": ["a", "b"]}),
        (changed("assignee_id", meta={"sender": NOOR, "assignee": INES, "assignee_type": "User"}), {"assignee": True}),
        (changed("assignee_agent_bot_id", meta={"sender": NOOR, "assignee": {"id": 1}, "assignee_type": "AgentBot"}),
         {"assignee": False}),
        (changed("status", meta={"sender": NOOR}, labels=None, status="odd"),
         {"status": None, "assignee": None, "labels": None}),
        ({"event": "conversation_status_changed", **TALK, "status": "snoozed", "changed_attributes": None},
         {"what": "status", "status": "snoozed"}),
        ({"event": "conversation_resolved", **TALK, "status": "resolved"}, {"what": "status", "status": "resolved"}),
        ({"event": "conversation_created", **TALK, "status": "pending"}, {"what": "created", "status": "pending"}),
        (by_agent(), {"what": "agent_replied", "status": None, "assignee": None, "labels": None}),
        (by_agent(message_type=1), {"what": "agent_replied"}),
        (by_agent(sender=None, content_attributes={"external_echo": True}), {"what": "agent_replied"}),
    ],
)  # fmt: skip
def test_a_change_of_a_conversation_is_told_in_the_lane_of_its_person(
    document: dict[str, Any], expected: dict[str, Any]
) -> None:
    event = one(document)
    told = event.json()
    assert (event.type, event.topic) == ("conversation.changed", "conversations")
    assert event.subject == one(message(7301, "hello", TALK)).subject
    assert {name: told[name] for name in expected} == expected
    assert (told["contact_id"], told["phone"]) == ("3:905", PHONE)
    assert chat_of(told) == chat_of(one(message(7301, "hello", TALK)).json())
    assert b"ps_demo" not in event.data, "the token that opens the conversation"


@pytest.mark.parametrize(
    "document",
    [
        changed("waiting_since"),
        changed("first_reply_created_at", "priority", "team_id"),
        changed(changed_attributes=None),
        {"event": "contact_updated", **NOOR, "account": {"id": 3}, "changed_attributes": [{"last_activity_at": {}}]},
        {"event": "contact_updated", **NOOR, "account": {"id": 3}, "changed_attributes": [{"custom_attributes": {}}]},
        by_agent(private=True),
        by_agent(sender={"id": 5, "name": "Bot", "type": "agent_bot"}),
        by_agent(sender={"id": 5, "name": "Captain", "type": "captain_assistant"}),
        by_agent(sender=None),
        by_agent(content_attributes={"automation_rule_id": 4}),
        by_agent(additional_attributes={"campaign_id": 4}),
        by_agent(message_type="template"),
        ours(7302, str(uuid4()), TALK, private=True),
        ours(7302, str(uuid4()), TALK, private=True, event="message_updated"),
        {"event": "conversation_updated", **TALK, "changed_attributes": [{"status": {}}], "account": None},
        {"event": "inbox_updated", "id": 12},
        {"event": "conversation_typing_on", "conversation": TALK, "is_private": False},
        {"event": "macro.executed", **TALK},
    ],
)
def test_what_nobody_goes_by_makes_no_event(document: dict[str, Any]) -> None:
    assert events(document) == []


def test_a_change_told_again_is_one_event_and_the_next_change_is_another() -> None:
    first = one(changed("status", status="resolved", updated_at=1928826900.25))
    again = one(changed("status", status="resolved", updated_at=1928826900.25, unread_count=3))
    later = one(changed("status", status="resolved", updated_at=1928826999.5))
    assert (again.id, again.data) == (first.id, first.data)
    assert later.id != first.id
    assert first.json()["at"] == "2031-02-14T09:15:00.250000+00:00"


def test_an_agents_message_is_one_event_beside_whatever_it_is_told() -> None:
    later = TALK | {"status": "resolved", "labels": ["hot"], "messages": [last(7308, "read")]}
    first, again = one(by_agent()), one(by_agent(conversation=later))
    assert (again.id, again.data) == (first.id, first.data)


def test_before_a_conversation_named_its_account_its_last_message_did() -> None:
    talk = {name: value for name, value in TALK.items() if name != "account"} | {"messages": [last(7301, "sent")]}
    event = one({"event": "conversation_created", **talk})
    assert event.json()["conversation"] == {"account": "3", "id": "481", "inbox": "12"}


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ({"event": "contact_created"}, {"customer_name": "Noor Baak", "Email": "noor@example.test"}),
        ({"event": "contact_updated", "changed_attributes": [{"phone_number": {}}, {"updated_at": {}}]},
         {"customer_name": "Noor Baak", "Email": "noor@example.test"}),
        ({"event": "contact_updated", "name": " ", "email": None, "changed_attributes": {"name": {}}}, {}),
    ],
)  # fmt: skip
def test_a_contact_tells_who_is_behind_it(document: dict[str, Any], fields: dict[str, str]) -> None:
    event = one({**NOOR, "account": {"id": 3}, "email": "noor@example.test"} | document)
    told = event.json()
    assert (event.type, event.subject) == ("contact.changed", PHONE)
    assert (told["system"], told["contact_id"], told["phone"], told["fields"]) == ("chatwoot", "3:905", PHONE, fields)


def question(submitted: Any, **members: Any) -> dict[str, Any]:
    """A question of ours, as a visitor's answer in the widget of a website changes it."""
    marks = {
        "ferryman_message_id": str(uuid4()),
        "items": [{"title": "Blog", "value": "blog"}],
        "submitted_values": submitted,
    }
    asked = message(7310, "Which platform?", TALK, message_type="outgoing", sender=INES, content_attributes=marks)
    return asked | {"event": "message_updated", "content_type": "input_select"} | members


def test_an_answer_in_the_widget_of_a_website_is_the_persons_choice() -> None:
    event, again = (one(question([{"title": "Blog", "value": "blog"}])) for _ in range(2))
    told = event.json()
    assert (event.type, event.id, event.subject) == ("message.received", again.id, one(message(7, "x", TALK)).subject)
    assert {name: told[name] for name in ("kind", "text", "choice", "reply_to", "contact_id", "at")} == {
        "kind": "choice", "text": "Blog", "choice": "blog", "reply_to": "7310", "contact_id": "3:905", "at": None,
    }  # fmt: skip
    assert told["message_id"].startswith("7310-")
    assert chat_of(told) == chat_of(one(message(7, "x", TALK)).json())
    other = one(question([{"title": "Web", "value": "web"}]))
    assert other.id != event.id, "another choice is another answer"


@pytest.mark.parametrize(
    "document",
    [
        question(None),
        question([]),
        question([{"name": "email", "value": 7}, 3]),
        question({"csat_survey_response": {"rating": 5}}),
        question([{"title": "Blog", "value": "blog"}], event="message_created"),
        question([{"title": "Blog", "value": "blog"}], content_type="form"),
        question([{"title": "Blog", "value": "blog"}], private=True),
    ],
)
def test_what_is_no_answer_in_the_widget_is_none(document: dict[str, Any]) -> None:
    assert "message.received" not in [event.type for event in events(document)]


marks = st.dictionaries(
    st.sampled_from(["in_reply_to", "external_echo", "items", "deleted", "external_error", "automation_rule_id"]),
    st.sampled_from([True, None, 7302, "131026: no", [{"title": "Blog", "value": "blog"}]]),
)
senders = st.sampled_from([None, INES, NOOR, {"id": 5, "type": "agent_bot"}, 7, {**NOOR, "account": {"id": 3}}])
of_messages = st.fixed_dictionaries(
    {
        "event": st.sampled_from(["message_created", "message_updated"]),
        "message_type": st.sampled_from(["incoming", "outgoing", "template", "activity", 0, 1, 2, 3, "0", "1", "3"]),
        "private": st.sampled_from([True, False, None]),
        "sender": senders,
        "content_attributes": marks,
        "id": st.sampled_from([7301, "7301", "test-message-123"]),
    }
)


@given(of_messages, st.booleans(), st.booleans())
def test_our_own_words_and_whatever_goes_out_are_never_taken_for_a_persons(
    members: dict[str, Any], marked: bool, with_account: bool
) -> None:
    document = copy.deepcopy(message(7301, "hello", TALK)) | members
    if marked:
        document["content_attributes"] = {**members["content_attributes"], "ferryman_message_id": str(uuid4())}
    if not with_account:
        document["account"] = None
    try:
        types = [event.type for event in events(document)]
    except Malformed:
        return
    if marked or document["private"] or members["message_type"] not in ("incoming", 0, "0"):
        assert "message.received" not in types
    if document["private"]:
        assert types == []
    if marked:
        assert "conversation.changed" not in types
