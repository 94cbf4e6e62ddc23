"""The edge, put together: in a process whose settings name an upstream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import structlog
from aiohttp import ClientSession

from adapters.postgres.pool import Pool
from daemon.bus.worker import Clock, Outside
from daemon.lifecycle import Background, Service
from daemon.records.bell import Bell
from daemon.records.edge.deriving import Places
from daemon.records.edge.pump import ROUND_SECONDS, Exchange, Pump
from daemon.records.edge.store import PostgresReplica, Tell
from daemon.records.models.rules import MODELS, Models, ModelsPart, models_of
from daemon.settings.model import Settings
from daemon.telemetry.declared import Declared
from schemas.envelope import Event

log = structlog.get_logger(__name__)

METRICS: Final = (
    Declared(
        ROUND_SECONDS,
        "histogram",
        "How long rounds of an edge with its upstream take, without their waits for news.",
        buckets=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
    ),
)


def exchange(
    settings: Settings,
    said: ModelsPart,
    pool: Pool,
    session: ClientSession,
    token: Callable[[], str],
    now: Clock,
    tell: Tell,
) -> Exchange | None:
    """The exchange with the upstream of *settings*; None: they name none. *said*: what `models.toml` says."""
    if settings.sync_upstream_url is None or settings.sync_upstream_token is None:
        return None
    models = models_of(said, settings.sync_conflict_strategy)
    return Exchange(
        pool=pool,
        session=session,
        store=PostgresReplica(pool, lambda model: places(models, model), now, tell),
        url=settings.sync_upstream_url,
        token=token,
        batch=settings.sync_batch_size,
    )


def places(models: Models, model: str) -> Places:
    """Where *model* has its owner and its branch; one that this server does not know has them where most have."""
    found = models.get(model)
    return Places("owner_id", "branch_id") if found is None else Places(found.owner, found.branch)


def services(outside: Outside, bell: Bell) -> Sequence[Service]:
    """The pump, where the settings name an upstream and want it. *bell*: rings when this process has written."""
    pump: Pump | None = None
    is_ringing = False

    async def tell(events: Sequence[Event], seqs: Sequence[int]) -> None:
        nonlocal is_ringing
        is_ringing = True  # what the upstream has told is no news to it
        bell.ring()
        is_ringing = False
        await outside.hurry(events, seqs)

    def heard() -> None:
        if pump is not None and not is_ringing:
            pump.wake()

    settings = outside.settings
    made = exchange(
        settings,
        outside.rules(MODELS),
        outside.pool,
        outside.session,
        lambda: outside.secret("sync_upstream_token"),
        outside.now,
        tell,
    )
    if made is None and settings.sync_upstream_url is not None:
        log.warning("records.upstream_off", reason="SYNC_UPSTREAM_TOKEN is not set, so records wait here")
    if made is None or not settings.auto_sync_enabled:
        return ()
    pump = Pump(exchange=made, metrics=outside.metrics, now=outside.now, every_s=settings.sync_interval_minutes * 60.0)
    bell.hear(heard)
    return (Background("record-pump", pump.run),)
