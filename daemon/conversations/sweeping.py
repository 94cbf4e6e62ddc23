"""The sweep by the clock: whether there is one, what it counts, and how the last one ended."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from adapters.postgres import sweeps
from adapters.registry import HISTORIES
from daemon.accounts import CHATWOOT, CHATWOOT_PER_SECOND, SCOPES, TIMEOUT_S
from daemon.bus.metrics import OF_ALL
from daemon.bus.worker import Duty, Outside
from daemon.conversations.sweep import Sweep
from daemon.telemetry.declared import Declared
from schemas.errors import FerrymanError

if TYPE_CHECKING:
    from adapters.gate import Gate
    from daemon.settings.model import Settings

LOOK_EVERY_S: Final = 5.0

_NEEDS: Final = ("chatwoot_base_url", "chatwoot_api_access_token", "chatwoot_account_id")

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


def lacking(settings: Settings) -> list[str]:
    """The settings without which nothing is swept, as they are to be given."""
    return [name.upper() for name in _NEEDS if getattr(settings, name) is None]


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
    settings = outside.settings
    if lacking(settings):
        return ()
    history = HISTORIES[CHATWOOT]()(_gate(outside), account=partial(_account, outside))
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


def _account(outside: Outside) -> Mapping[str, str]:
    settings = outside.settings
    return {
        "url": str(settings.chatwoot_base_url),
        "api_access_token": outside.secret("chatwoot_api_access_token"),
        "account_id": str(settings.chatwoot_account_id),
        "inbox_id": str(settings.chatwoot_whatsapp_inbox_id),
    }


def _gate(outside: Outside) -> Gate:
    """Breakers of its own: a history that cannot be read stops no message. The rate limit is that of the account."""
    from adapters.channel import Channel
    from adapters.gate import Gate
    from adapters.redis.limits import RateLimiter

    limiter = RateLimiter(outside.redis, per_minute=CHATWOOT_PER_SECOND, window_s=1.0)
    outside.at_end(limiter.close)
    return Gate(
        session=outside.session,
        channel=Channel("chatwoot-history"),
        limiter=limiter,
        scope=SCOPES[CHATWOOT],
        system="Chatwoot",
        timeout_s=TIMEOUT_S,
    )
