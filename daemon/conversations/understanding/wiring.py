"""What transcription and intents need of the outside, and what they count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias
from uuid import UUID

import structlog

from adapters import permit
from adapters.postgres import audio_files
from adapters.registry import CLASSIFIERS, TRANSCRIBERS
from daemon.accounts import OPENAI, SCOPES, gate_to
from daemon.bus.aside import in_thread
from daemon.bus.batcher import Batcher
from daemon.bus.worker import Domain, Outside
from daemon.conversations.archive.wiring import open_store
from daemon.conversations.understanding.intent_rules import DEFAULT_LANGUAGE, INTENTS
from daemon.conversations.understanding.intents import Intents, understood
from daemon.telemetry.declared import Declared
from schemas.errors import FerrymanError, LeaseLost
from schemas.understanding import Intent

if TYPE_CHECKING:
    from adapters.conversation_ports import IntentClassifier, Transcriber
    from daemon.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

SYSTEM: Final = "OpenAI"

INTENT_DEADLINE_S: Final = 8.0
"""So long a model may take to tell an intent; then the rules count."""

LONG_TEXT: Final = 1000
"""Characters from which on a text is understood in a thread, so that the process goes on."""

METRICS: Final = (
    Declared(
        "ferryman_transcriptions_total",
        "counter",
        "Voice notes, by how their transcription ended.",
        ("outcome",),
        values={"outcome": ("completed", "skipped", "error")},
    ),
    Declared("ferryman_transcribed_seconds_total", "counter", "Seconds of voice that were transcribed."),
)

Classify: TypeAlias = Callable[[str, str | None], Awaitable[Intent]]
"""Tells what a text asks for, given the language that the person is known to speak, None where nobody knows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceDeps:
    """The outside as the handlers of this domain see it. *transcriber*: None where no key is set; *model*: its model.
    *load*: gives a stored file by its bucket and path. *transcript_of*: the transcript of a file, None where there is
    none yet."""

    metrics: Metrics
    load: Callable[[str, str], Awaitable[bytes]]
    transcript_of: Callable[[UUID], Awaitable[str | None]]
    transcriber: Transcriber | None
    model: str


@asynccontextmanager
async def _opened(outside: Outside) -> AsyncIterator[VoiceDeps]:
    known: Batcher[UUID, str | None] = Batcher(partial(audio_files.known, outside.pool))
    async with open_store(outside) as store:
        yield VoiceDeps(
            metrics=outside.metrics,
            load=store.get,
            transcript_of=known.submit,
            transcriber=_transcriber(outside),
            model=outside.settings.openai_transcription_model,
        )


def _transcriber(outside: Outside) -> Transcriber | None:
    settings = outside.settings
    if settings.openai_api_key is None:
        log.info("transcriber.off", reason="set OPENAI_API_KEY")
        return None
    return TRANSCRIBERS[OPENAI]()(
        gate_to(outside, OPENAI, SYSTEM),
        base_url=settings.openai_base_url,
        api_key=partial(outside.secret, "openai_api_key"),
        model=settings.openai_transcription_model,
    )


@asynccontextmanager
async def open_classifier(outside: Outside) -> AsyncIterator[Classify]:
    """What tells intents: the model of OPENAI_INTENT_MODEL, and where there is none, or it gives no usable answer in
    time, the rules of `intents.toml`. It raises LeaseLost alone, where the handler is to stop."""
    intents = Intents.of(outside.rules(INTENTS))
    model = _classifier(outside, intents)

    async def classify(text: str, language: str | None) -> Intent:
        rules = partial(understood, text, intents, language)
        by_rules = rules() if len(text) < LONG_TEXT else await in_thread(rules)
        if model is None or not text.strip() or outside.channels[OPENAI].paused:
            return by_rules
        told = await _asked(model, text, by_rules.language or DEFAULT_LANGUAGE)
        if told is None:
            return by_rules
        return replace(told, params={**by_rules.params, **told.params}) if told.kind == "ORDER" else told

    yield classify


async def _asked(model: IntentClassifier, text: str, language: str) -> Intent | None:
    """What the model says; None where it gives no usable answer in time. It waits for its place at the rate limit as
    long as for the rest, and leaves no place in line behind."""
    mine = permit.current.get()
    waiting = None if mine is None else permit.Permit(mine.may_send, priority=mine.priority, asked=True)
    token = permit.current.set(waiting)
    try:
        async with asyncio.timeout(INTENT_DEADLINE_S):
            return await model.classify(text, language)
    except LeaseLost:
        raise
    except (FerrymanError, TimeoutError):
        return None
    finally:
        permit.current.reset(token)


def _classifier(outside: Outside, intents: Intents) -> IntentClassifier | None:
    """Its channel is of its own: a chat model that the account does not have stops no transcription."""
    from adapters.channel import Channel

    settings = outside.settings
    if settings.openai_api_key is None or settings.openai_intent_model is None:
        return None
    gate = replace(gate_to(outside, OPENAI, SYSTEM), channel=Channel(f"{OPENAI}-intents"), scope=f"{OPENAI}:intents")
    return CLASSIFIERS[OPENAI]()(
        gate,
        base_url=settings.openai_base_url,
        api_key=partial(outside.secret, "openai_api_key"),
        model=settings.openai_intent_model,
        values=intents.rules.values,
    )


VOICE: Final[Domain[VoiceDeps]] = Domain(
    name="voice", opened=_opened, metrics=METRICS, scopes={OPENAI: SCOPES[OPENAI]}, rules=(INTENTS,)
)
