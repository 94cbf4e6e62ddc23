"""Messages of the demonstration: of each kind, by each provider, each to its last state; and what people write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import ClientError

from adapters.postgres import messages
from adapters.redis.streams import stream_keys
from daemon.demo.judging import UNEXPECTED
from daemon.demo.stage import NOT_THERE, SILENT, STOPPED, WROTE, Stage
from daemon.messages.outbound import WORKER
from daemon.sandbox.whapi_messages import PERSON
from schemas.errors import FerrymanError

PATH: Final = "/api/v1/messages"
PATIENCE_S: Final = 30.0
LOOK_S: Final = 0.1

_OUTSIDE: Final = "skipped: outside the customer-service window"
_FILE: Final = {"url": "https://example.com/visa.pdf", "type": "document", "filename": "visa.pdf"}
_FIRST: Final = "the first one"
"""In place of the id of the first message, which is known when that was asked for."""

_DAYS: Final = {"text": "Which day?", "items": [{"title": "Monday", "value": "1"}, {"title": "Friday", "value": "5"}]}


@dataclass(slots=True, kw_only=True)
class Letter:
    """A message of the demonstration, and what became of it. *end*: how its outcome begins when all is well. CGB tells
    no more than that it has taken a message. *sends*: how often its provider was asked to send it."""

    what: str
    provider: str
    to: str
    content: Mapping[str, Any]
    end: str
    key: str = ""
    id: str = ""
    status: str = ""
    error: str | None = None
    code: str | None = None
    duplicate: bool = False
    sends: int = 0

    @property
    def outcome(self) -> str:
        """In words; a question mark begins what should not be."""
        code = f" ({self.code})" if self.code else ""
        reason = f": {self.error.partition(':')[0]}" if self.error and self.status in ("failed", "skipped") else ""
        told = f"{self.status}{code}{reason}"
        wanted_sends = 0 if self.duplicate or self.end.startswith("skipped") else 1
        if not told.startswith(self.end) or self.sends != wanted_sends:
            return f"{UNEXPECTED}{told}, sent {self.sends} times"
        return f"asked for before, not sent again: {told}" if self.duplicate else told

    def document(self) -> Mapping[str, Any]:
        """As JSON."""
        told = {"what": self.what, "provider": self.provider, "message_id": self.id, "status": self.status}
        return {**told, "sends": self.sends, "duplicate": self.duplicate, "outcome": self.outcome}


def letters(seed: int) -> list[Letter]:
    """The messages, but for CGB's."""
    template = {"template": {"name": "visa_approved", "language": "en", "variables": {"1": "Noa"}}}
    sid = {"template": {"name": f"HX{'0' * 32}", "variables": {"1": "Noa"}}}
    told: list[tuple[str, str, str, Mapping[str, Any], str]] = [
        ("text to a person who wrote", "meta", WROTE, {"text": "Your visa is ready."}, "read"),
        ("text to one who did not", "meta", SILENT, {"text": "Your visa is ready."}, _OUTSIDE),
        ("template to one who did not", "meta", SILENT, template, "delivered"),
        ("template, a number not there", "meta", NOT_THERE, template, "failed (131026)"),
        ("template to one who wrote STOP", "meta", STOPPED, template, "skipped: opted out"),
        ("buttons", "meta", WROTE, {"choices": _DAYS}, "read"),
        ("template", "twilio", SILENT, sid, "read"),
        ("file", "whapi", WROTE, {"media": _FILE}, "delivered"),
        ("text", "whapi", NOT_THERE, {"text": "Your visa is ready."}, "failed"),
        ("reaction to the first text", "meta", WROTE, {"reaction": {"message_id": _FIRST, "emoji": "👍"}}, "sent"),
    ]
    return [
        Letter(what=what, provider=provider, to=to, content=content, end=end, key=f"demo-{seed}-{n}")
        for n, (what, provider, to, content, end) in enumerate(told)
    ]


def flow(seed: int, to: str) -> Letter:
    """A message by CGB: a flow, to a person whom it has as a contact."""
    content = {"template": {"name": "order_received"}}
    return Letter(what="flow", provider="cgb", to=to, content=content, end="sent", key=f"demo-{seed}-flow")


async def send_all(stage: Stage, sent: Sequence[Letter]) -> None:
    """Let people write, send *sent*, and wait for the last state of each. What was asked for in an earlier run is not
    sent again, and then nobody writes again."""
    began = datetime.now(UTC)
    if await messages.key_of(stage.pool, sent[0].key) is None:
        await _written(stage, {one.to for one in sent})
    deadline = time.monotonic() + PATIENCE_S
    for one in sent:
        if "reaction" in one.content:
            one.content = await _aimed(stage, sent[0], one.content["reaction"], deadline)
        one.id = await _posted(stage, one)
    while time.monotonic() < deadline:
        for one in sent:
            await _look(stage, one, began)
        if not any(one.outcome.startswith(UNEXPECTED) for one in sent):
            return
        await asyncio.sleep(LOOK_S)


async def _written(stage: Stage, to: Collection[str]) -> None:
    """Of those that get messages, one writes and another asks for no more; until both are known."""
    for person, text in ((WROTE, "Is my visa ready?"), (STOPPED, "STOP")):
        if person in to:
            await stage.meta.write(person.removeprefix("+"), text)
    keys = stream_keys(WORKER.reads, range(stage.bus.partitions))
    while await stage.bus.lag(WORKER.name, keys) != (0, 0):  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(LOOK_S)


async def _aimed(stage: Stage, first: Letter, reaction: Mapping[str, Any], deadline: float) -> Mapping[str, Any]:
    """The reaction to *first*, as soon as its provider has taken that, and so has given it an id."""
    while time.monotonic() < deadline:
        if (await _asked(stage, "GET", f"{PATH}/{first.id}", None, {}))["provider_message_id"] is not None:
            break
        await asyncio.sleep(LOOK_S)
    return {"reaction": {**reaction, "message_id": first.id}}


async def _posted(stage: Stage, one: Letter) -> str:
    """Ask for a message; returns its id."""
    body = {"to": one.to, "provider": one.provider, **one.content}
    answer = await _asked(stage, "POST", PATH, body, {"Idempotency-Key": one.key})
    return str(answer["message_id"])


async def _look(stage: Stage, one: Letter, began: datetime) -> None:
    shown = await _asked(stage, "GET", f"{PATH}/{one.id}", None, {})
    one.status, one.error, one.code = shown["status"], shown["error"], shown["error_code"]
    one.duplicate = datetime.fromisoformat(shown["created_at"]) < began
    one.sends = _sends(stage, one)


def _sends(stage: Stage, one: Letter) -> int:
    """How often the provider was asked to send it, as its simulator has it."""
    match one.provider:
        case "meta":
            return stage.meta.sends()[one.id]
        case "twilio":
            return stage.twilio.sends(one.id)
        case "whapi":
            return len(stage.whapi.messages.of(f"{one.to.removeprefix('+')}{PERSON}"))
    return len(stage.cgb.statuses.accepted)


async def _asked(stage: Stage, method: str, path: str, body: Any, headers: Mapping[str, str]) -> dict[str, Any]:
    """What the API answers. Raises: FerrymanError where that is no success."""
    proof = {"Authorization": f"Bearer {stage.token}"}
    try:
        async with stage.session.request(method, stage.url + path, json=body, headers=proof | dict(headers)) as answer:
            told: dict[str, Any] = await answer.json(content_type=None)
    except (ClientError, TimeoutError) as exc:
        raise FerrymanError(f"the API did not answer the demonstration ({type(exc).__name__})") from exc
    if answer.status >= 300:
        raise FerrymanError(f"the API refused the demonstration ({answer.status}): {told.get('detail')}")
    return told
