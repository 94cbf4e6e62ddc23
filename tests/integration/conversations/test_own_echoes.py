"""A message of ours that Chatwoot tells of without our mark looks like an agent's; the bot is not silenced by it."""

from __future__ import annotations

from datetime import datetime

from adapters.postgres.pool import Pool
from daemon.bus.outcome import Later, Turn
from daemon.conversations.clarification.clarification import handle
from daemon.conversations.clarification.echoes import SENDING
from schemas.envelope import Event
from tests.support.conversation import (
    NOW,
    ORDER,
    SECOND,
    changed,
    chatwoot_message,
    context,
    deps_of,
    handled,
    questions,
    sent,
)


def said(id: int, at: datetime) -> Event:
    return changed("agent_replied", at, received={"event": "message_created", "id": id})


async def test_our_own_question_does_not_silence_the_bot_and_an_agent_s_word_does(db: Pool) -> None:
    deps = deps_of(db)
    await handled(db, chatwoot_message(1, ORDER), deps)
    await sent(db, ["900"])
    assert await handled(db, said(900, NOW + SECOND), deps) == ("our own message", [])
    await handled(db, chatwoot_message(2, "LinkedIn", at=NOW + 2 * SECOND), deps)
    assert len(await questions(db)) == 2
    await sent(db, ["901"])
    assert await handled(db, said(950, NOW + 3 * SECOND), deps) == ("done", [])
    assert "pausedUntil" in await context(db)


async def test_while_a_message_of_ours_is_under_way_its_end_is_waited_for_but_not_for_ever(db: Pool) -> None:
    deps = deps_of(db)
    await handled(db, chatwoot_message(1, ORDER), deps)
    await db.execute("UPDATE messages SET status = 'sending' WHERE direction = 'out'")
    event = said(900, NOW + SECOND)
    assert isinstance(await handle(event, deps, Turn(event.time)), Later)
    await db.execute("UPDATE messages SET status = 'sent', provider_message_id = '900' WHERE direction = 'out'")
    assert await handled(db, event, deps, event.time + SECOND) == ("our own message", [])
    await db.execute("UPDATE messages SET status = 'sending', provider_message_id = NULL WHERE direction = 'out'")
    assert await handled(db, event, deps, event.time + SENDING) == ("done", [])
    assert "pausedUntil" in await context(db)
