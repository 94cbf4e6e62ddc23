"""The upstream of an edge, for status and doctor: what waits for it, and whether it is the right one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from adapters.http import open_session
from adapters.postgres.pool import Pool
from adapters.postgres.records import upstream
from adapters.sync.exchange import Upstream, UpstreamError
from daemon.operator.finding import Finding, Findings, age
from daemon.records.edge.telling import sentence
from daemon.records.models.rules import MODELS, schema_id
from daemon.records.stats import stats
from daemon.rules.files import load
from daemon.rules.problems import WrongRules
from daemon.settings.load import masked_address

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.operator.inspection import Inspection
    from daemon.settings.model import Settings

PATIENCE_S: Final = 5.0

OLD_S: Final = 3600.0
"""The age from which an operation that waits is a finding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """*stats*: as the verb has them. *error*: why the upstream is of no use, by our short name; None: it answers, or
    was not asked. *asked*: whether it was. *models*: whether it goes by the same models; None: not known."""

    stats: Mapping[str, Any]
    error: str | None = None
    asked: bool = False
    models: bool | None = None


async def inspect(pool: Pool, settings: Settings, now: datetime, *, ask: bool) -> Seen | None:
    """How the upstream stands; None: there is none. *ask*: ask it now."""
    if settings.sync_upstream_url is None:
        return None
    told = await stats(pool, settings, now)
    if not ask or settings.sync_upstream_token is None:
        return Seen(stats=told)
    token = settings.sync_upstream_token.get_secret_value()
    async with open_session() as session:
        there = Upstream(session, settings.sync_upstream_url, token)
        try:
            page = await there.pull(None, limit=1, timeout_s=PATIENCE_S)
        except UpstreamError as error:
            return Seen(stats=told, error=error.code, asked=True)
    if page.feed is not None and UUID(page.feed) == await upstream.own_feed(pool):
        return Seen(stats=told, error="loop", asked=True)
    return Seen(stats=told, asked=True, models=_same(settings, page.schema))


def _same(settings: Settings, schema: str | None) -> bool | None:
    """Whether *schema* is that of the models here."""
    try:
        return None if schema is None else schema == schema_id(load(settings.ferryman_rules_dir, MODELS))
    except WrongRules:  # the check of the rules says so
        return None


def document(inspection: Inspection) -> dict[str, Any] | None:
    """For the status, as JSON; None: there is no upstream, or nothing is known of it."""
    seen, url = inspection.upstream, inspection.settings.sync_upstream_url
    if seen is None or url is None:
        return None
    return {"url": masked_address(url), "automatic": inspection.settings.auto_sync_enabled, **seen.stats}


def check(inspection: Inspection) -> Findings:
    """Whether the upstream answers, to whom, and what waits for it."""
    settings, seen = inspection.settings, inspection.upstream
    if settings.sync_upstream_url is None:
        return
    if settings.sync_upstream_token is None:
        do = "make a token there, `ferryman tokens create --edge NAME`, and set SYNC_UPSTREAM_TOKEN"
        yield Finding("error", "SYNC_UPSTREAM_URL is set without SYNC_UPSTREAM_TOKEN: records go nowhere", do)
    if seen is None:
        return
    yield from _answers(seen)
    if failed := seen.stats["failed"]:
        yield Finding("warn", f"{failed} operations of records have failed", "`ferryman records queue --state failed`")
    waits_s = seen.stats["oldest_pending_s"] or 0
    if waits_s > OLD_S:
        text = f"{seen.stats['pending']} operations of records wait for the upstream, the oldest for {age(waits_s)}"
        do = "`ferryman records sync`" if not settings.auto_sync_enabled else "see whether the upstream answers"
        yield Finding("warn", text, do)


def _answers(seen: Seen) -> Findings:
    if not seen.asked:
        return
    if seen.error is not None:
        text, _, do = sentence(seen.error).partition(": ")
        level: Any = "warn" if seen.stats["last_sync"] is not None and seen.error not in _WRONG else "error"
        yield Finding(level, f"the upstream of records: {text}", do or "it is tried again by itself")
    elif seen.models is False:
        text = "the upstream of records goes by other models than this edge"
        yield Finding("warn", text, "give both the same models.toml: it refuses fields that it does not know")
    else:
        yield Finding("ok", "the upstream of records answers, and takes the token")


_WRONG: Final = ("http-401", "http-403", "loop", "replica-of-another", "no-url", "other-json", "http-404")
"""What does not pass by itself."""
