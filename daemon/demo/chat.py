"""The conversation of the demonstration: what its customer writes in Chatwoot, taps and says, and what the bot answers.

The first message is written before the daemon runs: Chatwoot tells nobody of it, and the sweep finds it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from adapters.postgres.operator import demo_conversation as stored
from adapters.postgres.operator.demo_conversation import KeptMessage
from adapters.postgres.pool import Pool
from daemon.demo.customer import Customer
from daemon.sandbox.chatwoot import MARKER
from daemon.sandbox.chatwoot_account import Conversation, Message

PATIENCE_S: Final = 60.0
"""For all of it. Where it is over the demonstration goes on, and tells what is missing."""

LOOK_S: Final = 0.05

Kind = Literal["lost", "note", "voice", "order", "tap", "correction"]


@dataclass(frozen=True, slots=True)
class Act:
    """Something that the customer does. *answered*: how many messages the bot has written when it is understood."""

    kind: Kind
    text: str
    answered: int


ACTS: Final = (
    Act("lost", "We are back at the harbour on Monday.", 0),
    Act("note", "Drove the electric Golf, quiet as a ferry.", 0),
    Act("voice", "Charging it took twenty minutes.", 0),
    Act("order", "Write a post about tidal power", 1),
    Act("tap", "LinkedIn", 2),
    Act("tap", "Short", 3),
    Act("correction", "No, Instagram", 3),
    Act("tap", "Friendly", 4),
)
ORDERED: Final = {"platform": "instagram", "length": "short", "tone": "friendly", "topic": "tidal power"}
LABELS: Final = (
    "cold-lead",
    "engagement-medium",
    "interest-volkswagen",
    "journey-comparing",
    "preference-electric",
    "source-whatsapp",
)
ATTRIBUTES: Final = {
    "conversation_stage": "comparing",
    "interested_in_fuel_type": "electric",
    "interested_in_make": "Volkswagen",
    "interested_in_model": "Golf",
    "lead_quality": "cold",
    "lead_score": 15,
}


@dataclass(frozen=True, slots=True)
class Said:
    """A message of the conversation, as one reads it. *by*: `customer` or `bot`. *buttons*: titles. *how*: what is
    special about it, as that it is a voice note."""

    by: Literal["customer", "bot"]
    text: str
    buttons: tuple[str, ...] = ()
    how: str = ""

    def document(self) -> Mapping[str, Any]:
        """As JSON."""
        return {"by": self.by, "text": self.text, "buttons": list(self.buttons), "how": self.how}


@dataclass(slots=True, kw_only=True)
class Held:
    """The conversation when it was held. *kept*: act by act. *answered*: how many messages of the bot there were after
    each act. *swept*: how many messages the sweep has found. *sends*: our id -> how often it was sent."""

    talk: Conversation
    mine: list[Message]
    answered: list[int]
    kept: list[KeptMessage | None] = field(default_factory=list)
    orders: list[Mapping[str, Any]] = field(default_factory=list)
    swept: int = 0
    sends: Mapping[str, int] = field(default_factory=dict)

    @property
    def bots(self) -> list[Message]:
        """What the bot has written."""
        return bots(self.talk)


async def hold(customer: Customer, pool: Pool) -> Held:
    """Let *customer*, who has done the first act, do the rest: each one when the one before it was understood."""
    (talk,) = customer.talks
    first = talk.messages[0]
    deadline = time.monotonic() + PATIENCE_S
    held = Held(talk=talk, mine=[], answered=[])
    for act in ACTS:
        message = first if act.kind == "lost" else _done(customer, act)
        held.mine.append(message)

        async def settled(act: Act = act, message: Message = message) -> bool:
            return len(held.bots) >= act.answered and await stored.understood(pool, key_of(message))

        await _until(settled, deadline)
        held.answered.append(len(held.bots))
    return held


async def read(held: Held, customer: Customer, pool: Pool) -> None:
    """Read what became of all of it: once everything is over."""
    keys = [key_of(message) for message in held.mine]

    async def whole() -> bool:
        found = await stored.kept(pool, keys)
        held.kept = [found.get(key) for key in keys]
        return all(one is not None and one.object_at and one.files[0] == one.files[1] for one in held.kept)

    await _until(whole, time.monotonic() + PATIENCE_S)
    held.orders = await stored.orders(pool, customer.phone, [held.talk.id])
    told = {str(one.body.get("id")) for one in customer.chatwoot.hooks.deliveries if one.event == "message_created"}
    held.swept = sum(
        one is not None and str(message.id) not in told for message, one in zip(held.mine, held.kept, strict=True)
    )
    sends = customer.chatwoot.sends()
    held.sends = {id: sends.get(id, 0) for id in map(our_id, held.bots)}


def _done(customer: Customer, act: Act) -> Message:
    match act.kind:
        case "voice":
            return customer.speak(act.text)
        case "tap":
            return customer.tap(act.text)
    return customer.write(act.text)


def bots(talk: Conversation) -> list[Message]:
    """What the bot has written to the person of *talk*."""
    return [one for one in talk.messages if one.message_type == 1 and not one.private]


def key_of(message: Message) -> str:
    """The name of a message over all systems."""
    return f"chatwoot:{message.id}"


def our_id(message: Message) -> str:
    """Our own id of a message of the bot; "": it is not by Ferryman."""
    return str(message.content_attributes.get(MARKER) or "")


def titles(message: Message) -> tuple[str, ...]:
    """What its buttons or its list show."""
    return tuple(str(item.get("title")) for item in message.content_attributes.get("items") or ())


def said(held: Held) -> list[Said]:
    """The conversation as one reads it."""
    acts = {message.id: (act, kept) for act, message, kept in zip(ACTS, held.mine, held.kept, strict=True)}
    shown = []
    for one in held.talk.messages:
        if not one.shown:
            continue
        act, kept = acts.get(one.id, (None, None))
        text = one.content or (kept.content if kept else None) or ""
        how = {"lost": "no webhook told of it", "voice": "voice note", "tap": "tapped"}.get(act.kind, "") if act else ""
        shown.append(Said("bot" if one.message_type == 1 else "customer", text, titles(one), how))
    return shown


async def _until(condition: Callable[[], Awaitable[bool]], deadline: float) -> None:
    while not await condition() and time.monotonic() < deadline:  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(LOOK_S)


def document(held: Held) -> dict[str, Any]:
    """As JSON."""
    return {
        "messages": [one.document() for one in said(held)],
        "notes": sum(one.rows for one in held.kept if one),
        "objects": sum(bool(one and one.object_at) for one in held.kept),
        "transcribed": sum(one is not None and one.voice == "completed" for one in held.kept),
        "found_by_sweep": held.swept,
        "orders": held.orders,
        "labels": sorted(held.talk.labels),
        "attributes": dict(held.talk.contact.custom_attributes),
    }
