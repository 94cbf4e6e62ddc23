"""How long it takes until something ends that a person has to renew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Final

import structlog
from yarl import URL

from adapters.certificate import valid_until
from adapters.registry import TOKEN_ENDS
from daemon.accounts import META, lacking, values_of
from daemon.bus.worker import Duty, Outside
from daemon.telemetry.declared import Declared
from schemas.errors import FerrymanError

CERTIFICATE_EVERY_S: Final = 600.0
TOKEN_EVERY_S: Final = 3600.0
"""The vendor counts these calls."""

CERTIFICATE: Final = "certificate"
TOKEN: Final = "meta_token"  # noqa: S105 - a name

METRICS: Final = (
    Declared(
        "ferryman_expires_seconds",
        "gauge",
        "Time until it ends: the certificate of FERRYMAN_PUBLIC_URL, the token of META_ACCESS_TOKEN. 0: it has ended."
        " -1: not known, or it does not end.",
        ("what",),
        values={"what": (CERTIFICATE, TOKEN)},
    ),
)

log = structlog.get_logger(__name__)


def duties(outside: Outside) -> Sequence[Duty]:
    """The looks by the clock."""
    return (
        _look(outside, CERTIFICATE, partial(_certificate, outside), CERTIFICATE_EVERY_S),
        _look(outside, TOKEN, partial(_token, outside), TOKEN_EVERY_S),
    )


def _look(outside: Outside, what: str, find: Callable[[], Awaitable[datetime | None]], every_s: float) -> Duty:
    """Measure what *find* finds. One failure does not make what was found before unknown."""
    known: datetime | None = None

    async def act() -> None:
        nonlocal known
        try:
            known = await find()
        except (FerrymanError, OSError, ValueError) as error:
            log.debug("expiry.not_known", what=what, error_class=type(error).__name__)
        left_s = -1.0 if known is None else max(0.0, (known - outside.now()).total_seconds())
        outside.metrics.set("ferryman_expires_seconds", left_s, {"what": what})

    return Duty(f"expiry-{what}", act, every_s)


async def _certificate(outside: Outside) -> datetime | None:
    url = URL(outside.settings.ferryman_public_url or "")
    if url.scheme != "https" or url.host is None:
        return None
    return await valid_until(url.host, url.port or 443)


async def _token(outside: Outside) -> datetime | None:
    if lacking(outside.settings, META) or outside.channels[META].paused:
        return None
    account = values_of(outside.settings, outside.secret, META, ("url", "access_token"))
    return await TOKEN_ENDS[META]()(outside.session, account)
