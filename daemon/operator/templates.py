"""Templates for an operator: what is known of them, and reading the providers' lists now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from adapters.channel import Channels
from adapters.postgres import templates
from adapters.postgres.bus import pauses
from adapters.postgres.templates import Asked
from adapters.registry import TEMPLATE_LISTS
from daemon.bus.worker import Outside, utc_now
from daemon.messages.template_sync import CHECKED, Synced, lacking, reader, sync
from daemon.operator.faults import Unusable
from daemon.settings.in_force import InForce
from daemon.telemetry.metrics import Metrics
from schemas.errors import FerrymanError
from schemas.templates import Known, TemplateDefinition, places_of

if TYPE_CHECKING:
    from adapters.postgres.pool import Pool
    from adapters.redis.client import Redis
    from daemon.settings.model import Settings

FIRST: Final = Asked("", "", "", "")
"""Comes before every template."""

MOST_LISTED: Final = 200

_OF_A_ROW: Final = ("provider", "account", "name", "language", "category", "status", "parameter_format", "quality")


class NoTemplates(Unusable):
    """The provider has no list of templates that could be read."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of reading the list of *provider*: *synced*, or the *problem*."""

    provider: str
    synced: Synced | None = None
    problem: str | None = None

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"provider": self.provider, **counts([self]), "error": self.problem}


def counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many templates are new, changed and gone, and how many there are."""
    done = [one.synced for one in outcomes if one.synced is not None]
    return {
        "new": sum(len(one.changes.new) for one in done),
        "changed": sum(len(one.changes.changed) for one in done),
        "gone": sum(len(one.changes.gone) for one in done),
        "total": sum(one.total for one in done),
    }


def document(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The outcomes as JSON: the sums, and each provider."""
    return {**counts(outcomes), "providers": [one.document() for one in outcomes]}


async def listed(
    pool: Pool,
    *,
    after: Asked = FIRST,
    provider: str | None = None,
    status: str | None = None,
    name: str | None = None,
    limit: int = MOST_LISTED,
) -> list[dict[str, Any]]:
    """Templates as JSON, by provider, account, name and language, those that come after *after*. `variables`: what a
    message has to give; what it may leave out is in brackets."""
    status = None if status is None else status.upper()
    rows = await templates.listed(
        pool, after, provider=provider, status=status, name=name, limit=min(limit, MOST_LISTED)
    )
    return [_document(row) for row in rows]


def _document(row: dict[str, Any]) -> dict[str, Any]:
    definition = TemplateDefinition(
        name=row["name"], components=row["components"], parameter_format=row["parameter_format"]
    )
    told = {name: row[name] for name in _OF_A_ROW} | {"language": row["language"] or None}
    rest = {"components": row["components"], "provider_template_id": row["provider_template_id"]}
    return {**told, "variables": places_of(definition).names, **rest, "synced_at": row["synced_at"]}


async def known_for(
    pool: Pool, settings: Settings, provider: str | None, account: str, name: str | None
) -> Known | None:
    """The templates called *name* that messages of this account are to be checked against; None: there are none.
    *provider*: None: the default one."""
    provider = provider or settings.messages_default_provider
    if name is None or provider not in CHECKED:
        return None
    return await templates.known(pool, provider, account, name)


async def read_lists(
    pool: Pool, in_force: InForce, redis: Redis, provider: str | None, *, dry_run: bool
) -> list[Outcome]:
    """Read the list of *provider* now, or of all that are configured, and store it; a list that cannot be read changes
    nothing. Raises: NoTemplates."""
    names = _chosen(in_force.settings, provider)
    async with _outside(pool, in_force, redis, names) as outside:
        return [await _read(outside, name, dry_run=dry_run) for name in names]


async def _read(outside: Outside, provider: str, *, dry_run: bool) -> Outcome:
    if outside.channels[provider].paused:
        return Outcome(provider, problem=f"{provider} is paused by an operator: `ferryman resume {provider}`")
    try:
        return Outcome(provider, await sync(outside.pool, provider, reader(outside, provider), dry_run=dry_run))
    except FerrymanError as error:
        return Outcome(provider, problem=error.full_text)


def _chosen(settings: Settings, provider: str | None) -> list[str]:
    """Raises: NoTemplates."""
    if provider is None:
        found = [name for name in TEMPLATE_LISTS if not lacking(settings, name)]
        if not found:
            needs = "; ".join(f"{name}: set {', '.join(lacking(settings, name))}" for name in TEMPLATE_LISTS)
            raise NoTemplates(f"no provider with templates is configured ({needs})")
        return found
    if provider not in TEMPLATE_LISTS:
        raise NoTemplates(f"provider {provider} has no list of templates here: take one of {', '.join(TEMPLATE_LISTS)}")
    if missing := lacking(settings, provider):
        raise NoTemplates(f"the templates of {provider} cannot be read: set {', '.join(missing)}")
    return [provider]


@asynccontextmanager
async def _outside(pool: Pool, in_force: InForce, redis: Redis, names: Sequence[str]) -> AsyncIterator[Outside]:
    """What the lists are read with, within the daemon's rate limits; a channel that an operator has paused is so."""
    from adapters.http import open_session

    channels, paused = Channels(names), await pauses.paused(pool)
    for channel in channels.all():
        channel.paused = channel.name in paused
    async with open_session() as session:
        yield Outside(
            settings=in_force.settings,
            secret=in_force.secret,
            pool=pool,
            redis=redis,
            session=session,
            channels=channels,
            metrics=Metrics(()),
            now=utc_now,
        )
