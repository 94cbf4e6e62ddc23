"""The sweep by the clock: whether there is one, what it counts, and how the last one ended."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from adapters.postgres import sweeps
from adapters.registry import HISTORIES
from daemon.accounts import CHATWOOT, gate_to, lacking, values_of
from daemon.bus.metrics import OF_ALL
from daemon.bus.worker import Duty, Outside
from daemon.conversations.sweep import Sweep
from daemon.telemetry.declared import Declared
from schemas.errors import FerrymanError

if TYPE_CHECKING:
    from daemon.settings.model import Settings

LOOK_EVERY_S: Final = 5.0

METRICS: Final = (
    Declared("ferryman_sweep_found", "gauge", f"Messages that the last sweep has found. {OF_ALL}"),
    Declared("ferryman_sweep_age_seconds", "gauge", f"How long ago the last sweep was complete. {OF_ALL}"),
    Declared("ferryman_swept_messages_total", "counter", "Messages of people that sweeps have found."),
    Declared(
        "ferryman_sweeps_total",
        "counter",
        "Sweeps for messages that no webhook has brought, by how they ended.",
        ("outcome",),
        values={"outcome": ("done", "failed")},
    ),
)

log = structlog.get_logger(__name__)


def hears(outside: Outside) -> bool:
    """Whether webhooks of Chatwoot are taken: their secret is set, or stored meanwhile, or none is needed. Where none
    are taken, none are lost: then Chatwoot is there for other things, as sending."""
    settings, stored = outside.settings, outside.credentials
    if settings.chatwoot_webhook_secret or CHATWOOT in settings.ferryman_allow_unsigned:
        return True
    return stored is not None and bool(stored.beside("chatwoot_webhook_secret"))


def place_of(settings: Settings) -> str:
    """The name of the account that is swept."""
    return f"{CHATWOOT}:{settings.chatwoot_account_id}"


def duties(outside: Outside) -> Sequence[Duty]:
    """The sweep, in a process whose settings name an account. It is at rest while no webhooks of it are taken."""
    from adapters.channel import Channel

    settings = outside.settings
    if lacking(settings, CHATWOOT):
        return ()
    # with breakers of its own: a history that cannot be read stops no message
    gate = replace(gate_to(outside, CHATWOOT, "Chatwoot"), channel=Channel("chatwoot-history"))
    history = HISTORIES[CHATWOOT]()(gate, account=partial(values_of, settings, outside.secret, CHATWOOT))
    place = place_of(settings)
    sweep = Sweep(history, outside.pool, outside.hurry, outside.now, place=place, me=uuid.uuid4().hex)
    every_s, failing = settings.chatwoot_sweep_minutes * 60.0, ""

    async def act() -> None:
        nonlocal failing
        if outside.channels[CHATWOOT].paused or not hears(outside):
            return
        try:
            swept = await sweep.act(every_s)
        except FerrymanError as error:
            outside.metrics.inc("ferryman_sweeps_total", {"outcome": "failed"})
            code = error.code or type(error).__name__
            tell = log.debug if failing == code else log.warning  # one that goes on is told once
            tell("sweep.failed", error=code, reason=str(error))
            failing = code
            return
        if swept is not None:
            failing = ""
            outside.metrics.inc("ferryman_sweeps_total", {"outcome": "done"})
            outside.metrics.inc("ferryman_swept_messages_total", n=swept.found)
            tell = log.info if swept.found or swept.replies else log.debug
            tell("sweep.done", conversations=swept.asked, found=swept.found, replies=swept.replies)
        await _measure(outside, place)

    return (Duty("sweep", act, LOOK_EVERY_S),)


async def _measure(outside: Outside, place: str) -> None:
    for one in await sweeps.last(outside.pool):
        if one.place == place:
            outside.metrics.set("ferryman_sweep_found", one.found)
            outside.metrics.set("ferryman_sweep_age_seconds", one.age_s)
