"""Our own messages that come back without our mark, as where a proxy or an older Chatwoot drops it. They look like an
agent's, by whose token we write, and must not make the bot fall silent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from daemon.bus.outcome import Done, Later, Outcome, Turn
from daemon.conversations.clarification.wiring import DialogDeps
from schemas.envelope import Event
from schemas.told import phone_told
from schemas.webhooks.chatwoot import id_of, part

SENDING: Final = timedelta(seconds=15)
"""So long a message of ours that is under way is waited for: only when it is sent its id is known."""

AGAIN: Final = timedelta(seconds=1)


async def our_own(event: Event, told: Mapping[str, Any], deps: DialogDeps, turn: Turn) -> Outcome | None:
    """What becomes of an agent's word that is our own, or may be; None: it is an agent's."""
    phone, id = phone_told(dict(told)), id_of(part(told, "received").get("id"))
    if phone is None or id is None:
        return None
    word = await deps.word(phone.e164, id)
    if word.ours:
        return Done(skipped="our own message")
    return Later(turn.now + AGAIN) if word.sending and turn.now - event.time < SENDING else None
