"""What of the demonstration's conversation is missing, wrong, or there twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from adapters.postgres.operator.demo_conversation import KeptMessage
from daemon.conversations.clarification.hearing import ANSWER
from daemon.demo.chat import ACTS, ATTRIBUTES, LABELS, ORDERED, Act, Held

_INTENTS: Final = {"lost": "NOTE", "note": "NOTE", "voice": "NOTE", "order": "ORDER"}
"""Kind of an act -> what it is understood as. The others are answers."""


async def judged(held: Held) -> list[str]:
    """What is not as it should be, in words."""
    wrong = [*_of_the_bot(held), *_of_the_order(held), *_of_the_crm(held)]
    for act, kept in zip(ACTS, held.kept, strict=True):
        wrong += [f"the message “{act.text}”: {what}" for what in _of_a_message(act, kept)]
        if kept is not None and not await asyncio.to_thread(_is_whole, kept):
            wrong.append(f"the message “{act.text}”: its object is not what its row says")
    if held.swept != sum(act.kind == "lost" for act in ACTS):
        wrong.append(f"the sweep has found {held.swept} messages")
    return wrong


def _of_the_bot(held: Held) -> Iterator[str]:
    for act, count in zip(ACTS, held.answered, strict=True):
        if count != act.answered:
            yield f"after “{act.text}” the bot had written {count} messages, and not {act.answered}"
    texts = [one.content for one in held.bots]
    if len(texts) != ACTS[-1].answered:
        yield f"the bot has written {len(texts)} messages, and not {ACTS[-1].answered}"
    if len(set(texts)) != len(texts):
        yield "a question was asked twice"
    if len(texts) > len(held.mine):
        yield "the bot has written more than the customer"
    if any(id == "" or count != 1 for id, count in held.sends.items()):
        yield "a message of the bot was sent twice"


def _of_the_order(held: Held) -> Iterator[str]:
    found = [{name: order.get(name) for name in ORDERED} for order in held.orders]
    if found != [ORDERED]:
        yield f"the orders are {found}, and not one of {ORDERED}"


def _of_the_crm(held: Held) -> Iterator[str]:
    if (labels := tuple(sorted(held.talk.labels))) != LABELS:
        yield f"the labels are {', '.join(labels)}, and not {', '.join(LABELS)}"
    if (attributes := held.talk.contact.custom_attributes) != ATTRIBUTES:
        yield f"the attributes are {attributes}, and not {ATTRIBUTES}"


def _of_a_message(act: Act, kept: KeptMessage | None) -> Iterator[str]:
    if kept is None:
        yield "nothing was kept of it"
        return
    if kept.rows != 1 or kept.status not in ("stored", "processed"):
        yield f"it has {kept.rows} rows, with the state {kept.status}"
    if kept.content != act.text:
        yield f"its text was kept as {kept.content!r}"
    if kept.files[0] != kept.files[1] or kept.files[1] != (act.kind == "voice"):
        yield f"{kept.files[0]} of its {kept.files[1]} files are stored"
    if act.kind == "voice" and kept.voice != "completed":
        yield f"its voice note is {kept.voice}"
    intent = _INTENTS.get(act.kind, "NOTE")
    if kept.intent != intent or (kept.why == ANSWER) != (act.kind not in _INTENTS):
        yield f"it was understood as {kept.intent} ({kept.why})"


def _is_whole(kept: KeptMessage) -> bool:
    """Whether its object is there, byte for byte."""
    if kept.object_at is None or kept.sha256 is None:
        return False
    try:
        body = Path(unquote(urlsplit(kept.object_at).path)).read_bytes()
    except OSError:
        return False
    return sha256(body).hexdigest() == kept.sha256
