"""The lists of templates: read from providers by the clock, and when an operator asks for it.

A whole list becomes the table in one transaction; a list of which a page is missing changes nothing. Messages by the
providers of CHECKED are checked against their lists before they are queued, so those are read by the clock: every hour,
when a process starts, and soon after something has told that the list is another one by now.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from adapters.postgres import templates
from adapters.registry import TEMPLATE_LISTS
from daemon.accounts import CGB, META, TIMEOUT_S, gate_to
from daemon.bus.worker import Duty, Outside
from schemas.credentials import DEFAULT
from schemas.errors import FerrymanError
from schemas.templates import TemplateDefinition

if TYPE_CHECKING:
    from adapters.gate import Gate
    from adapters.ports import TemplateList
    from adapters.postgres.pool import Pool
    from adapters.postgres.templates import Difference
    from daemon.settings.model import Settings

CHECKED: Final = (META,)
"""The providers whose definitions tell what a message has to give a template. Of its flows CGB tells the names alone,
and they are looked for when one is sent."""

LOOK_EVERY_S: Final = 60.0
OLD_S: Final = 3600.0
TRIED_S: Final = 120.0
"""By the clock a list is begun at most once in so many seconds, over all processes."""

TRIED_AT_START_S: Final = 5.0
"""The same at a start, for processes that start together."""

_NEEDS: Final[Mapping[str, Mapping[str, str]]] = {
    CGB: {"url": "cgb_api_url", "api_key": "cgb_api_key"},
    META: {"url": "meta_graph_url", "waba_id": "meta_waba_id", "access_token": "meta_access_token"},
}
"""Provider -> the values of its account, and the settings that hold them."""

_SECRETS: Final = frozenset({"cgb_api_key", "meta_access_token"})

_MANAGEMENT: Final = "meta:management"
_IN_AN_HOUR: Final = 200
"""Calls of an account's management that Meta takes of one app in an hour. They are counted apart from messages."""

log = structlog.get_logger(__name__)


class Synced(NamedTuple):
    """A list that was read: what it has changed, and how many templates it has."""

    changes: Difference
    total: int


def lacking(settings: Settings, provider: str) -> list[str]:
    """The settings without which the templates of *provider* cannot be read, as they are to be given."""
    if provider == CGB and settings.cgb_api_style != "live":
        return ["CGB_API_STYLE=live"]
    return [name.upper() for name in _NEEDS[provider].values() if getattr(settings, name) is None]


def reader(outside: Outside, provider: str) -> TemplateList:
    """The list of *provider*'s account, by its settings. A list that cannot be read stops no message: Meta's has
    breakers and a rate limit of its own."""
    gate = gate_to(outside, provider, "CGB") if provider == CGB else _management_gate(outside)
    return TEMPLATE_LISTS[provider]()(gate, account=partial(_account, outside, provider))


def _account(outside: Outside, provider: str) -> Mapping[str, str]:
    settings = outside.settings
    return {
        name: outside.secret(setting) if setting in _SECRETS else str(getattr(settings, setting))
        for name, setting in _NEEDS[provider].items()
    }


def _management_gate(outside: Outside) -> Gate:
    from adapters.channel import Channel
    from adapters.gate import Gate
    from adapters.redis.limits import RateLimiter

    limiter = RateLimiter(outside.redis, per_minute=_IN_AN_HOUR, window_s=OLD_S)
    outside.at_end(limiter.close)
    return Gate(
        session=outside.session,
        channel=Channel("meta-templates"),
        limiter=limiter,
        scope=_MANAGEMENT,
        system="Meta",
        timeout_s=TIMEOUT_S,
    )


async def sync(pool: Pool, provider: str, reads: TemplateList, *, dry_run: bool = False) -> Synced:
    """Read the whole list and store it. *dry_run*: only say what it would change. Raises what the list raises: then
    nothing is changed."""
    began = await templates.clock(pool)
    read: list[TemplateDefinition] = await reads.read()
    async with pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        try:
            changes = await templates.store(conn, provider, DEFAULT, read, began)
        except BaseException:
            await transaction.rollback()
            raise
        await (transaction.rollback() if dry_run else transaction.commit())
    return Synced(changes, len(read))


def duties(outside: Outside) -> Sequence[Duty]:
    """The reading by the clock: of a provider whose settings name an account."""
    named = [name for name in CHECKED if not lacking(outside.settings, name)]
    return [Duty(f"templates-{name}", _by_the_clock(outside, name), LOOK_EVERY_S) for name in named]


def _by_the_clock(outside: Outside, provider: str) -> Callable[[], Awaitable[None]]:
    made: TemplateList | None = None
    terms, failing = (0.0, TRIED_AT_START_S), ""

    async def act() -> None:
        nonlocal made, terms, failing
        if outside.channels[provider].paused:
            return
        mine = await templates.take_turn(outside.pool, provider, DEFAULT, older_s=terms[0], tried_s=terms[1])
        terms = OLD_S, TRIED_S
        if not mine:
            return
        made = made or reader(outside, provider)
        try:
            found = (await sync(outside.pool, provider, made)).changes
        except FerrymanError as error:
            outside.metrics.inc("ferryman_template_syncs_total", {"provider": provider, "outcome": "failed"})
            tell = log.debug if failing == error.code else log.warning  # one that goes on is told once
            tell("templates.not_synced", provider=provider, error=error.code)
            failing = error.code
            return
        failing = ""
        outside.metrics.inc("ferryman_template_syncs_total", {"provider": provider, "outcome": "done"})
        counts = {"new": len(found.new), "changed": len(found.changed), "gone": len(found.gone)}
        if any(counts.values()):
            log.info("templates.synced", provider=provider, **counts)

    return act
