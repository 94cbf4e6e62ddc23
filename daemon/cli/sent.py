"""What `ferryman send` says of a message that it has asked for, and how long it waits for that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from adapters.postgres.pool import Pool
from daemon.bus.worker import utc_now
from daemon.cli.screen import say
from daemon.operator import sending

WAIT_S: Final = 60.0
LOOK_S: Final = 0.2
STATUS_S: Final = 15.0
"""How long a message that is sent is looked at for a status: a phone may be off for days."""

_SENT: Final = "sent"
_SILENT: Final = frozenset({"cgb"})
"""Providers that tell nothing more of a message that they have taken."""

_LAST: Final = frozenset({"delivered", "read", "played", "failed", "uncertain", "skipped", "canceled"})

NAMES: Final = {
    "to": "PHONE",
    "text": "TEXT",
    "template.name": "NAME",
    "template.language": "--language",
    "template.variables": "--var",
    "media.url": "URL",
    "media.type": "--type",
    "media.caption": "--caption",
    "media.filename": "--filename",
    "choices.text": "TEXT",
    "choices.items": "--choice",
    "reaction.message_id": "MESSAGE",
    "reaction.emoji": "EMOJI",
    "fallback": "--fallback",
    "split": "--split",
    "provider": "--provider",
    "account": "--account",
    "not_before": "--at",
}
"""What the members of a message are called on the command line."""


def as_known(why_not: str | None) -> str:
    """What a look adds of a message that would be skipped."""
    return "" if why_not is None else f", but skipped as things are now: {why_not}"


def say_standing(document: Mapping[str, Any], waits: str | None) -> None:
    """Say how the message stands, and what may be done. *waits*: for what it waits."""
    short, why = document["id"][:8], document["error"] or waits
    say(f"the message {document['id']} is {document['status']}{f': {why}' if why else ''}")
    if document["status"] in ("queued", "sending"):
        say(f"look: `ferryman messages show {short}`; take it back: `ferryman messages cancel {short}`")
    if document["status"] == "uncertain":
        say("it may have been sent, and is not sent again by itself: `ferryman uncertain list`")


async def last_state(pool: Pool, id: UUID) -> dict[str, Any]:
    """The message in its last state, or after WAIT_S; one that is sent after STATUS_S, where no status comes. What
    waits for its time is not waited for."""
    begun, sent_at = time.monotonic(), None
    while True:
        document, now = await sending.show(pool, id), time.monotonic()
        if document["status"] == _SENT and document["provider"] in _SILENT:
            return document
        if document["status"] == _SENT and sent_at is None:
            sent_at = now
        waited = now - begun > WAIT_S or (sent_at is not None and now - sent_at > STATUS_S)
        later = document["not_before"] is not None and document["not_before"] > utc_now() + timedelta(seconds=WAIT_S)
        if document["status"] in _LAST or waited or later:
            return document
        await asyncio.sleep(LOOK_S)
