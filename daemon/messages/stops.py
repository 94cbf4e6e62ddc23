"""By the clock: how many templates are stopped is measured, and each is told once, as is its end; and how much of each
rate limit is in force is measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, TypeAlias

import structlog

from adapters.postgres import holds
from adapters.postgres.holds import TemplateStop
from daemon.accounts import SCOPES, limit_of
from daemon.bus.worker import Duty, Outside

LOOK_EVERY_S: Final = 10.0

_Template: TypeAlias = tuple[str, str, str, str]

log = structlog.get_logger(__name__)


def told_stops(outside: Outside) -> Duty:
    """The duty, in a process of this domain."""
    told: dict[_Template, TemplateStop] = {}

    async def look() -> None:
        found = {stop[:4]: stop for stop in await holds.stopped(outside.pool)}
        for key in found.keys() - told.keys():
            stop = found[key]
            log.warning(
                "template.stopped",
                provider=stop.provider,
                account=stop.account,
                template=stop.name,
                language=stop.language,
                code=stop.code,
                error=stop.error,
            )
        for key in told.keys() - found.keys():
            log.info("template.back", provider=told[key].provider, template=told[key].name, language=told[key].language)
        counts = Counter(provider for provider, *_ in found)
        for provider in {key[0] for key in told} | set(counts):
            outside.metrics.set("ferryman_templates_stopped", counts[provider], {"provider": provider})
        told.clear()
        told.update(found)

    return Duty("stopped-templates", look, LOOK_EVERY_S)


def told_limits(outside: Outside, providers: Sequence[str]) -> Duty:
    """The duty, in a process of this domain."""

    async def look() -> None:
        from adapters.redis.eased import in_force

        for provider in providers:
            limit = limit_of(provider, outside.settings)
            amount = await in_force(outside.redis, SCOPES[provider], *limit)
            outside.metrics.set("ferryman_rate_limit", amount / limit.window_s, {"provider": provider})

    return Duty("limits-in-force", look, LOOK_EVERY_S)
