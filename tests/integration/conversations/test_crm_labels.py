"""The worker crm-labels on a real Postgres and Redis and the simulated Chatwoot: what people write gives labels."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientSession
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from daemon.bus.outcome import Turn
from daemon.bus.worker import utc_now
from daemon.conversations.archive.notes import facts_of
from daemon.conversations.labels.crm_labels import handle
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, Contact, Conversation
from schemas.envelope import Event
from schemas.errors import Malformed, Refused, Transient
from schemas.labels import NoTitle
from tests.support.conversations import insert
from tests.support.crm import FIRST, CrmWorker, event_of, worker_on, written
from tests.support.sending import PHONE


def labels(sandbox: ChatwootSandbox, talk: Conversation) -> set[str]:
    return set(sandbox.crm.labels.get(talk.id, ()))


async def test_a_message_of_chatwoot_gives_its_conversation_labels_and_its_contact_attributes(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    assert await worker.handle(written("Ik zoek een Volkswagen diesel, max € 15.000", talk=talk)) == "done"
    wanted = {"interest-volkswagen", "preference-diesel", "intent-budget-specified", "lukewarm-lead"}
    assert labels(sandbox, talk) == FIRST - {"cold-lead"} | wanted
    assert labels(sandbox, talk) <= set(sandbox.crm.account_labels), "each is an account label"
    assert sandbox.crm.contact_attributes[talk.contact.id] == {
        "conversation_stage": "first-contact",
        "lead_score": 30,
        "lead_quality": "lukewarm",
        "interested_in_make": "Volkswagen",
        "interested_in_fuel_type": "diesel",
        "budget_max": 15000,
    }
    assert not any(path.endswith("/contacts/filter") for path, _ in sandbox.bodies), "it names its contact itself"


async def test_labels_that_we_have_written_are_those_of_the_conversation(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    row = {"chat": f"chatwoot:{ACCOUNT_ID}:{talk.id}", "system": "chatwoot", "labels": ["vip"]}
    await insert(worker.pool, "conversations", **row)
    await worker.handle(written("Audi", talk=talk))
    assert set(await worker.pool.fetchval("SELECT labels FROM conversations")) == labels(sandbox, talk)
    assert "interest-audi" in labels(sandbox, talk)


async def test_a_message_of_another_system_finds_or_makes_the_conversation_of_its_phone(
    worker: CrmWorker, sandbox: ChatwootSandbox
) -> None:
    assert await worker.handle(written("een proefrit met een Audi?")) == "done"
    [talk] = sandbox.account.conversations.values()
    assert (talk.contact.phone_number, talk.contact.name) == (PHONE.e164, "Noa")
    assert {"interest-audi", "behavior-test-drive-requested"} <= labels(sandbox, talk)
    await worker.handle(written("BMW"))
    assert {"interest-audi", "interest-bmw"} <= labels(sandbox, talk)
    assert sandbox.crm.contact_attributes[talk.contact.id]["interested_in_make"] == "BMW"
    assert len(sandbox.account.conversations) == len(sandbox.account.contacts) == 1


async def test_the_journey_goes_on_with_each_message_and_a_replay_does_not_count(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    first = written("Audi", talk=talk)
    seen = []
    for n in range(12):
        await worker.handle(first if n == 0 else written("ok", talk=talk))
        [journey] = [one for one in labels(sandbox, talk) if one.startswith("journey-")]
        seen.append(journey.removeprefix("journey-"))
    assert seen == ["first-contact"] + ["initial-inquiry"] * 3 + ["information-gathering"] * 3 + ["comparing"] * 4 + [
        "ready-to-buy"
    ]
    await worker.handle(written("BMW", talk=talk))
    before = dict(sandbox.crm.contact_attributes[talk.contact.id]), labels(sandbox, talk)
    for _ in range(3):
        await worker.handle(first)
    assert (sandbox.crm.contact_attributes[talk.contact.id], labels(sandbox, talk)) == before
    assert await worker.pool.fetchval("SELECT messages FROM crm_people") == 13


async def test_a_message_that_two_systems_tell_of_counts_once(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    told = {"source_id": "wamid.ONE"}
    assert await worker.handle(written("ok", talk=talk, received=told)) == "done"
    assert await worker.handle(written("ok", message_id="wamid.ONE")) == "done"
    assert await worker.pool.fetchval("SELECT messages FROM crm_people") == 1


async def test_a_message_that_comes_when_nothing_is_known_of_it_any_more_is_not_counted(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    await worker.handle(written("Audi", talk=talk))
    old = written("BMW", talk=talk, at=(utc_now() - timedelta(days=31)).isoformat())
    assert await worker.handle(old) == "done"
    assert await worker.pool.fetchval("SELECT messages FROM crm_people") == 1
    assert "interest-bmw" in labels(sandbox, talk)
    assert sandbox.crm.contact_attributes[talk.contact.id]["interested_in_make"] == "Audi", "that was said later"


def spoken(message: Event, text: str | None, n: int = 1) -> Event:
    """The `message.transcribed` of a file of *message*."""
    data = {"message": facts_of(message.json()), "attachment_id": str(UUID(int=n)), "text": text}
    return event_of("message.transcribed", data)


async def test_a_voice_note_gives_labels_like_what_is_written_and_counts_once(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    await worker.handle(written("Audi", talk=talk))
    note = written(None, talk=talk, kind="voice")
    assert await worker.handle(note) == "done"
    told = spoken(note, "ik zoek een BMW, voor een proefrit")
    for _ in range(2):
        assert await worker.handle(told) == "done"
    assert {"interest-bmw", "behavior-test-drive-requested", "journey-initial-inquiry"} <= labels(sandbox, talk)
    assert sandbox.crm.contact_attributes[talk.contact.id]["interested_in_make"] == "BMW", "it was said later"
    assert await worker.pool.fetchval("SELECT messages FROM crm_people") == 2
    await worker.handle(written("Volkswagen", talk=talk))
    assert await worker.handle(told) == "done"
    assert sandbox.crm.contact_attributes[talk.contact.id]["interested_in_make"] == "Volkswagen", "a replay is older"


async def test_a_text_that_comes_before_its_message_counts_once_too(worker: CrmWorker, talk: Conversation) -> None:
    note = written(None, talk=talk, kind="voice")
    for event in (spoken(note, "Audi"), spoken(note, "BMW", 2), note):
        assert await worker.handle(event) == "done"
    assert await worker.pool.fetchval("SELECT messages FROM crm_people") == 1


async def test_a_voice_note_without_a_text_gives_nothing(worker: CrmWorker, talk: Conversation) -> None:
    note = written(None, talk=talk, kind="voice")
    assert await worker.handle(spoken(note, None)) == "no text"
    assert await worker.handle(event_of("message.transcribed", {"text": "Audi", "message": None})) == "no message"


async def test_earlier_messages_that_are_stored_count_for_one_who_is_new_here(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    await worker.pool.execute(
        "INSERT INTO messages (id, direction, status, provider, phone, kind, content, purpose, event_id, sent_at)"
        " SELECT gen_random_uuid(), 'in', 'received', 'meta', $1, 'text', '{}', 'person', 'e', now() - interval '1 day'"
        " FROM generate_series(1, 5)",
        PHONE.e164,
    )
    await worker.handle(written("ok", talk=talk))
    assert "journey-information-gathering" in labels(sandbox, talk)


async def test_what_changes_nothing_asks_nothing(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    await worker.handle(written("ok", talk=talk))
    await worker.handle(written("diesel", talk=talk))
    asked = len(sandbox.ledger.entries)
    assert await worker.handle(written("ok")) == "done"
    assert len(sandbox.ledger.entries) == asked
    assert await worker.pool.fetchval("SELECT messages FROM crm_people") == 3


async def test_a_label_that_a_person_took_off_stays_off_until_it_is_said_again(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    await worker.handle(written("diesel", talk=talk))
    sandbox.set_labels(talk.id, {"vip"})
    await worker.handle(written("ok", talk=talk))
    assert labels(sandbox, talk) == {"vip", "journey-initial-inquiry"}, "what has changed is put on, and no more"
    await worker.handle(written("zei ik al diesel?", talk=talk))
    assert labels(sandbox, talk) == {"vip", "journey-initial-inquiry", "preference-diesel"}


async def test_a_choice_of_a_person_in_an_exclusive_group_stays(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    sandbox.set_labels(talk.id, ["hot-lead"])
    await worker.handle(written("ok", talk=talk))
    assert labels(sandbox, talk) == FIRST - {"cold-lead"} | {"hot-lead"}
    await worker.handle(written("een proefrit met een sedan", talk=talk))
    assert "hot-lead" in labels(sandbox, talk)
    assert "lukewarm-lead" not in labels(sandbox, talk)


async def test_labels_of_an_attempt_that_was_cut_short_are_ours(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    event = written("ok", talk=talk)
    await handle(event, worker.deps(), Turn(utc_now()))  # and the process died before its rows were written
    assert labels(sandbox, talk) == FIRST
    await worker.handle(event)
    await worker.handle(written("ok", talk=talk))
    assert labels(sandbox, talk) == FIRST - {"journey-first-contact"} | {"journey-initial-inquiry"}


async def test_first_messages_of_one_phone_at_once_make_one_contact_and_one_conversation(
    db: Pool, sandbox: ChatwootSandbox, session: ClientSession, redis: Redis
) -> None:
    sandbox.account.insert_delay_s = 0.03
    workers = [worker_on(db, sandbox, session, redis) for _ in range(4)]
    told = [written("diesel"), written("Audi"), asked(phone=PHONE.e164, labels=["vip"]), written("suv")]
    await asyncio.gather(*(one.handle(event) for one, event in zip(workers, told, strict=True)))
    assert len(sandbox.account.contacts) == len(sandbox.account.conversations) == 1
    [talk] = sandbox.account.conversations.values()
    assert labels(sandbox, talk) >= {"preference-diesel", "interest-audi", "type-suv", "vip"}


async def test_a_program_asks_for_labels_and_attributes(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    sandbox.set_labels(talk.id, ["vip"])
    talk.custom_attributes = {"desk": "Umeå"}
    event = asked(
        conversation={"account": None, "id": talk.id},
        labels=["journey:first-contact", "Own, label", "vip"],
        contact_attributes={"lead_score": 72},
        conversation_attributes={"order": 7},
    )
    for _ in range(2):
        assert await worker.handle(event) == "done"
    assert sandbox.crm.labels[talk.id] == ["vip", "journey-first-contact", "own-label"]
    assert {"journey-first-contact", "own-label"} <= set(sandbox.crm.account_labels)
    assert sandbox.crm.contact_attributes[talk.contact.id] == {"lead_score": 72}
    assert sandbox.crm.talk_attributes[talk.id] == {"desk": "Umeå", "order": 7}
    with pytest.raises(NoTitle):
        await worker.handle(asked(phone=PHONE.e164, labels=["!"]))
    with pytest.raises(Refused, match="not there"):
        await worker.handle(asked(conversation={"id": 99}, labels=["vip"]))


async def test_an_escalation_opens_the_conversation_with_one_note_and_its_labels(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    talk.status = "pending"
    event = event_of(
        "conversation.escalated",
        {
            "chat": f"chatwoot:3:{talk.id}",
            "system": "chatwoot",
            "conversation": {"account": "3", "id": str(talk.id), "inbox": "12"},
            "phone": PHONE.e164,
            "why": "wrong answers",
            "note": "asked for platform; said: {{x}}",
            "labels": ["escalated:dialog", "!"],
        },
    )
    for _ in range(2):
        assert await worker.handle(event) == "done"
    assert talk.status == "open"
    assert [one.content for one in talk.messages if one.private] == ["asked for platform; said: {{x}}"]
    assert labels(sandbox, talk) == {"escalated", "status-needs-human-attention", "escalated-dialog"}


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"phone": None}, "no phone"),
        ({"kind": "reaction"}, "no message"),
        ({"kind": "user_preferences"}, "no message"),
        ({"contact_id": "1-TEST"}, "test contact"),
        (
            {"system": "chatwoot", "contact_id": "4:1", "conversation": {"account": "4", "id": "1", "inbox": "1"}},
            "another account",
        ),
    ],
)
async def test_what_tells_of_nobody_is_skipped_with_the_reason(
    worker: CrmWorker, sandbox: ChatwootSandbox, told: dict[str, Any], why: str
) -> None:
    assert await worker.handle(written("diesel", **told)) == why
    assert sandbox.ledger.entries == []


async def test_a_payload_that_was_not_understood_is_malformed(worker: CrmWorker) -> None:
    with pytest.raises(Malformed):
        await worker.handle(event_of("message.received", {"system": "chatwoot", "odd": "sender has no id"}))


async def test_a_conversation_that_was_deleted_is_skipped_and_one_of_a_phone_is_looked_for_anew(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    await worker.handle(written("ok"))
    del sandbox.account.conversations[talk.id]
    assert await worker.handle(written("diesel", talk=talk)) == "the conversation is gone"
    event = written("diesel")
    with pytest.raises(Transient, match="looked for anew"):
        await worker.handle(event)
    assert await worker.handle(event) == "done"
    [newer] = sandbox.account.conversations.values()
    assert "preference-diesel" in labels(sandbox, newer)
    assert await worker.pool.fetchval("SELECT messages FROM crm_people") == 3


async def test_a_contact_with_a_twin_gets_its_labels_all_the_same(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    sandbox.account.contacts[999] = Contact(id=999, phone_number=PHONE.e164)
    assert await worker.handle(written("diesel", talk=talk)) == "done"
    assert "preference-diesel" in labels(sandbox, talk)
    del sandbox.account.contacts[999]
    await worker.handle(written("ok", talk=talk))
    assert sandbox.crm.contact_attributes[talk.contact.id]["lead_score"] == 5, "once the twins are merged"


async def test_a_token_that_may_make_no_account_labels_labels_all_the_same(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    sandbox.switches.role = "agent"
    assert await worker.handle(written("diesel", talk=talk)) == "done"
    assert labels(sandbox, talk) == FIRST | {"preference-diesel"}
    assert sandbox.crm.account_labels == {}


def asked(**data: object) -> Event:
    """A `labels.requested`."""
    return event_of("labels.requested", data)
