"""A dialog whose conversation is resolved: Chatwoot opens another one for its person, and the dialog goes on there."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.postgres.pool import Pool
from daemon.bus.outcome import Done
from daemon.conversations.clarification.turning import Turned
from tests.support.conversation import (
    CHAT,
    CONVERSATION,
    MINUTE,
    NOW,
    ORDER,
    SECOND,
    USUAL,
    changed,
    chatwoot_message,
    clock,
    context,
    decided,
    deps_of,
    handled,
    orders,
    questions,
    sent,
)

NEW = {**CONVERSATION, "id": "43"}
THERE = "chatwoot:1:43"


async def asked(db: Pool) -> None:
    """An order is begun, its question is sent, and the conversation is resolved."""
    deps = deps_of(db)
    await handled(db, chatwoot_message(1, ORDER), deps)
    await sent(db, ["900"])
    await handled(db, changed("status", NOW + SECOND, status="resolved"), deps)


@pytest.mark.parametrize("reply_to", ["900", None])
async def test_an_answer_in_the_next_conversation_is_an_answer_and_the_rest_is_asked_there(
    db: Pool, reply_to: str | None
) -> None:
    await asked(db)
    told: dict[str, Any] = {"conversation": NEW, "reply_to": reply_to}
    deps = deps_of(db)
    for n, text in enumerate(["LinkedIn", "Short", "Casual", "Tips"], 2):
        _, emitted = await handled(db, chatwoot_message(n, text, at=NOW + n * SECOND, **told), deps)
        await sent(db)
        told = {"conversation": NEW}
    assert emitted[0].type == "content_order.completed"
    (order,) = await orders(db)
    assert (order["chat"], order["chatwoot_conversation_id"]) == (THERE, 43)
    assert order["params"]["original_content"] == ORDER
    assert len(await questions(db)) == 5
    for chat in (CHAT, THERE):
        assert "clarifyingField" not in await context(db, chat)
        assert "origins" not in await context(db, chat)


async def test_what_is_no_sure_answer_takes_the_dialog_along_and_is_understood_there(db: Pool) -> None:
    await asked(db)
    deps = deps_of(db, pace=USUAL)
    await handled(db, chatwoot_message(2, "the green one", at=NOW + MINUTE, conversation=NEW), deps)
    assert (await context(db, THERE))["clarifyingField"] == "platform"
    assert "clarifyingField" not in await context(db)
    (old, new) = await db.fetch("SELECT due_at FROM conversations ORDER BY chat")
    assert (old["due_at"], new["due_at"] is None) == (None, False), "the clock looks at it where it is"
    (again,) = await clock(db, deps, NOW + 2 * MINUTE)
    assert again.type == "message.requested"
    assert len(await questions(db)) == 2, "it is asked again"


async def test_a_note_in_the_next_conversation_is_silent_and_the_answer_behind_it_counts(db: Pool) -> None:
    await asked(db)
    deps = deps_of(db)
    note = "I have bought flour and sugar for the whole of the coming week today"
    assert await handled(db, chatwoot_message(2, note, at=NOW + MINUTE, conversation=NEW), deps) == ("done", [])
    await handled(db, chatwoot_message(3, "Blog", at=NOW + 2 * MINUTE, conversation=NEW), deps)
    assert (await context(db, THERE))["orderParams"]["platform"] == "blog"


async def test_a_wish_for_no_messages_in_the_next_conversation_ends_the_dialog(db: Pool) -> None:
    await asked(db)
    await handled(db, chatwoot_message(2, "stop", at=NOW + MINUTE, conversation=NEW), deps_of(db))
    for chat in (CHAT, THERE):
        assert "clarifyingField" not in await context(db, chat)
    assert len(await questions(db)) == 1


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"conversation": {**NEW, "inbox": "2"}},
        {"conversation": {**NEW, "account": "2"}, "contact_id": "2:77"},
        {"conversation": NEW, "phone": "+972505550143"},
    ],
)
async def test_a_dialog_goes_to_no_other_inbox_and_to_no_other_person(db: Pool, elsewhere: dict[str, Any]) -> None:
    await asked(db)
    outcome = await decided(db, chatwoot_message(2, "LinkedIn", at=NOW + MINUTE, **elsewhere), deps_of(db))
    assert isinstance(outcome, Done)
    assert not any(isinstance(row, Turned) for row in outcome.rows)
    assert (await context(db))["clarifyingField"] == "platform"
